"""Readers of the layouts: what they list, and each complaint."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bench.data.sets
from bench.data.sets import index, splits
from bench.data.sets.cityscapes import CLASSES, LABEL_IDS, LABEL_IDS_END, MASK_END, label_end, to_train_ids
from bench.data.sets.imagenet import imagenet100_classes
from bench.errors import BadInput
from bench.synthetic.render import EVALUATED

Paint = Callable[..., Path]


def test_coco(coco: Path) -> None:
    train = index("coco", coco, "train")
    assert len(train.files) == 10
    assert train.files[0] == "train2017/000000000000.jpg"
    assert list(train.files) == sorted(train.files)
    assert train.labels is None
    assert train.classes == train.masks == ()
    assert len(index("coco", coco, "val").files) == 3
    assert splits("coco", coco) == ("train", "val")


def test_a_flat_folder_serves_as_coco(coco: Path) -> None:
    flat = coco / "train2017"
    assert index("coco", flat, "train").files[0] == "000000000000.jpg"
    assert splits("coco", flat) == ("train",)
    with pytest.raises(BadInput, match="there is no val2017/"):
        index("coco", flat, "val")


def test_what_counts_as_an_image(coco: Path, paint: Paint) -> None:
    folder = coco / "train2017"
    for name in ("a.JPEG", "b.jpeg", "c.PNG", "d.webp"):
        paint(folder / name)
    for name in (".hidden.jpg", "._a.jpg", "notes.txt", "f.jpg.part"):
        (folder / name).write_text("")
    (folder / "folder.jpg").mkdir()
    names = [file.removeprefix("train2017/") for file in index("coco", coco, "train").files]
    assert [name for name in names if not name.startswith("0")] == ["a.JPEG", "b.jpeg", "c.PNG", "d.webp"]


def test_imagenet(imagenet: Path, paint: Paint) -> None:
    paint(imagenet / "train" / "n00000002" / "another.jpg")
    (imagenet / "train" / ".cache").mkdir()
    train, val = index("imagenet", imagenet, "train"), index("imagenet", imagenet, "val")
    assert train.classes == val.classes == ("n00000001", "n00000002", "n00000003")
    assert train.labels == (0, 0, 1, 1, 1, 2, 2)
    assert train.files[2] == "train/n00000002/another.jpg"
    assert val.labels == (0, 1, 2)
    # Labels are those of training, whatever validation lacks.
    shutil.rmtree(imagenet / "val" / "n00000001")
    assert index("imagenet", imagenet, "val").labels == (1, 2)


def test_cityscapes(cityscapes: Path) -> None:
    train = index("cityscapes", cityscapes, "train")
    assert len(train.files) == len(train.masks) == 4
    assert train.files[3] == "leftImg8bit/train/bochum/bochum_000001_000019_leftImg8bit.png"
    assert train.masks[3] == "gtFine/train/bochum/bochum_000001_000019_gtFine_labelTrainIds.png"
    assert train.labels is None
    assert len(train.classes) == 19
    assert len(index("cityscapes", cityscapes, "val").files) == 2


def test_cityscapes_as_it_is_unpacked(cityscapes: Path) -> None:
    for file in cityscapes.glob("gtFine/val/*/*_labelTrainIds.png"):
        file.unlink()
    assert label_end(cityscapes / "gtFine/val") == LABEL_IDS_END
    assert label_end(cityscapes / "gtFine/train") == label_end(cityscapes / "nowhere") == MASK_END
    assert (
        index("cityscapes", cityscapes, "val").masks[1] == "gtFine/val/lindau/lindau_000001_000019_gtFine_labelIds.png"
    )
    assert index("cityscapes", cityscapes, "train").masks[0].endswith(MASK_END)  # each split by itself
    (cityscapes / "gtFine/val/lindau/lindau_000001_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(BadInput, match=r"labelIds\.png is missing, as are 0 other label maps; unpack gtFine"):
        index("cityscapes", cityscapes, "val")


def test_label_ids_become_the_train_ids_of_the_authors() -> None:
    authors = {  # (id, train id) of each class that is evaluated, by name, as labels.py of cityscapesScripts has them
        "road": (7, 0), "sidewalk": (8, 1), "building": (11, 2), "wall": (12, 3), "fence": (13, 4), "pole": (17, 5),
        "traffic light": (19, 6), "traffic sign": (20, 7), "vegetation": (21, 8), "terrain": (22, 9), "sky": (23, 10),
        "person": (24, 11), "rider": (25, 12), "car": (26, 13), "truck": (27, 14), "bus": (28, 15), "train": (31, 16),
        "motorcycle": (32, 17), "bicycle": (33, 18),
    }  # fmt: skip
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    expected = dict.fromkeys(range(34), 255) | dict(authors.values())
    assert to_train_ids(ids).flatten().tolist() == list(expected.values())
    assert [*authors] == [*CLASSES]
    assert to_train_ids(np.full(2, 255, np.uint8)).tolist() == [255, 255]
    assert LABEL_IDS == EVALUATED  # as scenes are rendered
    with pytest.raises(ValueError, match=r"34 is no label id \(0 to 33, or 255\)"):
        to_train_ids(np.array([[7, 34]], np.uint8))


def test_imagenet100_is_the_published_list() -> None:
    classes = imagenet100_classes()
    assert len(classes) == len(set(classes)) == 100
    assert (classes[0], classes[-1]) == ("n02869837", "n02090622")
    content = (Path(bench.data.sets.__file__).parent / "imagenet100.txt").read_bytes()
    assert hashlib.md5(content).hexdigest() == "9974508e5d4cc0098b70e8b6a0fe6067"


def test_imagenet100_is_filtered_from_imagenet(imagenet: Path) -> None:
    with pytest.raises(BadInput, match=r"train has 0 of the 100 classes of ImageNet-100 \(n01558993 is missing\)"):
        index("imagenet100", imagenet, "train")
    for split in ("train", "val"):
        for wnid in imagenet100_classes():
            (imagenet / split / wnid).mkdir()
            (imagenet / split / wnid / "x.JPEG").write_bytes(b"x")
    train, val = index("imagenet100", imagenet, "train"), index("imagenet100", imagenet, "val")
    assert train.classes == val.classes == tuple(sorted(imagenet100_classes()))
    assert train.labels == val.labels == tuple(range(100))
    assert len(index("imagenet", imagenet, "train").classes) == 103
    shutil.rmtree(imagenet / "val" / "n02869837")
    with pytest.raises(BadInput, match=r"val has 99 of the 100 classes of ImageNet-100 \(n02869837"):
        index("imagenet100", imagenet, "val")


@pytest.mark.parametrize(
    ("dataset", "looked_for"),
    [
        ("coco", "train2017/"),
        ("imagenet", "train/"),
        ("imagenet100", "train/"),
        ("cityscapes", "leftImg8bit/train/"),
        *((name, "train/") for name in ("clips", "cifar10", "cifar100", "stl10")),
    ],
)
def test_a_missing_layout_is_described(tmp_path: Path, dataset: str, looked_for: str) -> None:
    with pytest.raises(BadInput, match=rf"not laid out as {dataset}: there is no {looked_for}; it should hold "):
        index(dataset, tmp_path, "train")
    with pytest.raises(BadInput, match=rf"nowhere is no folder; give --data-root {dataset}=DIR, where DIR holds"):
        index(dataset, tmp_path / "nowhere", "train")


def test_an_empty_class_folder_is_named(imagenet: Path) -> None:
    for file in (imagenet / "train" / "n00000002").iterdir():
        file.unlink()
    with pytest.raises(BadInput, match=r"class folder .*train/n00000002 holds no images; fill it or remove it"):
        index("imagenet", imagenet, "train")


def test_classes_that_training_has_not(imagenet: Path, paint: Paint) -> None:
    paint(imagenet / "val" / "n00000009" / "x.JPEG")
    with pytest.raises(BadInput, match=r"val has 1 classes that .*train has not \(n00000009\)"):
        index("imagenet", imagenet, "val")


def test_validation_images_without_class_folders(imagenet: Path, paint: Paint) -> None:
    shutil.rmtree(imagenet / "val")
    paint(imagenet / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(BadInput, match=r"nothing says their classes; .*or sort the images into a folder for"):
        index("imagenet", imagenet, "val")


def test_an_empty_folder_of_images(coco: Path) -> None:
    shutil.rmtree(coco / "val2017")
    (coco / "val2017").mkdir()
    with pytest.raises(BadInput, match="val2017 holds no images"):
        index("coco", coco, "val")


def test_images_without_label_maps(cityscapes: Path) -> None:
    mask = "aachen_000000_000019_gtFine_labelTrainIds.png"
    (cityscapes / "gtFine" / "train" / "aachen" / mask).unlink()
    with pytest.raises(BadInput, match=rf"{mask} is missing, .* csCreateTrainIdLabelImgs makes it of labelIds"):
        index("cityscapes", cityscapes, "train")
    shutil.rmtree(cityscapes / "gtFine")
    with pytest.raises(BadInput, match="as are 3 other label maps; unpack gtFine"):
        index("cityscapes", cityscapes, "train")
    shutil.rmtree(cityscapes / "leftImg8bit" / "val" / "lindau")
    with pytest.raises(BadInput, match="there is no leftImg8bit/val/<city>/"):
        index("cityscapes", cityscapes, "val")


def test_an_unknown_data_set(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did you mean cityscapes"):
        index("cityscape", tmp_path, "train")
