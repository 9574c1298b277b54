"""CIFAR-10, CIFAR-100 and STL-10 as their authors pack them: all images of a split in one file or a few.

Equal to what torchvision's readers return; these need no checksums of the originals, and map STL-10's images instead of
loading them. This module does not import torch.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.errors import BadInput

FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python", "stl10": "stl10_binary"}
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
FILES: dict[str, dict[str, tuple[str, ...]]] = {  # by data set: those of each split, and of the names of the classes
    "cifar10": {"train": TRAIN_BATCHES, "val": ("test_batch",), "classes": ("batches.meta",)},
    "cifar100": {"train": ("train",), "val": ("test",), "classes": ("meta",)},
    "stl10": {
        "train": ("train_X.bin", "train_y.bin"),
        "val": ("test_X.bin", "test_y.bin"),
        "classes": ("class_names.txt",),
    },
}
UNLABELLED = "unlabeled_X.bin"  # STL-10's, without labels
CIFAR_SIDE, STL_SIDE = 32, 96


class Joined:
    """Arrays of images one after another, as one N×H×W×3 uint8; a copy is made only of what is asked for."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = tuple(parts)
        self._starts = np.cumsum([0, *map(len, parts)])
        self.shape = (int(self._starts[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return the image at a position (H×W×3), or those of a slice or an array of positions (M×H×W×3)."""
        if isinstance(key, int | np.integer):
            position = range(len(self))[int(key)]
            which = int(np.searchsorted(self._starts, position, side="right")) - 1
            return self.parts[which][position - int(self._starts[which])]
        positions = np.arange(len(self))[key]
        found = np.empty((len(positions), *self.shape[1:]), self.dtype)
        for part, start in zip(self.parts, self._starts[:-1], strict=True):
            mine = (positions >= start) & (positions < start + len(part))
            found[mine] = part[positions[mine] - start]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all as one array."""
        return self[:].astype(dtype or self.dtype, copy=False)


Pixels = np.ndarray | Joined


@dataclass(frozen=True)
class Contents:
    """The images of a split, and a name for each that says where it lies."""

    pixels: np.ndarray  # N×H×W×3 uint8
    names: tuple[str, ...]
    labels: tuple[int, ...] | None
    classes: tuple[str, ...]


def is_there(dataset: str, root: Path) -> bool:
    """Whether a folder has a data set in its authors' binary layout, complete or not."""
    return dataset in FOLDERS and (root / FOLDERS[dataset]).is_dir()


def files_of(dataset: str, split: str) -> tuple[str, ...]:
    """Return the files that hold a split (`train`, `val`, `classes`), relative to the root."""
    return tuple(f"{FOLDERS[dataset]}/{name}" for name in FILES[dataset][split])


def read(dataset: str, root: Path, split: str) -> Contents:
    """Read a split, `train` or `val`; BadInput that names the file when one is missing or damaged."""
    folder = FOLDERS[dataset]
    if dataset == "stl10":
        images_file, labels_file = files_of(dataset, split)
        (names_file,) = files_of(dataset, "classes")
        classes = tuple(_content(root / names_file).decode("utf-8", "replace").split())
        pixels = _stl_images(root / images_file)
        labels = np.frombuffer(_content(root / labels_file), np.uint8).astype(np.int64) - 1  # from 1 in the file
        _check_labels(root / labels_file, labels, len(pixels), len(classes))
        return Contents(pixels, _numbered(images_file, len(pixels)), tuple(labels.tolist()), classes)
    fine = "fine_" if dataset == "cifar100" else ""
    (names_file,) = files_of(dataset, "classes")
    classes = tuple(map(str, _field(root / names_file, f"{fine}label_names", list)))
    arrays: list[np.ndarray] = []
    names: list[str] = []
    all_labels: list[int] = []
    for name in FILES[dataset][split]:
        file = root / folder / name
        content = _unpickled(file)
        data = content.get("data")
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * CIFAR_SIDE**2,):
            raise _damaged(file, f"its data are not N×{3 * CIFAR_SIDE**2} bytes")
        labels = np.asarray(content.get(f"{fine}labels", ()))
        _check_labels(file, labels, len(data), len(classes))
        planes = data.reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE)
        arrays.append(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)))
        names += _numbered(f"{folder}/{name}", len(data))
        all_labels += labels.tolist()
    return Contents(np.concatenate(arrays), tuple(names), tuple(all_labels), classes)


def read_unlabelled(root: Path) -> Contents:
    """Map STL-10's images without labels; BadInput when the file is missing or damaged."""
    name = f"{FOLDERS['stl10']}/{UNLABELLED}"
    pixels = _stl_images(root / name)
    return Contents(pixels, _numbered(name, len(pixels)), None, ())


def _numbered(file: str, count: int) -> tuple[str, ...]:
    """Names that sort as the images lie."""
    return tuple(f"{file}/{number:06d}" for number in range(count))


def _stl_images(file: Path) -> np.ndarray:
    """Images lie one after another, each as its colours, and a colour column by column."""
    image = 3 * STL_SIDE**2
    size = _size(file)
    if size == 0 or size % image:
        raise _damaged(file, f"{size} bytes are no whole number of {STL_SIDE}×{STL_SIDE} images")
    mapped = np.memmap(file, np.uint8, "r", shape=(size // image, 3, STL_SIDE, STL_SIDE))
    return mapped.transpose(0, 3, 2, 1)


def _check_labels(file: Path, labels: np.ndarray, images: int, classes: int) -> None:
    if labels.shape != (images,) or images == 0:
        raise _damaged(file, f"{labels.size} labels for {images} images")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise _damaged(file, f"its labels are not those of {classes} classes")


# ----------------------------------------------------------------------------------------------- files


class _Unpickler(pickle.Unpickler):
    """Of dictionaries, lists, strings, numbers and numpy's arrays: nothing else is ever called."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core.", "numpy._core.")
        found = _ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        return found


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


def _unpickled(file: Path) -> dict[str, Any]:
    _size(file)
    try:
        with file.open("rb") as opened:
            content = _load(opened)
    except OSError as error:
        raise BadInput(f"Cannot read {file}: {error.strerror}; check its permissions.") from error
    except Exception as error:  # what a damaged pickle raises is anything
        raise _damaged(file, " ".join(str(error).split()).rstrip(".") or type(error).__name__) from error
    if not isinstance(content, dict):
        raise _damaged(file, "it holds no dictionary")
    return content


def _load(opened: IO[bytes]) -> Any:
    return _Unpickler(opened, encoding="latin1").load()  # Python 2 wrote them


def _field(file: Path, key: str, kind: type) -> Any:
    found = _unpickled(file).get(key)
    if not isinstance(found, kind):
        raise _damaged(file, f"it has no {key}")
    return found


def _content(file: Path) -> bytes:
    _size(file)
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"Cannot read {file}: {error.strerror}; check its permissions.") from error


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise BadInput(f"{file} is missing; unpack the authors' whole archive beside it.") from error


def _damaged(file: Path, why: str) -> BadInput:
    return BadInput(f"{file} is damaged ({why}); unpack the authors' archive anew.")
