"""COCO's images, without classes: what pretraining reads."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bench.data.sets.data_set import SPLITS, Contents, DataSet, Index, image_names
from bench.errors import BadInput

FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


class Coco(DataSet):
    """COCO 2017, or any flat folder of images."""

    name = "coco"
    layout = "train2017/*.jpg (and val2017/*.jpg), or the images themselves"
    labelled = False
    packable = True
    needs = ()  # a flat folder has no splits, and nothing needs val2017

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

    def contents(self, root: Path, split: str) -> Contents:
        """Return what there is to check of a split, with the images that only the annotations have."""
        contents = super().contents(root, split)
        return replace(contents, missing=_only_in_annotations(root, split, contents.images))


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
        names = {str(json.loads(match[1])) for match in FILE_NAME.finditer(content)}
    return [f"{split}2017/{name} (named in {file.name})" for name in sorted(names - present)]
