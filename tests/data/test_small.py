"""CIFAR-10, CIFAR-100 and STL-10: one data set in two layouts, and each layout as torchvision reads it."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image
from small_images import CLASSES, pickled, write_binary, write_png

from bench.data.held_out import held_out
from bench.data.images import EvalDataset, ViewDataset, collate, in_order, loader
from bench.data.packs.manifest import Form
from bench.data.packs.writing import pack
from bench.data.sampler import DrawSampler
from bench.data.sets import check_pretraining, fingerprint, fingerprints, index, part, pretraining_index, splits
from bench.data.sets.check import check
from bench.data.sets.data_set import Joined
from bench.data.views import SIMCLR_VIEWS
from bench.data.views.resident import load_pixels
from bench.errors import BadInput

SMALL = ("cifar10", "cifar100", "stl10")
FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python", "stl10": "stl10_binary"}
Both = Callable[[str], tuple[Path, Path]]


@pytest.fixture
def both(tmp_path: Path) -> Both:
    """Write a data set in both layouts; returns (binary, PNG)."""

    def write(dataset: str) -> tuple[Path, Path]:
        write_binary(dataset, tmp_path / "binary")
        write_png(dataset, tmp_path / "png")
        return tmp_path / "binary", tmp_path / "png"

    return write


def read_all(dataset: str, root: Path) -> None:
    for split in ("train", "val"):
        index(dataset, root, split)
    pretraining_index(dataset, root)


# ----------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("dataset", SMALL)
def test_both_layouts_hold_the_same(dataset: str, both: Both, tmp_path: Path) -> None:
    made = write_png(dataset, tmp_path / "named_val", test="val")
    for root in (*both(dataset), tmp_path / "named_val"):
        assert splits(dataset, root) == ("train", "val")
        for split, name in (("train", "train"), ("val", "test")):
            images = index(dataset, root, split)
            assert images.classes == CLASSES
            assert images.labels is not None
            assert list(images.labels) == made.labels[name]
            assert list(images.files) == sorted(set(images.files))
            pixels = load_pixels(images)
            assert pixels.flags.c_contiguous
            assert np.array_equal(pixels, made.pixels[name])
        seen = [made.pixels["train"]] + ([made.pixels["unlabeled"]] if dataset == "stl10" else [])
        pretraining = pretraining_index(dataset, root)
        assert np.array_equal(load_pixels(pretraining), np.concatenate(seen))
        assert (pretraining.labels is None) == (dataset == "stl10")
        assert len(pretraining.files) == sum(map(len, seen))


@pytest.mark.parametrize("dataset", SMALL)
def test_torchvision_reads_the_same(dataset: str, both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = both(dataset)
    theirs = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "stl10": "STL10"}[dataset]
    reader = getattr(torchvision.datasets, theirs)
    monkeypatch.setattr(reader, "_check_integrity", lambda _self: True)  # against checksums of the originals
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_words: True)
    for split in ("train", "val"):
        ours = index(dataset, root, split)
        if dataset == "stl10":
            their = reader(str(root), split={"train": "train", "val": "test"}[split])
            labels = their.labels.tolist()
        else:
            their = reader(str(root), train=split == "train")
            labels = their.targets
        assert labels == list(ours.labels or ())
        assert tuple(their.classes) == ours.classes
        for image, (shown, _) in zip(load_pixels(ours), their, strict=True):
            assert np.array_equal(image, np.asarray(shown))
    if dataset == "stl10":
        theirs_of_both = reader(str(root), split="train+unlabeled")
        ours_of_both = load_pixels(pretraining_index(dataset, root))
        assert np.array_equal(ours_of_both, theirs_of_both.data.transpose(0, 2, 3, 1))


def test_stl_is_stored_column_by_column_and_stays_on_disk(both: Both) -> None:
    root, _ = both("stl10")
    content = (root / "stl10_binary" / "train_X.bin").read_bytes()
    pixels = index("stl10", root, "train").pixels
    assert isinstance(pixels, np.memmap)
    for image, y, x, channel in ((0, 0, 1, 0), (0, 1, 0, 0), (3, 90, 7, 2), (14, 95, 95, 1)):
        assert pixels[image, y, x, channel] == content[((image * 3 + channel) * 96 + x) * 96 + y]
    joined = pretraining_index("stl10", root).pixels
    assert isinstance(joined, Joined)
    assert all(isinstance(one, np.memmap) for one in joined.parts)


def test_joined_arrays_are_read_like_one() -> None:
    whole = np.random.default_rng(0).integers(0, 256, (11, 4, 5, 3), dtype=np.uint8)
    joined = Joined((whole[:3], whole[3:3], whole[3:10], whole[10:]))
    assert (len(joined), joined.shape, joined.dtype) == (11, whole.shape, whole.dtype)
    for position in (0, 2, 3, 9, 10, -1, np.int64(5)):
        assert np.array_equal(joined[position], whole[position])
    for some in (slice(None), slice(2, 9, 3), np.array([10, 0, 3, 3]), np.array([], np.int64)):
        assert np.array_equal(joined[some], whole[some])
    assert np.array_equal(np.asarray(joined), whole)
    with pytest.raises(IndexError):
        joined[11]


def test_images_of_several_sizes_or_none_are_no_array(tmp_path: Path, both: Both) -> None:
    _, root = both("cifar10")
    odd = root / "train" / "cat" / "007.png"
    Image.new("RGB", (32, 30)).save(odd)
    with pytest.raises(BadInput, match=r"007\.png has 32×30 pixels, but .*000\.png has 32×32; images that lie in mem"):
        load_pixels(index("cifar10", root, "train"))
    odd.write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"Cannot read .*007\.png \(not an image\); correct or remove it"):
        load_pixels(index("cifar10", root, "train"))
    with pytest.raises(BadInput, match="has no images; add them"):
        load_pixels(part(index("cifar10", root, "val"), []))


# ----------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("dataset", SMALL)
def test_a_missing_file_is_named(dataset: str, both: Both) -> None:
    root, _ = both(dataset)
    for file in sorted((root / FOLDERS[dataset]).iterdir()):
        kept = file.rename(root / "kept")
        with pytest.raises(BadInput, match=rf"{file.name} is missing; unpack the authors' whole archive"):
            read_all(dataset, root)
        kept.rename(file)


@pytest.mark.parametrize(
    ("dataset", "file", "spoil", "why"),
    [
        ("cifar10", "data_batch_3", lambda content: content[:-50], r"\(.+"),
        ("cifar10", "data_batch_3", lambda _: b"", r"\(.+"),
        ("cifar10", "data_batch_3", lambda _: pickled({"labels": [0]}), r"its data are not N×3072 bytes"),
        ("cifar10", "test_batch", lambda content: content.replace(b"labels", b"levels"), "0 labels for 6 images"),
        ("cifar10", "batches.meta", lambda _: pickled({}), "it has no label_names"),
        ("cifar10", "test_batch", lambda content: content.replace(b"J\x02", b"J\x09"), "not those of 3 classes"),
        ("cifar100", "train", lambda _: b"\x80\x02](e.", "it holds no dictionary"),
        ("stl10", "train_X.bin", lambda content: content[:-1], "414719 bytes are no whole number of 96×96 images"),
        ("stl10", "unlabeled_X.bin", lambda _: b"", "0 bytes are no whole number"),
        ("stl10", "test_y.bin", lambda content: content[:-1], "5 labels for 6 images"),
        ("stl10", "test_y.bin", lambda content: content[:-1] + b"\x00", "its labels are not those of 3 classes"),
    ],
)
def test_a_damaged_file_is_named(
    dataset: str, file: str, spoil: Callable[[bytes], bytes], why: str, both: Both
) -> None:
    root, _ = both(dataset)
    place = root / FOLDERS[dataset] / file
    place.write_bytes(spoil(place.read_bytes()))
    with pytest.raises(BadInput, match=rf"{file} is damaged.*{why}.*; unpack the authors' archive anew") as caught:
        read_all(dataset, root)
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match=rf"{file} is damaged"):
        fingerprint(dataset, root)


class _Harm:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('this ran')",))


def test_nothing_in_a_pickle_is_run(both: Both) -> None:
    root, _ = both("cifar10")
    (root / FOLDERS["cifar10"] / "data_batch_1").write_bytes(pickle.dumps({"data": _Harm()}, protocol=2))
    with pytest.raises(BadInput, match=r"data_batch_1 is damaged \(it holds .*exec\)"):
        index("cifar10", root, "train")


def test_pickles_of_python_3_are_read_too(both: Both) -> None:
    root, _ = both("cifar100")
    expected = index("cifar100", root, "val")
    file = root / FOLDERS["cifar100"] / "test"
    with file.open("rb") as opened:
        content = pickle.load(opened, encoding="latin1")
    for protocol in (2, 4):
        file.write_bytes(pickle.dumps(content, protocol=protocol))
        assert np.array_equal(load_pixels(index("cifar100", root, "val")), load_pixels(expected))


def test_pretraining_on_stl_without_its_unlabelled_images_is_refused(both: Both) -> None:
    binary, png = both("stl10")
    check_pretraining("stl10", binary)
    (binary / "stl10_binary" / "unlabeled_X.bin").unlink()
    shutil.rmtree(png / "unlabeled")
    for root, name in ((binary, "unlabeled_X.bin is missing; unpack"), (png, "unlabeled holds no images, which pretr")):
        assert len(index("stl10", root, "train").files) == 15  # which tasks read
        for read in (pretraining_index, check_pretraining):
            with pytest.raises(BadInput, match=name):
                read("stl10", root)
        report = check("stl10", root)
        assert [line for line in report.missing if line.startswith("unlabeled (")]


# --------------------------------------------------------------------------------- check, pack, fingerprint


@pytest.mark.parametrize("dataset", SMALL)
def test_check_counts_both_layouts(dataset: str, both: Both) -> None:
    counts = []
    for root in both(dataset):
        report = check(dataset, root)
        assert report.ok, report.lines()
        counts.append(report.counts)
        assert report.counts["train"] == dict.fromkeys(CLASSES, 5)
        assert report.counts.get("unlabeled") == ({"": 7} if dataset == "stl10" else None)
    assert counts[0] == counts[1]


def test_check_looks_at_unlabelled_files(both: Both) -> None:
    _, root = both("stl10")
    (root / "unlabeled" / "003.png").write_bytes(b"no image")
    assert check("stl10", root).unreadable == [("unlabeled/003.png", "not an image")]


def test_no_packs_are_made_of_them(both: Both) -> None:
    for root in both("cifar10"):
        with pytest.raises(BadInput, match="cifar10's images are small already, and no pack is read for them"):
            pack("cifar10", root, "train", Form(format="uint8", short_side=32))


@pytest.mark.parametrize("dataset", SMALL)
def test_a_fingerprint_follows_every_file(dataset: str, both: Both, tmp_path: Path) -> None:
    for root in both(dataset):
        first = fingerprint(dataset, root)
        seen = {first}
        files = [file for file in root.rglob("*") if file.is_file()]
        for file in files:
            content = file.read_bytes()
            file.write_bytes(
                content[:-900] + bytes([content[-900] ^ 1]) + content[-899:] if len(content) > 900 else b""
            )
            try:
                seen.add(fingerprint(dataset, root))
            except BadInput:
                seen.add(file.name)  # damaged, and said
            file.write_bytes(content)
        assert len(seen) == 1 + len(files)
        assert fingerprint(dataset, root) == first
    elsewhere = shutil.copytree(root, tmp_path / "elsewhere")
    assert fingerprint(dataset, elsewhere) == first


def test_a_cached_fingerprint_sees_a_change_and_is_not_taken_twice(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache.json"
    for root in both("stl10"):
        first = fingerprint("stl10", root, cache)
        with monkeypatch.context() as patched:
            patched.setattr(fingerprints, "_all_files", None)  # nothing can be listed
            assert fingerprint("stl10", root, cache) == first
        for more in ("stl10_binary/unlabeled_X.bin", "unlabeled"):
            if (root / more).exists():
                kept = shutil.move(root / more, tmp_path / "kept")
                without = fingerprint("stl10", root, cache)
                assert without != first
                shutil.move(kept, root / more)
        assert fingerprint("stl10", root, cache) == first


# ------------------------------------------------------------------------------------------- data sets of views


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["reference", "fast", "device"])
@pytest.mark.parametrize("dataset", ["cifar10", "stl10"])
def test_views_of_both_layouts_are_equal(dataset: str, backend: str, both: Both) -> None:
    by_layout = []
    for root, workers in zip(both(dataset), (2, 0), strict=True):
        images = pretraining_index(dataset, root)
        data = ViewDataset(images, SIMCLR_VIEWS(32, 0.5), seed=3, subset=12, backend=backend)  # type: ignore[arg-type]
        batches = list(zip(range(3), loader(data, DrawSampler(len(data), 4, 3), workers), strict=False))
        by_layout.append([batch.to(torch.device("cpu")) for _, batch in batches])
    for ours, theirs in zip(*by_layout, strict=True):
        assert torch.equal(ours.indices, theirs.indices)
        assert (ours.labels is None) == (dataset == "stl10")
        for one, other in zip(ours.views, theirs.views, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("backend", ["reference", "fast"])
def test_the_test_transform_of_both_layouts_is_equal(backend: str, both: Both) -> None:
    by_layout = []
    for root, workers in zip(both("stl10"), (1, 0), strict=True):
        data = EvalDataset(index("stl10", root, "val"), 32, 40, backend=backend)  # type: ignore[arg-type]
        by_layout.append(list(loader(data, in_order(len(data), 4), workers)))
    for ours, theirs in zip(*by_layout, strict=True):
        assert torch.equal(ours.views[0], theirs.views[0])
        assert ours.labels is not None
        assert torch.equal(ours.labels, theirs.labels)


def test_at_its_own_size_an_image_is_what_is_stored(both: Both) -> None:
    root, _ = both("cifar10")
    images = index("cifar10", root, "val")
    data = EvalDataset(images, 32, 32)
    views = collate([data[i] for i in range(len(data))]).views[0]
    assert np.array_equal(views.permute(0, 2, 3, 1).numpy(), load_pixels(images))


@pytest.mark.parametrize("dataset", ["cifar10", "stl10"])
def test_an_image_that_is_read_is_a_copy(dataset: str, both: Both) -> None:
    root, _ = both(dataset)
    data = EvalDataset(index(dataset, root, "train"), 32, 32)
    image = data.files.array(4)
    before = image.copy()
    assert image.flags.c_contiguous
    image[:] = 0
    assert np.array_equal(data.files.array(4), before)


def test_a_part_has_its_own_pixels(both: Both) -> None:
    for root in both("cifar10"):
        train = index("cifar10", root, "train")
        some = part(train, [11, 2, 7])
        assert some.files == tuple(train.files[i] for i in (2, 7, 11))
        assert np.array_equal(load_pixels(some), load_pixels(train)[[2, 7, 11]])


def test_what_is_held_out_is_equal_and_has_a_bank(both: Both) -> None:
    one, other = (held_out(pretraining_index("stl10", r), 32, images=6, classes=3, bank=9) for r in both("stl10"))
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.views[1], other.views[1])
    assert one.bank is not None
    assert other.bank is not None
    assert one.bank_labels is not None
    assert torch.equal(one.bank, other.bank)
    assert one.bank_labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3  # of the labelled images
