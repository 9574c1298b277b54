"""COCO's images, without classes: what pretraining reads."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.data.sets.data_set import SPLITS, Contents, DataSet, Index, image_names
from bench.errors import BadInput

UNLABELLED = "unlabeled2017"
FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


class Coco(DataSet):
    """COCO 2017, or any flat folder of images."""

    name = "coco"
    layout = "train2017/*.jpg (and val2017/*.jpg), or the images themselves"
    labelled = False
    packable = True
    shards = True
    needs = ()  # a flat folder has no splits, and nothing needs val2017
    archives = {
        folder: (f"{folder}.zip", f"unzip -q {folder}.zip") for folder in ("train2017", "val2017", "unlabeled2017")
    }

    def looks_like(self, root: Path) -> bool:
        """Whether a folder has one of COCO's folders."""
        return any((root / folder).is_dir() for folder in self.archives)

    def recognised(self, root: Path) -> list[str]:
        """Return which folder each split is read from, and what is there besides."""
        lines = [
            f"{split} is {split}2017/" if (root / f"{split}2017").is_dir() else f"{split} is the folder itself"
            for split in self.splits(root)
        ]
        if self.unlabelled_split is None and (root / UNLABELLED).is_dir():
            lines.append(f"{UNLABELLED}/ is not read; the data set coco_plus pretrains on it besides train2017/")
        found = [annotation_file(root, split) for split in SPLITS if annotation_file(root, split).is_file()]
        return [*lines, *(f"objects from annotations/{file.name}" for file in found)]

    def splits(self, root: Path) -> tuple[str, ...]:
        """Return the splits; a flat folder of images is `train`."""
        folders = tuple(split for split in SPLITS if (root / f"{split}2017").is_dir())
        return folders or (("train",) if root.is_dir() and image_names(root) else ())

    def index(self, root: Path, split: str) -> Index:
        """List a split."""
        folder = f"{split}2017"
        if (root / folder).is_dir():
            files = tuple(f"{folder}/{name}" for name in image_names(root / folder))
            if not files:
                raise BadInput(f"{root / folder} holds no images; put {split}'s images there.")
            return Index(self.name, root, split, files)
        if split != "train" or self.splits(root) != ("train",):
            raise self.wrong_layout(root, f"{folder}/")
        return Index(self.name, root, split, tuple(image_names(root)))

    def watched(self, root: Path) -> Sequence[str]:
        """Return the annotations that are there: only objectives that learn from objects read them."""
        files = (annotation_file(root, split) for split in SPLITS)
        return [file.relative_to(root).as_posix() for file in files if file.is_file()]

    def contents(self, root: Path, split: str) -> Contents:
        """Return what there is to check of a split, with the images that only the annotations have."""
        contents = super().contents(root, split)
        return replace(contents, missing=_only_in_annotations(root, split, contents.images))


class CocoPlus(Coco):
    """COCO 2017 with its images without annotations, as papers that pretrain on "COCO+" have it: 241,690 images."""

    name = "coco_plus"
    layout = "train2017/*.jpg and unlabeled2017/*.jpg (and val2017/*.jpg)"
    packable = False
    shards = False
    serves_from = ("coco",)
    unlabelled_split = UNLABELLED

    def splits(self, root: Path) -> tuple[str, ...]:
        """Return the splits that have a folder."""
        return tuple(split for split in SPLITS if (root / f"{split}2017").is_dir())

    def lacks(self, root: Path) -> str:
        """Say where there are no images without annotations."""
        return "" if self.has_unlabelled(root) else f"has no {UNLABELLED}/"

    def recognised(self, root: Path) -> list[str]:
        """Return which folder each split is read from."""
        more = [f"pretraining reads train2017/ and {UNLABELLED}/"] if self.has_unlabelled(root) else []
        return [*super().recognised(root), *more]

    def unlabelled(self, root: Path) -> Index:
        """List the images without annotations."""
        folder = root / UNLABELLED
        if not folder.is_dir():
            raise self.wrong_layout(root, f"{UNLABELLED}/")
        names = image_names(folder)
        if not names:
            raise BadInput(f"{folder} holds no images, which pretraining on coco_plus sees besides train2017; fill it.")
        return Index(self.name, root, UNLABELLED, tuple(f"{UNLABELLED}/{name}" for name in names))

    def more_files(self, root: Path) -> Sequence[str]:
        """Return the images without annotations, where they are there."""
        return self.unlabelled(root).files if self.has_unlabelled(root) else ()


def annotation_file(root: Path, split: str) -> Path:
    """Return COCO's file of the objects in each image of a split."""
    return root / "annotations" / f"instances_{split}2017.json"


def check_objects(dataset: str, root: Path | None, split: str) -> None:
    """Raise BadInput where a split has no annotated objects; without a root, only where its data set never has any."""
    if dataset != Coco.name:
        raise BadInput(
            f"Maps of objects need COCO's annotations, which {dataset} has not; take the data set coco, or "
            "segments instead of objects."
        )
    if root is not None and not (file := annotation_file(root, split)).is_file():
        raise BadInput(
            f"{file} is missing; unpack COCO's annotations_trainval2017.zip there, or use segments instead of objects."
        )


def _only_in_annotations(root: Path, split: str, files: Iterable[str]) -> list[str]:
    """The images that COCO's annotations name and the folder has not.

    The file is searched instead of parsed: it has half a gigabyte, which parsed takes several.
    """
    file = annotation_file(root, split)
    if not file.is_file() or file.stat().st_size == 0:
        return []
    present = {image.rpartition("/")[2] for image in files}
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        names, strange = set[str](), 0
        for match in FILE_NAME.finditer(content):
            try:
                names.add(str(json.loads(match[1])))
            except ValueError:
                strange += 1
    missing = [f"{split}2017/{ascii(name)[1:-1]} (named in {file.name})" for name in sorted(names - present)]
    return missing + ([f"{strange} images whose names in {file.name} are no text"] if strange else [])
