"""ImageNet-1k, and the 100 classes of it that are a data set themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from bench.data.sets.class_folders import ClassFolders
from bench.data.sets.data_set import SPLITS, Index, folder_names, in_folder
from bench.data.sets.flat_validation import images_by_class, is_flat, label_files
from bench.errors import BadInput

WNID = re.compile(r"n\d{8}")
INNER = "(cd train && for f in n*.tar; do mkdir -p ${f%.tar} && tar -xf $f -C ${f%.tar} && rm $f; done)"


class ImageNet(ClassFolders):
    """ImageNet-1k; its validation images lie in class folders, or all in val/ with a list of their classes."""

    name = "imagenet"
    layout = "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, or val/*.JPEG with the devkit or a list of wnids"
    class_word = "<wnid>"
    packable = True
    archives = {
        "train": (
            "ILSVRC2012_img_train.tar",
            f"mkdir -p train && tar -xf ILSVRC2012_img_train.tar -C train && {INNER}",
        ),
        "val": ("ILSVRC2012_img_val.tar", "mkdir -p val && tar -xf ILSVRC2012_img_val.tar -C val"),
    }

    def packed(self, root: Path, looked_for: str) -> str:
        """Return how to unpack what is looked for; also where only the outer of the two archives of train/ was."""
        if looked_for.startswith("train/") and next((root / "train").glob("n*.tar"), None):
            return f"train/ holds an archive of each class. Unpack them: {in_folder(root, INNER)}"
        return super().packed(root, looked_for)

    def looks_like(self, root: Path) -> bool:
        """Whether all folders of train/, or else of val/, have the names of synsets."""
        folder = next((root / split for split in SPLITS if (root / split).is_dir()), None)
        names = folder_names(folder) if folder is not None else []
        return bool(names) and all(WNID.fullmatch(name) for name in names)

    def recognised(self, root: Path) -> list[str]:
        """Return where each split's labels come from."""
        if "val" not in self.splits(root) or not is_flat(root):
            return [f"{split} is {split}/, labels from its folders <wnid>/" for split in self.splits(root)]
        files = " and ".join(label_files(root))
        return ["train is train/, labels from its folders <wnid>/", f"val is val/ without folders, labels from {files}"]

    def index(self, root: Path, split: str) -> Index:
        """List a split, by classes; the labels of a flat val/ are those that its images have in class folders."""
        if split == "train" or not is_flat(root):
            return super().index(root, split)
        classes, images = self.classes(root, "train"), images_by_class(root)
        chosen = self.chosen(images, root / "val")
        return self.labelled_index(
            root, split, {name: [f"val/{image}" for image in images[name]] for name in chosen}, classes
        )

    def classes(self, root: Path, folder: str) -> list[str]:
        """Return the classes of a folder that count, sorted."""
        return self.chosen(super().classes(root, folder), root / folder)

    def list_files(self, root: Path) -> Sequence[str]:
        """Return what a flat val/ has its labels from."""
        return label_files(root) if is_flat(root) else ()


class ImageNet100(ImageNet):
    """ImageNet-100, which is read from a whole ImageNet where it has no folder of its own."""

    name = "imagenet100"
    layout = "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG of its 100 classes (a whole ImageNet serves)"
    serves_from = ("imagenet",)

    def lacks(self, root: Path) -> str:
        """Say how many of the 100 classes are there where some are not."""
        train = root / "train"
        there = len({*imagenet100_classes()} & {*(folder_names(train) if train.is_dir() else ())})
        return "" if there == 100 else f"has {there} of its 100 classes"

    def chosen(self, names: Iterable[str], place: Path) -> list[str]:
        """Return the 100 classes, sorted. Raises BadInput where one is missing."""
        wanted = sorted(imagenet100_classes())
        missing = sorted(set(wanted) - set(names))
        if missing:
            raise BadInput(
                f"{place} has {100 - len(missing)} of the 100 classes of ImageNet-100 ({missing[0]} is "
                "missing); point imagenet100 or imagenet to a folder with all of them, or use the data set imagenet."
            )
        return wanted


@cache
def imagenet100_classes() -> tuple[str, ...]:
    """Return the wnids of ImageNet-100 in the order of their authors: Tian et al., "Contrastive Multiview Coding"."""
    return tuple((Path(__file__).parent / "imagenet100.txt").read_text(encoding="ascii").split())
