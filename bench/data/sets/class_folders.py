"""Data sets whose images lie in a folder for each class."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bench.data.sets.data_set import SPLITS, DataSet, Index, folder_names, image_names
from bench.errors import BadInput


class ClassFolders(DataSet):
    """Images in train/<class>/ and val/<class>/. A subclass needs a `name` and no more."""

    layout = "train/<class>/*.jpg and val/<class>/*.jpg"
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

    def index(self, root: Path, split: str) -> Index:
        """List a split; labels are positions among the classes of `train`."""
        folder = self.folder(root, split)
        classes = self.classes(root, "train")
        chosen = classes if split == "train" else self.classes(root, folder)
        unknown = sorted(set(chosen) - set(classes))
        if unknown:
            raise BadInput(
                f"{root / folder} has {len(unknown)} classes that {root / 'train'} has not ({unknown[0]}); "
                "remove them, or add them to train."
            )
        files: list[str] = []
        labels: list[int] = []
        number = {name: label for label, name in enumerate(classes)}
        for name in chosen:
            images = image_names(root / folder / name)
            if not images:
                raise BadInput(f"The class folder {root / folder / name} holds no images; fill it or remove it.")
            files += [f"{folder}/{name}/{image}" for image in images]
            labels += [number[name]] * len(images)
        return Index(self.name, root, split, tuple(files), tuple(labels), tuple(classes))
