"""Folders that are not what they were given for: packed, another data set's, one level off; what a check says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data.sets import DATA_SETS, fingerprint, index, mistaken, pretraining_index
from bench.data.sets.check import check
from bench.errors import BadInput

Paint = Callable[..., Path]


def command_in(message: str) -> str:
    """The line for a shell that a message ends with."""
    return message[message.index("cd /") :]


def test_another_data_set(coco: Path, imagenet: Path, cityscapes: Path) -> None:
    roots = {"coco": coco, "imagenet": imagenet, "cityscapes": cityscapes}
    for name in ("coco", "imagenet", "cityscapes", "clips", "cifar10", "stl10"):
        for other, root in roots.items():
            if name == other:
                assert index(name, root, "train").files
                continue
            reads: list[Callable[..., object]] = [index, fingerprint, check]
            for read in reads:
                with pytest.raises(BadInput, match=rf"looks like {other}, and was given for {name}; give --data-root "):
                    read(name, root, *(["train"] if read is index else []))


def test_folders_of_classes_with_other_names_serve(imagenet: Path) -> None:
    for folder in [*imagenet.glob("*/*")]:
        folder.rename(folder.with_name(f"class-{folder.name}"))
    for name in ("imagenet", "cifar10"):
        assert mistaken(DATA_SETS[name], imagenet) is None
        assert len(index(name, imagenet, "val").classes) == 3


def test_one_level_off(coco: Path, cityscapes: Path) -> None:
    with pytest.raises(BadInput, match=rf"no train2017/; .* {coco} looks like coco; give --data-root coco={coco}"):
        index("coco", coco.parent, "train")
    with pytest.raises(
        BadInput, match=rf"{cityscapes} looks like cityscapes; give --data-root cityscapes={cityscapes}"
    ):
        fingerprint("cityscapes", cityscapes / "leftImg8bit")


def test_imagenet_in_its_archives(imagenet: Path, paint: Paint) -> None:
    """The commands make of the authors' archives what the reader reads."""
    (imagenet / "train").rename(imagenet / "was")
    for folder in sorted((imagenet / "was").iterdir()):
        subprocess.run(["tar", "-cf", f"{folder}.tar", "-C", folder, "."], check=True)
    archive = imagenet / "ILSVRC2012_img_train.tar"
    inner = [file.name for file in (imagenet / "was").glob("*.tar")]
    subprocess.run(["tar", "-cf", archive, "-C", imagenet / "was", *inner], check=True)
    with pytest.raises(
        BadInput, match=r"has no train/, but ILSVRC2012_img_train\.tar, which is not unpacked"
    ) as caught:
        check("imagenet", imagenet)
    command = command_in(str(caught.value))
    (imagenet / "train").mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", imagenet / "train"], check=True)
    with pytest.raises(BadInput, match="train/ holds an archive of each class") as caught:
        index("imagenet", imagenet, "train")
    for line in (command_in(str(caught.value)), command):  # of the inner archives alone; then all anew
        subprocess.run(["bash", "-c", line], check=True)
        assert [file.name for file in (imagenet / "train").iterdir() if file.is_file()] == []
        assert index("imagenet", imagenet, "train").labels == (0, 0, 1, 1, 2, 2)
        shutil.rmtree(imagenet / "train")
    subprocess.run(["bash", "-c", command], check=True)

    shutil.rmtree(imagenet / "val")
    assert check("imagenet", imagenet).missing == ["val (the whole split)"]
    image = paint(imagenet / "was" / "ILSVRC2012_val_00000001.JPEG")
    subprocess.run(["tar", "-cf", imagenet / "ILSVRC2012_img_val.tar", "-C", image.parent, image.name], check=True)
    (missing,) = check("imagenet", imagenet).missing
    assert missing.startswith("val (the whole split); ILSVRC2012_img_val.tar, which is not unpacked;")
    subprocess.run(["bash", "-c", command_in(missing)], check=True)
    (imagenet / "val.txt").write_text("n00000002")
    assert index("imagenet", imagenet, "val").labels == (1,)


@pytest.mark.parametrize(
    ("name", "archive", "command"),
    [
        ("coco", "train2017.zip", "unzip -q train2017.zip"),
        ("cityscapes", "leftImg8bit_trainvaltest.zip", "unzip -q leftImg8bit_trainvaltest.zip"),
        ("cifar10", "cifar-10-python.tar.gz", "tar -xzf cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz", "tar -xzf cifar-100-python.tar.gz"),
        ("stl10", "stl10_binary.tar.gz", "tar -xzf stl10_binary.tar.gz"),
    ],
)
def test_other_archives(tmp_path: Path, name: str, archive: str, command: str) -> None:
    (tmp_path / archive).write_bytes(b"")
    with pytest.raises(BadInput, match=f"but {archive}, which is not unpacked") as caught:
        check(name, tmp_path)
    assert str(caught.value).endswith(f"Unpack it: cd {tmp_path} && {command}")


