"""CIFAR-10 and CIFAR-100: 60,000 images of 32×32 pixels, as their authors' pickles or as folders of PNG."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from bench.data.sets.binary import SmallImages, check_labels, damaged, numbered, unpickled
from bench.data.sets.data_set import Index

SIDE = 32


class Cifar10(SmallImages):
    """CIFAR-10."""

    name = "cifar10"
    layout = "cifar-10-batches-py/, or train/<class>/*.png and test/<class>/*.png (or val/)"
    binary_folder = "cifar-10-batches-py"
    archives = {"train": ("cifar-10-python.tar.gz", "tar -xzf cifar-10-python.tar.gz")}
    binary_files = {
        "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
        "val": ("test_batch",),
        "classes": ("batches.meta",),
    }
    labels_key: ClassVar[str] = "labels"
    classes_key: ClassVar[str] = "label_names"

    def read(self, root: Path, split: str) -> Index:
        """Read the pickles of a split."""
        names_file = root / self.paths("classes")[0]
        class_names = unpickled(names_file).get(self.classes_key)
        if not isinstance(class_names, list):
            raise damaged(names_file, f"it has no {self.classes_key}")
        arrays: list[np.ndarray] = []
        names: list[str] = []
        all_labels: list[int] = []
        for path in self.paths(split):
            content = unpickled(root / path)
            data = content.get("data")
            if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * SIDE**2,):
                raise damaged(root / path, f"its data are not N×{3 * SIDE**2} bytes")
            labels = np.asarray(content.get(self.labels_key, ()))
            check_labels(root / path, labels, len(data), len(class_names))
            arrays.append(np.ascontiguousarray(data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)))
            names += numbered(path, len(data))
            all_labels += labels.tolist()
        classes = tuple(map(str, class_names))
        return Index(self.name, root, split, tuple(names), tuple(all_labels), classes, pixels=np.concatenate(arrays))


class Cifar100(Cifar10):
    """CIFAR-100 with its 100 fine classes."""

    name = "cifar100"
    layout = "cifar-100-python/, or train/<class>/*.png and test/<class>/*.png (or val/)"
    binary_folder = "cifar-100-python"
    archives = {"train": ("cifar-100-python.tar.gz", "tar -xzf cifar-100-python.tar.gz")}
    binary_files = {"train": ("train",), "val": ("test",), "classes": ("meta",)}
    labels_key = "fine_labels"
    classes_key = "fine_label_names"
