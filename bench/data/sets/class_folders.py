"""Data sets whose images lie in a folder for each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from bench.data.sets.data_set import SPLITS, DataSet, Index, folder_names, image_names
from bench.errors import BadInput


class ClassFolders(DataSet):
    """Images in train/<class>/ and val/<class>/. A subclass needs a `name` and no more."""

    layout = "train/<class>/*.jpg and val/<class>/*.jpg"
    shards = True
    class_word: ClassVar[str] = "<class>"  # how messages write the folder of a class
    other_val: ClassVar[str | None] = None  # the folder of `val` where there is no val/

    def folder(self, root: Path, split: str) -> str:
        """Return the name of the folder of a split."""
        return self.other_val if self.other_val and split == "val" and not (root / "val").is_dir() else split

    def splits(self, root: Path) -> tuple[str, ...]:
        """Return which splits have a folder."""
        return tuple(split for split in SPLITS if (root / self.folder(root, split)).is_dir())

    def classes(self, root: Path, folder: str) -> list[str]:
        """Return the classes that a split's folder holds, sorted. Raises BadInput where there is none."""
        if not (root / folder).is_dir():
            raise self.wrong_layout(root, f"{folder}/")
        names = folder_names(root / folder)
        if not names:
            remedy = "sort the images into a folder for each class, and it"
            raise self.wrong_layout(root, f"{folder}/{self.class_word}/", remedy)
        return names

    def chosen(self, names: Iterable[str], place: Path) -> list[str]:  # noqa: ARG002 - of subclasses
        """Return those of the classes in a place that belong to the data set, sorted."""
        return list(names)

    def index(self, root: Path, split: str) -> Index:
        """List a split; labels are positions among the classes of `train`."""
        folder = self.folder(root, split)
        classes = self.classes(root, "train")
        chosen = classes if split == "train" else self.classes(root, folder)
        files = {name: [f"{folder}/{name}/{image}" for image in image_names(root / folder / name)] for name in chosen}
        empty = next((name for name, images in files.items() if not images), None)
        if empty is not None:
            raise BadInput(f"The class folder {root / folder / empty} holds no images; fill it or remove it.")
        return self.labelled_index(root, split, files, classes)

    def labelled_index(
        self, root: Path, split: str, files: Mapping[str, Sequence[str]], classes: Sequence[str]
    ) -> Index:
        """Return the index of the files of each class of a split, relative to the root.

        Raises BadInput for classes that are not among `classes`, those of `train`.
        """
        unknown = sorted(set(files) - set(classes))
        if unknown:
            raise BadInput(
                f"{root / self.folder(root, split)} has {len(unknown)} classes that {root / 'train'} has not "
                f"({unknown[0]}); remove them, or add them to train."
            )
        number = {name: label for label, name in enumerate(classes)}
        listed = tuple(file for images in files.values() for file in images)
        labels = tuple(number[name] for name, images in files.items() for _ in images)
        return Index(self.name, root, split, listed, labels, tuple(classes))
