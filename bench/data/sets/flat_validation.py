"""ImageNet's validation images as they are unpacked: all in val/, with their classes in a list or in the devkit."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.data.sets.data_set import SUFFIXES, folder_names, image_names, in_folder
from bench.errors import BadInput

DEVKIT = "ILSVRC2012_devkit_t12/data"
GROUND_TRUTH, META = f"{DEVKIT}/ILSVRC2012_validation_ground_truth.txt", f"{DEVKIT}/meta.mat"
LISTS = ("val.txt", "val_labels.txt", "imagenet_2012_validation_synset_labels.txt", "LOC_val_solution.csv")
ARCHIVE = "ILSVRC2012_devkit_t12.tar.gz"
PLACES = ("", "val/")  # below the root, where they are looked for
NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})")


def is_flat(root: Path) -> bool:
    """Whether val/ holds images and no folders (but perhaps the devkit)."""
    folder = root / "val"
    return folder.is_dir() and not {*folder_names(folder)} - {Path(DEVKIT).parts[0]} and bool(image_names(folder))


def label_files(root: Path) -> Sequence[str]:
    """Return the files that the labels are read from, relative to the root: the devkit's two, or a list; or none.

    A list that names classes by numbers counts only where there is no other.
    """
    found = [
        tuple(place + name for name in names)
        for names in ((GROUND_TRUTH, META), *((name,) for name in LISTS))
        for place in PLACES
        if (root / place / names[0]).is_file()
    ]
    return next((files for files in found if len(files) == 2 or not _numbered(root / files[0])), (found or [()])[0])


def _numbered(file: Path) -> bool:
    """Whether a list names the class of its first image by a number."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        words = next((line.replace(",", " ").split() for line in stream if line.strip()), [])
    return bool(words) and words[min(1, len(words) - 1)].isdigit()


def images_by_class(root: Path) -> dict[str, list[str]]:
    """Return {class: names of the images in val/}, both sorted.

    Raises BadInput where there is no list, it cannot be understood, or an image is not in it.
    """
    files = label_files(root)
    if not files and (root / ARCHIVE).is_file():
        raise BadInput(
            f"{root / 'val'} holds images without class folders, whose classes are in {ARCHIVE}, which is packed. "
            f"Unpack it: {in_folder(root, f'tar -xzf {ARCHIVE}')}"
        )
    if not files:
        raise BadInput(
            f"{root / 'val'} holds images without class folders, and nothing says their classes; put the devkit "
            f"({DEVKIT}/ with its ground truth and meta.mat) or a list ({', '.join(LISTS[:-1])} with one wnid a line, "
            f"or lines of file and wnid; or Kaggle's {LISTS[-1]}) into {root} or its val/, or sort the images into a "
            "folder for each class."
        )
    class_of = _of_devkit(root, *files) if len(files) == 2 else _of_list(root / files[0])
    found: defaultdict[str, list[str]] = defaultdict(list)
    for image in image_names(root / "val"):
        found[class_of(image)].append(image)
    return {name: found[name] for name in sorted(found)}


def _of_devkit(root: Path, ground_truth: str, meta: str) -> Callable[[str], str]:
    """Return what gives the class of an image by the devkit's files."""
    if not (root / meta).is_file():
        raise BadInput(f"{root / meta} is missing; unpack the whole of {ARCHIVE}.")
    from scipy.io import loadmat  # not at the top: most data sets do without

    try:
        synsets = loadmat(root / meta, squeeze_me=True)["synsets"]
        wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except Exception as error:  # whatever a reader of a damaged file raises
        raise BadInput(f"{root / meta} is not the devkit's table of classes; unpack the devkit anew.") from error
    lines = (root / ground_truth).read_text(encoding="utf-8", errors="replace").split()
    try:
        classes = [wnids[int(line)] for line in lines]
    except (ValueError, KeyError) as error:
        raise BadInput(
            f"{root / ground_truth} has a line that is no number of a class in meta.mat ({error}); unpack the devkit "
            "anew."
        ) from error
    return _by_number(root / ground_truth, classes)


def _of_list(file: Path) -> Callable[[str], str]:
    """Return what gives the class of an image by a list: a class a line, or lines of file and class."""
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    lines = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    if lines and lines[0][0] == "ImageId":  # Kaggle's header
        lines = lines[1:]
    alone = {len(line) == 1 for line in lines}
    if len(alone) != 1:
        raise BadInput(f"{file} is no list; write one wnid a line, or lines of file and wnid.")
    classes = [line[0] if alone == {True} else line[1] for line in lines]
    number = next((name for name in classes if name.isdigit()), None)
    if number is not None:
        raise BadInput(
            f"{file} names classes by numbers ({number}), whose order it does not say; write wnids such as n01440764."
        )
    if alone == {True}:
        return _by_number(file, classes)
    by_image: dict[str, str] = {}
    for line, name in zip(lines, classes, strict=True):
        image = _stem(line[0])
        if by_image.setdefault(image, name) != name:
            raise BadInput(f"{file} gives {image} two classes ({by_image[image]} and {name}); remove one of the lines.")

    def class_of(image: str) -> str:
        try:
            return by_image[_stem(image)]
        except KeyError:
            raise BadInput(f"val/{image} is not in {file}; add its line, or remove the image.") from None

    return class_of


def _stem(image: str) -> str:
    """The name of an image without folders and ending; Kaggle's list has none."""
    name = Path(image)
    return name.stem if name.suffix.lower() in SUFFIXES else name.name


def _by_number(file: Path, classes: Sequence[str]) -> Callable[[str], str]:
    """Return what gives an image the class in the line of its number."""

    def class_of(image: str) -> str:
        number = NUMBERED.fullmatch(_stem(image))
        if number is None:
            raise BadInput(
                f"{file} has a line for each number, and val/{image} is not named ILSVRC2012_val_<number>; write lines "
                "of file and wnid."
            )
        line = int(number[1])
        if not 1 <= line <= len(classes):
            raise BadInput(
                f"{file} has {len(classes)} lines and none for val/{image}; write lines of file and wnid, or take the "
                "whole list."
            )
        return classes[line - 1]

    return class_of
