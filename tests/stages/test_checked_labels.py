"""Label maps that mmseg would cut off or take for others are refused as they are read, as `bench data check` does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image
from torch.utils.data import DataLoader

from bench.config.tasks import SegmentationTask
from bench.data.label_maps import strange_id, wrong_form
from bench.data.sets.check import check
from bench.errors import BadInput
from bench.stages.segmentation.checked_labels import CheckLabelMap
from bench.stages.segmentation.mmseg_config import adapt
from bench.stages.segmentation.samples import DrawnDataset, _build

HEIGHT, WIDTH = 64, 96
IDS = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones((32, 32), np.uint8))
Write = Callable[[Path], None]


def deep(values: np.ndarray) -> Write:
    return lambda file: Image.fromarray(values.astype(np.uint16)).save(file)


def shallow(values: np.ndarray) -> Write:
    return lambda file: Image.fromarray(values.astype(np.uint8)).save(file)


def coloured(file: Path) -> None:
    Image.fromarray(np.stack([IDS] * 3, 2)).save(file)


def palette(file: Path) -> None:
    image = Image.fromarray(IDS).convert("P")
    image.putpalette([value for number in range(256) for value in (number, 255 - number, 7)])
    image.save(file)


WRONG: dict[str, tuple[Write, str, str]] = {
    "16 bits": (deep(IDS), "16 bits a pixel, but a label map has 8", "16 bits a pixel, but a label map has 8"),
    "16 bits that wrap around": (deep(IDS + np.uint16(256)), "16 bits", "16 bits"),
    "colours": (coloured, r"3 channels \(RGB\), but a label map has one", "3 channels (RGB), but a label map has one"),
    "alpha": (lambda file: Image.fromarray(IDS).convert("LA").save(file), "2 channels", "2 channels"),
    "smaller": (
        shallow(IDS[:32, :48]),
        "48×32 pixels, but its image has 96×64",
        "48×32 pixels, but its image has 96×64",
    ),
    "turned": (shallow(IDS.T), "64×96 pixels, but its image has 96×64", "64×96 pixels, but its image has 96×64"),
    "an id too large": (shallow(IDS + 14), "holds the label 19, but there are 19 classes", "19 is no train id"),
    "254": (shallow(np.where(IDS == 3, 254, IDS)), "holds the label 254", "254 is no train id"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for part in ("leftImg8bit", "gtFine"):
            (tmp_path / part / split / "town").mkdir(parents=True)
        noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "leftImg8bit" / split / "town" / "town_000000_000019_leftImg8bit.png")
        shallow(IDS)(mask(tmp_path, split))
    return tmp_path


def mask(root: Path, split: str, kind: str = "labelTrainIds") -> Path:
    return root / "gtFine" / split / "town" / f"town_000000_000019_gtFine_{kind}.png"


def task(**changes: Any) -> SegmentationTask:
    settings: dict[str, Any] = {
        "name": "test", "summary": "", "source": "", "profile": "full", "kind": "segmentation", "iterations": 2,
        "config": "pspnet_r18-d8_4xb2-80k_cityscapes-512x1024", "batch_size": 2, "crop": (64, 64), "scale": (96, 64),
        "validate_every": 2, "workers": 0, "precision": "float32",
    }  # fmt: skip
    return SegmentationTask(**settings | changes)


def samples(root: Path, split: str, unreadable: Any = "fail") -> DrawnDataset:
    config = adapt(task(), "resnet18", root, world=1, synchronise=False).config
    loader = config.train_dataloader if split == "train" else config.val_dataloader
    return DrawnDataset(_build(loader["dataset"]), 0, unreadable)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("wrong", WRONG)
def test_they_are_refused_as_they_are_read_and_checked(root: Path, split: str, wrong: str) -> None:
    write, said, _ = WRONG[wrong]
    write(mask(root, split))
    for unreadable in ("fail", "skip"):  # no other image takes the place of one whose labels are wrong
        with pytest.raises(BadInput, match=rf"^\S*{mask(root, split).name} (is no label map \()?{said}.*; .+\.$"):
            samples(root, split, unreadable)[0]


@pytest.mark.parametrize("wrong", WRONG)
def test_the_check_says_the_same(root: Path, wrong: str) -> None:
    write, _, said = WRONG[wrong]
    write(mask(root, "train"))
    problems = check("cityscapes", root, workers=1).unreadable
    assert {file for file, _ in problems} == {f"gtFine/train/town/{mask(root, 'train').name}"}
    assert any(why.startswith(said) for _, why in problems)


@pytest.mark.parametrize("wrong", ["16 bits", "16 bits that wrap around", "colours", "smaller"])
def test_maps_of_label_ids_are_looked_at_before_they_are_converted(root: Path, wrong: str) -> None:
    for split in ("train", "val"):
        mask(root, split).unlink()
        shallow(IDS + 28)(mask(root, split, "labelIds"))  # more than there are classes
    before = samples(root, "train")[0]["data_samples"].gt_sem_seg.data
    assert set(before.unique().tolist()) <= {15, 16, 17, 18, 255}
    write, said, _ = WRONG[wrong]
    write(mask(root, "train", "labelIds"))
    with pytest.raises(BadInput, match=f"labelIds.png is no label map .{said}"):
        samples(root, "train")[0]


@pytest.mark.parametrize("write", [palette, shallow(np.where(IDS == 3, 255, IDS)), shallow(IDS + 13)])
def test_others_are_read_as_they_are(root: Path, write: Write) -> None:
    write(mask(root, "val"))
    labels = samples(root, "val")[0]["data_samples"].gt_sem_seg.data
    assert torch.equal(labels[0], torch.from_numpy(np.asarray(Image.open(mask(root, "val"))).astype(np.int64)))
    assert check("cityscapes", root, workers=1).ok


def test_a_loader_process_says_it_in_one_sentence(root: Path) -> None:
    coloured(mask(root, "train"))
    loader = DataLoader(samples(root, "train"), num_workers=1, collate_fn=pseudo_collate)
    with pytest.raises(BadInput) as caught:
        next(iter(loader))
    said = str(caught.value).rpartition("bench.errors.BadInput: ")[2].strip()  # as the stage cuts it
    assert said.endswith("(a PNG in grey or with a palette).")
    assert "\n" not in said


def test_labels_without_a_zero_are_named_as_stored() -> None:
    step = CheckLabelMap(classes=3)
    shown = {"seg_map_path": "nowhere.png", "gt_seg_map": np.array([[0, 3]], np.uint8)}
    with pytest.raises(BadInput, match="holds the label 3, "):
        step.transform(dict(shown))
    with pytest.raises(BadInput, match="holds the label 4, "):
        step.transform({**shown, "reduce_zero_label": True})
    assert CheckLabelMap(classes=3, ignored=3).transform(dict(shown))["gt_seg_map"] is shown["gt_seg_map"]
    with pytest.raises(BadInput, match="holds the label 255, "):
        CheckLabelMap(classes=3, ignored=3).transform({**shown, "gt_seg_map": np.array([[0, 255]], np.uint8)})


def test_every_value_is_judged() -> None:
    for classes in (1, 19, 150, 254, 255):
        for value in range(256):
            labels = np.array([[0, value], [0, 255]], np.uint8)
            allowed = value < classes or value == 255
            assert (strange_id(labels, classes) is None) == allowed
            assert strange_id(labels, classes) in {None, value}
    assert strange_id(np.zeros((0, 0), np.uint8), 2) is None


def test_the_size_of_the_image_need_not_be_known(tmp_path: Path) -> None:
    shallow(IDS)(tmp_path / "map.png")
    assert wrong_form(tmp_path / "map.png") is None
    assert wrong_form(tmp_path / "map.png", (96, 64)) is None
    assert wrong_form(tmp_path / "map.png", (96, 65)) == "96×64 pixels, but its image has 96×65"


def test_images_that_the_other_tasks_refuse_are_refused_or_skipped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mmseg's reader returns what OpenCV has of a JPEG that is damaged in the middle, and decodes any size."""
    for file in root.glob("*/train/town/*"):
        shutil.copy(file, file.with_name(file.name.replace("town_000000", "town_000001")))
    dataset = samples(root, "train", "skip")
    first = Path(dataset.dataset.get_data_info(0)["img_path"])
    whole = first.read_bytes()
    Image.open(first).convert("RGB").resize((96, 64)).save(jpeg := root / "damaged.jpg", quality=95)
    content = jpeg.read_bytes()
    middle = len(content) // 2
    first.write_bytes(content[:middle] + b"\xff\xc0\x00\x0b" + content[middle + 4 :])  # where pixels should be
    assert cv2.imread(str(first)) is not None
    (skipped,) = dataset[0]["data_samples"].skipped
    assert skipped.startswith(f"{first} (broken data stream")
    with pytest.raises(BadInput, match=rf"^Cannot read {first} \(.*\); repair or remove it"):
        samples(root, "train")[0]
    first.write_bytes(whole)
    width, height = Image.open(first).size
    monkeypatch.setenv("BENCH_MAX_PIXELS", str(width * height - 1))
    with pytest.raises(BadInput, match=rf"^Cannot read {first} \(more than {width * height - 1:,} pixels; to have it"):
        samples(root, "train")[0]
    monkeypatch.setenv("BENCH_MAX_PIXELS", str(width * height))
    assert "skipped" not in samples(root, "train")[0]["data_samples"]
