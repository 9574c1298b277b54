"""`check` looks at every file, and finds what is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.sets.check import check
from bench.errors import BadInput

Paint = Callable[..., Path]


def test_complete_data_sets_pass(coco: Path, imagenet: Path, cityscapes: Path) -> None:
    report = check("coco", coco)
    assert report.ok
    assert report.counts == {"train": {"": 10}, "val": {"": 3}}
    report = check("imagenet", imagenet)
    assert report.ok
    assert report.counts["train"] == {"n00000001": 2, "n00000002": 2, "n00000003": 2}
    assert "train  6 images in 3 classes (2 each)" in report.lines()
    report = check("cityscapes", cityscapes, workers=1)
    assert report.ok
    assert report.counts == {"train": {"aachen": 2, "bochum": 2}, "val": {"lindau": 2}}
    assert report.lines()[-1] == "all files can be read"


def test_unreadable_images_are_named(coco: Path) -> None:
    truncated, empty, text = (coco / "train2017" / f"{number:012d}.jpg" for number in (2, 5, 7))
    truncated.write_bytes(truncated.read_bytes()[:-200])
    empty.write_bytes(b"")
    text.write_text("<html>404</html>")
    report = check("coco", coco)
    assert not report.ok
    assert [file for file, _ in report.unreadable] == [f"train2017/{file.name}" for file in (truncated, empty, text)]
    assert "truncated" in report.unreadable[0][1]
    assert report.unreadable[2][1] == "not an image"
    assert f"unreadable train2017/{text.name}: not an image" in report.lines()
    assert report.lines()[-1] == "3 problems"


def test_images_that_the_annotations_name(coco: Path) -> None:
    (coco / "annotations").mkdir()
    names = ["000000000003.jpg", "000000000099.jpg"]
    content = {"info": {"file": "x"}, "images": [{"file_name": name, "id": 1} for name in names]}
    (coco / "annotations" / "instances_train2017.json").write_text(json.dumps(content, indent=1))
    (coco / "annotations" / "instances_val2017.json").write_text("")
    assert check("coco", coco).missing == ["train2017/000000000099.jpg (named in instances_train2017.json)"]


def test_missing_classes_and_splits(imagenet: Path) -> None:
    shutil.rmtree(imagenet / "val" / "n00000002")
    assert check("imagenet", imagenet).missing == ["val/n00000002 (train has it)"]
    shutil.rmtree(imagenet / "val")
    assert check("imagenet", imagenet).missing == ["val (the whole split)"]


def test_label_maps(cityscapes: Path) -> None:
    folder = cityscapes / "gtFine" / "train"
    missing, broken = (f"aachen/aachen_00000{n}_000019_gtFine_labelTrainIds.png" for n in (0, 1))
    size, value = (f"bochum/bochum_00000{n}_000019_gtFine_labelTrainIds.png" for n in (0, 1))
    (folder / missing).unlink()
    (folder / broken).write_bytes((folder / broken).read_bytes()[:60])
    Image.fromarray(np.zeros((16, 40), np.uint8)).save(folder / size)
    Image.fromarray(np.full((32, 40), 33, np.uint8)).save(folder / value)
    report = check("cityscapes", cityscapes)
    assert report.missing == [f"gtFine/train/{missing} (the label map of an image)"]
    assert [file for file, _ in report.unreadable] == [f"gtFine/train/{name}" for name in (broken, size, value)]
    assert report.unreadable[1][1] == "40×16 pixels, but its image has 40×32"
    assert report.unreadable[2][1] == "33 is no train id (0 to 18, or 255)"


def test_label_maps_of_ids(cityscapes: Path) -> None:
    for file in cityscapes.glob("gtFine/*/*/*_labelTrainIds.png"):
        file.unlink()
    assert check("cityscapes", cityscapes).ok
    value = cityscapes / "gtFine/train/bochum/bochum_000001_000019_gtFine_labelIds.png"
    Image.fromarray(np.full((32, 40), 33, np.uint8)).save(value)  # bicycle, and no train id
    assert check("cityscapes", cityscapes).ok
    Image.fromarray(np.full((32, 40), 34, np.uint8)).save(value)
    (problem,) = check("cityscapes", cityscapes).unreadable
    assert problem == (f"gtFine/train/bochum/{value.name}", "34 is no label id (0 to 33, or 255)")


def test_no_layout_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="train2017"):
        check("coco", tmp_path)
    with pytest.raises(BadInput, match="leftImg8bit/train"):
        check("cityscapes", tmp_path)


def test_what_is_passed_over_is_named_and_the_check_goes_on(coco: Path, imagenet: Path, cityscapes: Path) -> None:
    (coco / "train2017" / "loop.jpg").symlink_to("loop.jpg")
    (coco / "train2017" / "gone.jpg").symlink_to("nowhere.jpg")
    (coco / "train2017" / "folder.jpg").mkdir()
    (coco / "val2017" / "link.jpg").symlink_to(coco / "train2017" / "000000000001.jpg")
    report = check("coco", coco)
    assert report.counts == {"train": {"": 10}, "val": {"": 4}}
    assert report.unreadable == [
        ("train2017/folder.jpg", "a folder that is named as an image"),
        ("train2017/gone.jpg", "a link that leads nowhere (nowhere.jpg)"),
        ("train2017/loop.jpg", "a link that leads nowhere (loop.jpg)"),
    ]
    assert report.lines()[-1] == "3 problems"
    (imagenet / "val" / "n00000009").symlink_to("n00000009")
    assert check("imagenet", imagenet).unreadable == [("val/n00000009", "a link that leads nowhere (n00000009)")]
    (cityscapes / "leftImg8bit" / "train" / "ulm").symlink_to("../train/ulm")
    assert [name for name, _ in check("cityscapes", cityscapes).unreadable] == ["leftImg8bit/train/ulm"]
    assert check("coco", coco / "train2017").unreadable[0][0] == "folder.jpg"  # images in the root itself


def test_names_in_annotations_that_are_no_text(coco: Path) -> None:
    (coco / "annotations").mkdir()
    content = rb'{"images": [{"file_name": "\u12"}, {"file_name": "\xff"}, {"file_name": "\ud800"}]}'
    (coco / "annotations" / "instances_train2017.json").write_bytes(content.replace(rb"\xff", b"\xff"))
    assert check("coco", coco).missing == [
        r"train2017/\ud800 (named in instances_train2017.json)",
        "2 images whose names in instances_train2017.json are no text",
    ]
