"""STL-10: images of 96×96 pixels, 5,000 to train on with labels and 100,000 without, which pretraining reads, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.data.sets.binary import SmallImages, check_labels, damaged, file_size, numbered, read_bytes
from bench.data.sets.data_set import Index, image_names
from bench.errors import BadInput

SIDE = 96
UNLABELLED, UNLABELLED_FILE = "unlabeled", "unlabeled_X.bin"  # the folder, and the file of the binary layout


class Stl10(SmallImages):
    """STL-10; images of the binary layout are mapped, not loaded."""

    name = "stl10"
    layout = "stl10_binary/, or train/<class>/*.png, test/<class>/*.png (or val/) and unlabeled/*.png"
    binary_folder = "stl10_binary"
    archives = {"train": ("stl10_binary.tar.gz", "tar -xzf stl10_binary.tar.gz")}
    binary_files = {
        "train": ("train_X.bin", "train_y.bin"),
        "val": ("test_X.bin", "test_y.bin"),
        "classes": ("class_names.txt",),
        UNLABELLED: (UNLABELLED_FILE,),
    }
    unlabelled_split = UNLABELLED

    def read(self, root: Path, split: str) -> Index:
        """Map the images of a split and read its labels, which count from 1."""
        images_file, labels_file = self.paths(split)
        classes = tuple(read_bytes(root / self.paths("classes")[0]).decode("utf-8", "replace").split())
        pixels = _mapped(root / images_file)
        labels = np.frombuffer(read_bytes(root / labels_file), np.uint8).astype(np.int64) - 1
        check_labels(root / labels_file, labels, len(pixels), len(classes))
        names = numbered(images_file, len(pixels))
        return Index(self.name, root, split, names, tuple(labels.tolist()), classes, pixels=pixels)

    def unlabelled(self, root: Path) -> Index:
        """List the images without labels."""
        if self.is_binary(root):
            (file,) = self.paths(UNLABELLED)
            pixels = _mapped(root / file)
            return Index(self.name, root, UNLABELLED, numbered(file, len(pixels)), pixels=pixels)
        folder = root / UNLABELLED
        names = image_names(folder) if folder.is_dir() else []
        if not names:
            raise BadInput(
                f"{folder} holds no images, which pretraining on stl10 sees besides train; put STL-10's images without "
                "labels there."
            )
        return Index(self.name, root, UNLABELLED, tuple(f"{UNLABELLED}/{name}" for name in names))

    def has_unlabelled(self, root: Path) -> bool:
        """Whether they are there."""
        (file,) = self.paths(UNLABELLED)
        return (root / file).is_file() if self.is_binary(root) else super().has_unlabelled(root)

    def more_files(self, root: Path) -> Sequence[str]:
        """Return the names of the classes, and the images without labels where they are there."""
        more = self.files(self.unlabelled(root)) if self.has_unlabelled(root) else ()
        return [*super().more_files(root), *more]


def _mapped(file: Path) -> np.ndarray:
    """Images lie one after another, each as its colours, and a colour column by column."""
    image = 3 * SIDE**2
    size = file_size(file)
    if size == 0 or size % image:
        raise damaged(file, f"{size} bytes are no whole number of {SIDE}×{SIDE} images")
    mapped = np.memmap(file, np.uint8, "r", shape=(size // image, 3, SIDE, SIDE))
    return mapped.transpose(0, 3, 2, 1)