def test_label_maps_in_their_archive(cityscapes: Path) -> None:
    shutil.rmtree(cityscapes / "gtFine")
    (cityscapes / "gtFine_trainvaltest.zip").write_bytes(b"")
    with pytest.raises(BadInput, match=r"has no gtFine/, but gtFine_trainvaltest\.zip, .*unzip -q gtFine_trainvaltest"):
        index("cityscapes", cityscapes, "train")


def test_coco_plus(coco: Path, paint: Paint) -> None:
    plain, lines = fingerprint("coco", coco), check("coco", coco).lines()
    with pytest.raises(BadInput, match=r"not laid out as coco_plus: there is no unlabeled2017/"):
        pretraining_index("coco_plus", coco)
    assert check("coco_plus", coco).missing == ["unlabeled2017 (images without labels, which pretraining reads)"]
    for number in range(4):
        paint(coco / "unlabeled2017" / f"{number:012d}.jpg", seed=200 + number)
    assert fingerprint("coco", coco) == plain
    assert index("coco", coco, "train").files == pretraining_index("coco", coco).files
    both = pretraining_index("coco_plus", coco)
    assert (len(both.files), both.labels, both.split) == (14, None, "train+unlabeled2017")
    assert both.files[9:11] == ("train2017/000000000009.jpg", "unlabeled2017/000000000000.jpg")
    report = check("coco_plus", coco)
    assert report.ok
    assert report.counts == {"train": {"": 10}, "val": {"": 3}, "unlabeled2017": {"": 4}}
    assert "layout     pretraining reads train2017/ and unlabeled2017/" in report.lines()
    note = "layout     unlabeled2017/ is not read; the data set coco_plus pretrains on it besides train2017/"
    assert [line for line in check("coco", coco).lines() if line not in lines] == [note]
    marks = {plain, fingerprint("coco_plus", coco)}
    (coco / "unlabeled2017" / "000000000003.jpg").write_bytes(b"x")
    marks.add(fingerprint("coco_plus", coco))
    assert len(marks) == 3
    shutil.rmtree(coco / "unlabeled2017")
    (coco / "unlabeled2017").mkdir()
    with pytest.raises(BadInput, match="unlabeled2017 holds no images, which pretraining on coco_plus sees"):
        pretraining_index("coco_plus", coco)


def test_a_check_says_what_it_read(imagenet: Path, cityscapes: Path, paint: Paint) -> None:
    lines = check("imagenet", imagenet).lines()
    assert lines[1:3] == [
        "layout     train is train/, labels from its folders <wnid>/",
        "layout     val is val/, labels from its folders <wnid>/",
    ]
    assert lines[-2] == "read       9 image files, each decoded"
    shutil.rmtree(imagenet / "val")
    paint(imagenet / "val" / "ILSVRC2012_val_00000001.JPEG")
    (imagenet / "val_labels.txt").write_text("n00000002")
    report = check("imagenet", imagenet)
    assert report.lines()[2] == "layout     val is val/ without folders, labels from val_labels.txt"
    assert report.missing == ["val/n00000001 (train has it)", "val/n00000003 (train has it)"]
    for file in cityscapes.glob("gtFine/train/*/*_labelTrainIds.png"):
        file.unlink()
    lines = check("cityscapes", cityscapes).lines()
    assert lines[1:3] == [
        "layout     labels of train from gtFine/train/<city>/*_gtFine_labelIds.png, made train ids by the table of "
        "cityscapesScripts as they are read",
        "layout     labels of val from gtFine/val/<city>/*_gtFine_labelTrainIds.png",
    ]
    assert lines[-2] == "read       6 image files and 6 label maps, each decoded"


def test_nothing_is_written_into_a_data_root(coco: Path, imagenet: Path, cityscapes: Path, tmp_path: Path) -> None:
    def state(root: Path) -> list[tuple[str, int]]:
        return [(str(file), file.stat().st_mtime_ns) for file in [root, *sorted(root.rglob("*"))]]

    for file in cityscapes.glob("gtFine/*/*/*_labelTrainIds.png"):
        file.unlink()
    for name, root in (("coco", coco), ("imagenet", imagenet), ("cityscapes", cityscapes)):
        before = state(root)
        check(name, root)
        fingerprint(name, root, tmp_path / "work" / "data.json")
        index(name, root, "val")
        assert state(root) == before
