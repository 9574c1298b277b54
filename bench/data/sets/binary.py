"""Small images as their authors pack them, all of a split in one file or a few; or as a folder of PNG for each class.

Equal to what torchvision's readers return; these need no checksums of the originals.
"""

from __future__ import annotations

import io
import pickle
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.data.sets.class_folders import ClassFolders
from bench.data.sets.data_set import SPLITS, Index
from bench.errors import BadInput, one_line


class SmallImages(ClassFolders):
    """Images of one size in their authors' binary layout, or in folders of classes."""

    one_size = True
    shards = False
    other_val = "test"
    binary_folder: ClassVar[str]
    # The files of `train` and `val`, and of the names of the `classes`.
    binary_files: ClassVar[Mapping[str, tuple[str, ...]]]

    def looks_like(self, root: Path) -> bool:
        """Whether a folder has the binary layout; folders of classes look alike."""
        return self.is_binary(root)

    def recognised(self, root: Path) -> list[str]:
        """Return which of the layouts it is."""
        if self.is_binary(root):
            return [f"the authors' binary layout in {self.binary_folder}/"]
        return [f"{split} is {self.folder(root, split)}/, labels from its folders" for split in self.splits(root)]

    @abstractmethod
    def read(self, root: Path, split: str) -> Index:
        """Read a split of the binary layout. Raises BadInput that names a file that is missing or damaged."""

    def is_binary(self, root: Path) -> bool:
        """Whether a folder has the binary layout, complete or not."""
        return (root / self.binary_folder).is_dir()

    def paths(self, split: str) -> tuple[str, ...]:
        """Return the binary files of a split, or of `classes`, relative to the root."""
        return tuple(f"{self.binary_folder}/{name}" for name in self.binary_files[split])

    def splits(self, root: Path) -> tuple[str, ...]:
        """Return the splits that there are; of the binary layout both."""
        return SPLITS if self.is_binary(root) else super().splits(root)

    def index(self, root: Path, split: str) -> Index:
        """List a split of either layout."""
        return self.read(root, split) if self.is_binary(root) else super().index(root, split)

    def files(self, index: Index) -> Sequence[str]:
        """Return the files that hold what an index lists."""
        return super().files(index) if index.pixels is None else self.paths(index.split)

    def more_files(self, root: Path) -> Sequence[str]:
        """Return the file with the names of the classes."""
        return self.paths("classes") if self.is_binary(root) else ()


def numbered(file: str, count: int) -> tuple[str, ...]:
    """Return a name for each image of a file; they sort as the images lie."""
    return tuple(f"{file}/{number:06d}" for number in range(count))


def check_labels(file: Path, labels: np.ndarray, images: int, classes: int) -> None:
    """Raise BadInput unless a file has one label of `classes` for each image."""
    if labels.shape != (images,) or images == 0:
        raise damaged(file, f"{labels.size} labels for {images} images")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise damaged(file, f"its labels are not those of {classes} classes")


def read_bytes(file: Path) -> bytes:
    """Return a file's content. Raises BadInput where it is missing."""
    file_size(file)
    return file.read_bytes()


def file_size(file: Path) -> int:
    """Return a file's size. Raises BadInput where it is missing."""
    try:
        return file.stat().st_size
    except OSError as error:
        raise BadInput(f"{file} is missing; unpack the authors' whole archive beside it.") from error


def damaged(file: Path, why: str) -> BadInput:
    """Return the error that a file is damaged."""
    return BadInput(f"{file} is damaged ({why}); unpack the authors' archive anew.")


class _Unpickler(pickle.Unpickler):
    """Of dictionaries, lists, strings, numbers and numpy's arrays: nothing else is ever called."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        return _ALLOWED[module, name]


def _encode(text: str, codec: str) -> bytes:
    """What Python 3 writes bytes as for older versions."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"it holds text in {codec}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy._core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


def unpickled(file: Path) -> dict[str, Any]:
    """Return the dictionary in a pickle, which may hold arrays and no other objects. Raises BadInput."""
    pickled = io.BytesIO(read_bytes(file))
    try:
        content = _Unpickler(pickled, encoding="latin1").load()  # Python 2 wrote them
    except Exception as error:  # what a damaged pickle raises is anything
        raise damaged(file, one_line(error)) from error
    if not isinstance(content, dict):
        raise damaged(file, "it holds no dictionary")
    return content
