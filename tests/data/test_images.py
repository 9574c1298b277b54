"""Data sets and loaders: equal for any number of workers and after a resume; what cannot be read is reported."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.decode import Undecodable, read_rgb
from bench.data.images import Batch, EvalDataset, Sample, ViewDataset, collate, in_order, loader
from bench.data.sampler import DrawSampler
from bench.data.sets import Index, index
from bench.data.views import BYOL_VIEWS, SUPERVISED_VIEW, View
from bench.errors import BadInput

Paint = Callable[..., Path]
VIEWS = (*BYOL_VIEWS(16), View(size=8, count=2))


def assert_equal(a: Batch, b: Batch) -> None:
    assert len(a.views) == len(b.views)
    for x, y in zip([*a.views, *a.boxes, a.indices], [*b.views, *b.boxes, b.indices], strict=True):
        assert torch.equal(x, y)
    assert (a.labels is None) == (b.labels is None)
    assert a.labels is None or (b.labels is not None and torch.equal(a.labels, b.labels))
    assert a.skipped == b.skipped


@pytest.fixture
def train(coco: Path) -> Index:
    return index("coco", coco, "train")


# ---------------------------------------------------------------------------------------------- decoding


def test_every_mode_becomes_rgb(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8), (24, 32))
    grey = Image.fromarray(ramp)
    colour = Image.merge("RGB", (grey, grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT), grey))
    saved = {
        "grey.png": grey,
        "grey.jpg": grey,
        "cmyk.jpg": colour.convert("CMYK"),
        "palette.png": colour.quantize(64),
        "alpha.png": colour.convert("RGBA"),
        "bits.png": grey.convert("1"),
        "deep.png": Image.fromarray(ramp.astype(np.uint16) * 257),
    }
    for name, image in saved.items():
        image.save(tmp_path / name)
        read = read_rgb(tmp_path / name)
        assert read.mode == "RGB"
        assert read.size == (32, 24)
        if name != "bits.png":
            truth = np.asarray(colour if name in {"cmyk.jpg", "palette.png", "alpha.png"} else grey.convert("RGB"))
            assert np.abs(np.asarray(read).astype(int) - truth).mean() < 8, name


def test_undecodable_files_say_why(tmp_path: Path) -> None:
    with pytest.raises(Undecodable, match="no such file"):
        read_rgb(tmp_path / "nowhere.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(Undecodable, match="not an image"):
        read_rgb(tmp_path / "text.jpg")


# ------------------------------------------------------------------------------------------------- views


def test_a_sample_is_a_function_of_seed_and_draw(train: Index) -> None:
    dataset = ViewDataset(train, VIEWS, seed=1)

    def pixels(seed: int, key: tuple[int, int]) -> list[np.ndarray]:
        return ViewDataset(train, VIEWS, seed)[key].views

    def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
        return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

    sample = dataset[3, 40]
    assert sample.index == 3
    assert same(sample.views, pixels(1, (3, 40)))
    assert not same(sample.views, pixels(1, (3, 41)))
    assert not same(sample.views, pixels(2, (3, 40)))
    assert dataset[4, 40].boxes == sample.boxes  # images of one size: the draw alone decides
    assert dataset[3, 41].boxes != sample.boxes


def test_batches_have_the_declared_form(imagenet: Path) -> None:
    train = index("imagenet", imagenet, "train")
    (batch,) = islice(loader(ViewDataset(train, VIEWS, seed=0), DrawSampler(6, 4, 0)), 1)
    assert [tuple(view.shape) for view in batch.views] == [(4, 3, 16, 16)] * 2 + [(4, 3, 8, 8)] * 2
    assert {view.dtype for view in batch.views} == {torch.uint8}
    assert {view.dtype for view in batch.to("cpu").views} == {torch.float32}
    assert [tuple(box.shape) for box in batch.boxes] == [(4, 5)] * 4
    assert batch.boxes[0].dtype == torch.float32
    assert batch.indices.dtype == torch.int64
    assert batch.labels.dtype == torch.int64
    assert train.labels is not None
    assert batch.labels.tolist() == [train.labels[i] for i in batch.indices.tolist()]
    assert len(batch) == 4
    assert batch.skipped == 0


def test_labels_are_none_without_classes(train: Index) -> None:
    (batch,) = islice(loader(ViewDataset(train, VIEWS, seed=0), DrawSampler(10, 2, 0)), 1)
    assert batch.labels is None


@pytest.mark.slow
def test_workers_and_resuming_change_nothing(train: Index) -> None:
    dataset = ViewDataset(train, VIEWS, seed=0)

    def run(workers: int, start: int, steps: int) -> list[Batch]:
        return list(islice(loader(dataset, DrawSampler(10, 4, 0, start_step=start), workers), steps))

    torch.manual_seed(11)
    before = torch.get_rng_state()
    alone = run(0, 0, 5)
    for a, b in zip(alone, run(2, 0, 5), strict=True):
        assert_equal(a, b)
    for a, b in zip(alone[3:], run(2, 3, 2), strict=True):  # into the second epoch
        assert_equal(a, b)
    assert torch.equal(torch.get_rng_state(), before)  # reading data moves no global generator


def test_ranks_see_the_same_views_as_one(train: Index) -> None:
    dataset = ViewDataset(train, VIEWS, seed=0)
    (whole,) = islice(loader(dataset, DrawSampler(10, 4, 0)), 1)
    for rank in (0, 1):
        (part,) = islice(loader(dataset, DrawSampler(10, 2, 0, rank=rank, world=2)), 1)
        assert torch.equal(part.views[0], whole.views[0][rank::2])


def test_a_subset_is_drawn_once_by_the_seed(train: Index) -> None:
    def chosen(seed: int, subset: int | None) -> list[int]:
        dataset = ViewDataset(train, (SUPERVISED_VIEW(8),), seed, subset=subset)
        return [dataset[number, 0].index for number in range(len(dataset))]

    assert len(set(chosen(0, 4))) == 4
    assert chosen(0, 4) == chosen(0, 4)
    assert len({tuple(chosen(seed, 4)) for seed in range(5)}) > 1
    assert chosen(0, None) == chosen(0, 99) == list(range(10))


def test_what_workers_get_can_be_pickled(imagenet: Path) -> None:
    train = index("imagenet", imagenet, "train")
    keyed: list[tuple[Any, Any]] = [(ViewDataset(train, VIEWS, seed=0), (5, 2)), (EvalDataset(train, 16, 20), 5)]
    for dataset, key in keyed:
        copy = pickle.loads(pickle.dumps(dataset))
        assert np.array_equal(copy[key].views[0], dataset[key].views[0])
    batches = loader(dataset, in_order(6, 4))
    assert pickle.loads(pickle.dumps((batches.collate_fn, batches.worker_init_fn))) == (collate, None)


def test_file_names_of_all_kinds(tmp_path: Path, paint: Paint) -> None:
    names = ("a b.jpg", "grüße.jpg", "日本.jpg", "x" * 90 + ".jpg")
    for name in names:
        paint(tmp_path / name)
    dataset = EvalDataset(index("coco", tmp_path, "train"), 16, 16)
    assert len([dataset[number] for number in range(len(dataset))]) == len(names)


# ---------------------------------------------------------------------------------------------- unreadable


def spoil(train: Index, *numbers: int) -> None:
    for number in numbers:
        (train.root / train.files[number]).write_bytes(b"spoilt")


@pytest.mark.parametrize("workers", [0, 1])
def test_fail_names_the_file_in_one_sentence(train: Index, workers: int) -> None:
    spoil(train, 2)
    dataset = ViewDataset(train, VIEWS, seed=0)
    with pytest.raises(BadInput) as raised:
        list(loader(dataset, [[(1, 0), (2, 1)]], workers))
    path = train.root / train.files[2]
    assert str(raised.value) == (
        f"Cannot read {path} (not an image); correct or remove it (bench data check lists all such files), or give "
        "--unreadable skip."
    )


@pytest.mark.slow
def test_skip_takes_the_next_and_counts(train: Index) -> None:
    spoil(train, 2, 3, 9)
    dataset = ViewDataset(train, VIEWS, seed=0, unreadable="skip")
    keys = [(1, 0), (2, 1), (3, 2), (9, 3)]
    for workers in (0, 2):
        (batch,) = loader(dataset, [keys], workers)
        assert batch.indices.tolist() == [1, 4, 4, 0]
        assert batch.skipped == 3
        assert len(batch) == 4
    # The replacement is seen as the draw has it.
    assert np.array_equal(dataset[2, 1].views[0], dataset[4, 1].views[0])


def test_skip_stays_in_the_subset(train: Index) -> None:
    dataset = ViewDataset(train, VIEWS, seed=0, unreadable="skip", subset=3)
    chosen = dataset.positions.tolist()
    spoil(train, chosen[2])
    assert dataset[2, 0].index == chosen[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_to_read_at_all(train: Index, workers: int) -> None:
    spoil(train, *range(10))
    with pytest.raises(BadInput, match=r"^No image below .* can be read; bench data check says why\.$"):
        list(loader(ViewDataset(train, VIEWS, seed=0, unreadable="skip"), [[(0, 0)]], workers))


# ---------------------------------------------------------------------------------------------- evaluation


def test_evaluation_sees_each_image_once_in_order(imagenet: Path) -> None:
    train = index("imagenet", imagenet, "train")
    batches = list(loader(EvalDataset(train, 16, 20), in_order(6, 4), workers=2))
    assert [len(batch) for batch in batches] == [4, 2]
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(6))
    assert torch.cat([batch.labels for batch in batches]).tolist() == [0, 0, 1, 1, 2, 2]
    assert [tuple(view.shape) for view in batches[0].views] == [(4, 3, 16, 16)]


def test_evaluation_leaves_out_what_it_cannot_read(imagenet: Path) -> None:
    train = index("imagenet", imagenet, "train")
    spoil(train, 1, 4, 5)
    with pytest.raises(BadInput, match=r"n00000001_1.JPEG .*--unreadable skip"):
        list(loader(EvalDataset(train, 16, 20), in_order(6, 4)))
    first, second = loader(EvalDataset(train, 16, 20, unreadable="skip"), in_order(6, 4))
    assert first.indices.tolist() == [0, 2, 3]
    assert first.labels.tolist() == [0, 1, 1]
    assert len(first.views[0]) == len(first.boxes[0]) == 3
    assert first.skipped == 1
    assert (len(second), second.skipped) == (0, 2)
    assert tuple(second.views[0].shape) == (0, 3, 16, 16)
    assert second.labels.dtype == torch.int64


def test_a_centre_larger_than_the_image(train: Index) -> None:
    with pytest.raises(BadInput, match="size 32 cannot be cut out of images resized to 24"):
        EvalDataset(train, 32, 24)


def test_collate_keeps_the_order_of_views() -> None:
    def sample(number: int) -> Sample:
        views = [np.full((2, 2, 3), value, np.uint8) for value in (number, 100 + number)]
        return Sample(views, [(0, 0, 1, 1, 0), (0, 0, 0.5, 1, 1)], number, number)

    batch = collate([sample(0), sample(1), replace(sample(2), shown=False, skipped=1)])
    assert batch.indices.tolist() == [0, 1]
    assert batch.skipped == 1
    assert batch.boxes[1].tolist() == [[0, 0, 0.5, 1, 1]] * 2
    assert batch.views[0][0, 0, 0, 0] < batch.views[0][1, 0, 0, 0] < batch.views[1][0, 0, 0, 0]
