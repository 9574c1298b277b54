"""ImageNet's validation images all in val/: with the devkit or a list they are what they are in class folders."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import bench.data.sets.fingerprints as fingerprints
from bench.data.sets import fingerprint, index
from bench.data.sets.check import check
from bench.data.sets.flat_validation import GROUND_TRUTH, LISTS, META, label_files
from bench.data.sets.imagenet import imagenet100_classes
from bench.errors import BadInput

Paint = Callable[..., Path]

WNIDS = ("n01440764", "n02102040", "n03888257")
OF_IMAGE = (2, 0, 1, 0, 2, 0)  # positions in WNIDS, of images 1 to 6


def name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


@pytest.fixture
def sorted_root(tmp_path: Path, paint: Paint) -> Path:
    """Images in class folders."""
    root = tmp_path / "sorted"
    for wnid in WNIDS:
        paint(root / "train" / wnid / f"{wnid}_0.JPEG")
    for number, position in enumerate(OF_IMAGE, 1):
        paint(root / "val" / WNIDS[position] / name(number), seed=number)
    return root


@pytest.fixture
def flat(sorted_root: Path, tmp_path: Path) -> Path:
    """The same images without class folders, and without a list."""
    root = tmp_path / "flat"
    shutil.copytree(sorted_root / "train", root / "train")
    (root / "val").mkdir()
    for file in sorted_root.glob("val/*/*"):
        shutil.copy(file, root / "val" / file.name)
    return root


def write_devkit(root: Path) -> None:
    """Its table has the classes in an order of its own, counted from 1, and groups of classes behind them."""
    rows = [(2, WNIDS[0]), (3, WNIDS[2]), (1, WNIDS[1]), (4, "n00001740")]
    synsets = np.zeros((4, 1), [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")])
    for row, (number, wnid) in zip(synsets, rows, strict=True):
        row[0] = (np.float64(number), wnid, 0)
    (root / META).parent.mkdir(parents=True)
    savemat(root / META, {"synsets": synsets})
    number_of = {wnid: number for number, wnid in rows}
    (root / GROUND_TRUTH).write_text("".join(f"{number_of[WNIDS[position]]}\n" for position in OF_IMAGE))


def lines(form: str) -> str:
    return "".join(form.format(name=name(n), wnid=WNIDS[p]) + "\n" for n, p in enumerate(OF_IMAGE, 1))


SOURCES: dict[str, Callable[[Path], object]] = {
    "the devkit": write_devkit,
    "the devkit in val": lambda root: write_devkit(root / "val"),
    "a wnid a line": lambda root: (root / "val_labels.txt").write_text(lines("{wnid}")),
    "in val": lambda root: (root / "val" / LISTS[2]).write_text(lines("{wnid}")),
    "file and wnid": lambda root: (root / "val.txt").write_text(lines("val/{name} {wnid}") + "\nother.JPEG n9\n"),
    "Kaggle": lambda root: (root / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n" + lines("{name},{wnid} 1 2 3 4 ").replace(".JPEG", "")
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_classes_and_labels_are_those_of_class_folders(flat: Path, sorted_root: Path, source: str) -> None:
    SOURCES[source](flat)
    ours, expected = index("imagenet", flat, "val"), index("imagenet", sorted_root, "val")
    assert (ours.classes, ours.labels) == (expected.classes, expected.labels)
    assert [Path(file).name for file in ours.files] == [Path(file).name for file in expected.files]
    assert all((flat / file).is_file() for file in ours.files)
    assert check("imagenet", flat).counts == check("imagenet", sorted_root).counts
    assert index("imagenet", flat, "train").files == index("imagenet", sorted_root, "train").files


def test_imagenet100_takes_its_classes_out(flat: Path, paint: Paint) -> None:
    wanted = sorted(imagenet100_classes())
    for wnid in {*wanted, "n00000001"}:
        (flat / "train" / wnid).mkdir(exist_ok=True)
        (flat / "train" / wnid / "x.JPEG").write_bytes(b"x")
    shutil.rmtree(flat / "val")
    listed = [*reversed(wanted), "n00000001"]
    for number in range(1, 102):
        (flat / "val").mkdir(exist_ok=True)
        (flat / "val" / name(number)).write_bytes(b"x")
    (flat / "val.txt").write_text("\n".join(listed))
    val = index("imagenet100", flat, "val")
    assert val.classes == tuple(wanted)
    assert val.labels == tuple(range(100))
    assert val.files[0] == f"val/{name(100)}"
    (flat / "val" / name(100)).unlink()
    with pytest.raises(BadInput, match=rf"val has 99 of the 100 classes of ImageNet-100 \({wanted[0]} is missing"):
        index("imagenet100", flat, "val")


def test_a_list_of_numbers_does_not_hide_one_of_wnids(flat: Path, sorted_root: Path) -> None:
    (flat / "val.txt").write_text(lines("{name} 65"))
    (flat / "val" / "val_labels.txt").write_text(lines("{wnid}"))
    assert label_files(flat) == ("val/val_labels.txt",)
    assert index("imagenet", flat, "val").labels == index("imagenet", sorted_root, "val").labels


WRONG = {
    "": (r"nothing says their classes; put the devkit .*val\.txt, val_labels\.txt", None),
    "numbers": (r"val\.txt names classes by numbers \(65\)", f"{name(1)} 65\n"),
    "mixed": (r"val\.txt is no list", f"n01440764\n{name(1)} n01440764\n"),
    "empty": (r"val\.txt is no list", "\n"),
    "short": (r"val\.txt has 2 lines and none for val/ILSVRC2012_val_00000003\.JPEG", "n01440764\nn02102040\n"),
    "incomplete": (r"val/ILSVRC2012_val_00000002\.JPEG is not in .*val\.txt", f"{name(1)} n01440764\n"),
    "twice": ("gives .*_00000001 two classes", f"{name(1)} n01440764\n{name(1)} n02102040\n"),
    "unknown": (r"val has 1 classes that .*train has not \(n00000009\)", lines("{name} n00000009")),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_list(flat: Path, case: str) -> None:
    message, text = WRONG[case]
    if text is not None:
        (flat / "val.txt").write_text(text)
    with pytest.raises(BadInput, match=message):
        index("imagenet", flat, "val")


def test_images_that_have_no_number(flat: Path, paint: Paint) -> None:
    (flat / "val.txt").write_text(lines("{wnid}"))
    paint(flat / "val" / "mine.jpg")
    with pytest.raises(BadInput, match=r"val/mine\.jpg is not named ILSVRC2012_val_<number>; write lines of file and"):
        index("imagenet", flat, "val")


def test_a_devkit_that_is_not_whole(flat: Path) -> None:
    write_devkit(flat)
    (flat / GROUND_TRUTH).write_text("1\n9\n")
    with pytest.raises(BadInput, match=r"has a line that is no number of a class in meta\.mat \(9\)"):
        index("imagenet", flat, "val")
    (flat / META).write_bytes(b"no table")
    with pytest.raises(BadInput, match=r"meta\.mat is not the devkit's table of classes"):
        index("imagenet", flat, "val")
    (flat / META).unlink()
    with pytest.raises(BadInput, match=r"meta\.mat is missing; unpack the whole of ILSVRC2012_devkit_t12\.tar\.gz"):
        index("imagenet", flat, "val")


def test_a_devkit_in_its_archive(flat: Path) -> None:
    write_devkit(flat)
    folder = Path(GROUND_TRUTH).parts[0]
    subprocess.run(["tar", "-czf", f"{folder}.tar.gz", folder], cwd=flat, check=True)
    shutil.rmtree(flat / folder)
    with pytest.raises(BadInput, match=r"whose classes are in .* Unpack it: cd /") as caught:
        index("imagenet", flat, "val")
    message = str(caught.value)
    subprocess.run(["bash", "-c", message[message.index("cd /") :]], check=True)
    assert index("imagenet", flat, "val").labels == tuple(sorted(OF_IMAGE))


def test_the_list_is_part_of_the_fingerprint(flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though only some files are read, and of the same size; a cached one notices, too."""
    monkeypatch.setattr(fingerprints, "SAMPLED", 2)
    cache = tmp_path / "work" / "data.json"
    text = lines("{wnid}")
    (flat / "val.txt").write_text(text)
    first = fingerprint("imagenet", flat, cache)
    assert fingerprint("imagenet", flat, cache) == fingerprint("imagenet", flat) == first
    (flat / "val.txt").write_text("".join([*text.splitlines(True)[1:], text.splitlines(True)[0]]))
    changed = fingerprint("imagenet", flat, cache)
    assert fingerprint("imagenet", flat) == changed != first
    write_devkit(flat)  # which is read first
    assert label_files(flat) == (GROUND_TRUTH, META)
    assert fingerprint("imagenet", flat, cache) == fingerprint("imagenet", flat) not in {first, changed}


def test_sorted_folders_do_not_read_a_list(sorted_root: Path) -> None:
    before = index("imagenet", sorted_root, "val"), fingerprint("imagenet", sorted_root)
    (sorted_root / "val.txt").write_text("n02102040\n" * 6)
    write_devkit(sorted_root)
    assert (index("imagenet", sorted_root, "val"), fingerprint("imagenet", sorted_root)) == before
