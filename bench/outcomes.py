"""What a task's evaluation said of each validation image, in a small file: `outcomes.npz`.

A metric is one number of a whole set. Which images were right is what two results can be compared by: an interval for
other images, and a paired test (`bench.results.image_statistics`).

The file is a NumPy archive (`numpy.load(file, allow_pickle=False)`) of N validation images in the order of the data
set, each once. Every file has

    format  uint8 (1,): 1
    images  int64 (1,): N
    names   uint8 (32,): the sha256 of the images' names in their order, relative to the data set's root, joined by NUL
    valid   uint8 (⌈N/8⌉,): bits, the first image's the highest; 0 where an image could not be read and counts nowhere

that of a classification

    top1    bits as in `valid`: whether the first class that was named is the image's
    top5    the same for the first five; left out where it was not measured

and that of a segmentation into C classes

    classes          uint8: the names of the classes in UTF-8, joined by NUL
    intersection     int32 or int64 (N, C): pixels of a class that were predicted as such
    predicted, true  the same: pixels predicted as a class, and labelled as it; ignored pixels count nowhere

The metrics of the set follow from it: accuracies are means of bits, aAcc, mIoU and mAcc are ratios of sums.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.errors import BadInput, one_line
from bench.files import replacing

OUTCOMES = "outcomes.npz"  # in a stage's folder
FORMAT = 1
END = 22  # bytes of a zip's end, which says how many parts there are
LIMIT = 2**32  # bytes that an archive may hold unpacked: a hundred times what 100,000 images of 19 classes take
DIFFERENCE = 1e-9  # of a metric from the record's, in points: sums in another order


# What reading a damaged archive raises.
UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, SyntaxError, struct.error, zlib.error),
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Outcomes(ABC):
    """What was said of N images. `names` is the hex sha256 of their names (`names_digest`), `valid` N booleans."""

    names: str
    valid: np.ndarray

    @property
    def images(self) -> int:
        """How many images there are, with those that could not be read."""
        return len(self.valid)

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Return the metrics of the set that the outcomes give, in percent, by their names in a record."""

    @abstractmethod
    def _arrays(self) -> dict[str, np.ndarray]:
        """Return what is in the file beside `images`, `names` and `valid`."""


@dataclass(frozen=True)
class TopOutcomes(Outcomes):
    """Of a classification: N booleans, whether the image's class was the first named, and among the first five."""

    top1: np.ndarray
    top5: np.ndarray | None = None

    def metrics(self) -> dict[str, float]:
        """Return top1_percent and, where it was measured, top5_percent."""
        count = int(self.valid.sum())
        parts = {"top1_percent": self.top1, "top5_percent": self.top5}
        return {
            name: 100.0 * int((bits & self.valid).sum()) / count
            for name, bits in parts.items()
            if bits is not None and count
        }

    def _arrays(self) -> dict[str, np.ndarray]:
        bits = {"top1": self.top1} | ({} if self.top5 is None else {"top5": self.top5})
        return {name: np.packbits(each & self.valid) for name, each in bits.items()}


@dataclass(frozen=True)
class AreaOutcomes(Outcomes):
    """Of a segmentation: pixels, N×C integers, by class; see the module."""

    classes: tuple[str, ...]
    intersection: np.ndarray
    predicted: np.ndarray
    true: np.ndarray

    def areas(self) -> np.ndarray:
        """Return N×3×C float64: intersection, predicted, true; 0 where an image is not valid."""
        return np.stack([self.intersection, self.predicted, self.true], 1) * self.valid[:, None, None].astype(float)

    def metrics(self) -> dict[str, float]:
        """Return aacc_percent, miou_percent and macc_percent."""
        return {name: float(value) for name, value in area_metrics(self.areas().sum(0)).items()}

    def _arrays(self) -> dict[str, np.ndarray]:
        counts = {"intersection": self.intersection, "predicted": self.predicted, "true": self.true}
        most = max((int(each.max(initial=0)) for each in counts.values()), default=0)
        kind = np.int32 if most < 2**31 else np.int64
        names = np.frombuffer("\0".join(self.classes).encode(), np.uint8)
        return {"classes": names} | {name: (each * self.valid[:, None]).astype(kind) for name, each in counts.items()}


def area_metrics(areas: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics in percent of areas …×3×C (intersection, predicted, true), each with the shape ….

    As mmseg's IoUMetric: aAcc = ΣI/ΣL; mIoU the mean of I/(P + L − I) over the classes that occur in prediction or
    truth; mAcc that of I/L over those that occur in truth. NaN where there is none.
    """
    inner, predicted, true = (areas[..., row, :].astype(float) for row in range(3))
    return {
        "aacc_percent": 100 * _ratio(inner.sum(-1), true.sum(-1)),
        "miou_percent": 100 * _mean(inner, predicted + true - inner),
        "macc_percent": 100 * _mean(inner, true),
    }


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _mean(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The mean of ratios over the last axis, without those of 0/0."""
    known = below > 0
    ratios = np.divide(above, below, out=np.zeros(np.shape(above)), where=known)
    return _ratio(ratios.sum(-1), known.sum(-1).astype(float))


def names_digest(names: Iterable[str]) -> str:
    """Return the hex sha256 of the images' names in their order."""
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def write(outcomes: Outcomes, file: Path) -> None:
    """Write the file whole or not at all; equal outcomes give equal bytes. Raises OSError."""
    arrays = {
        "format": np.array([FORMAT], np.uint8),
        "images": np.array([outcomes.images], np.int64),
        "names": np.frombuffer(bytes.fromhex(outcomes.names), np.uint8),
        "valid": np.packbits(outcomes.valid),
        **outcomes._arrays(),
    }
    with replacing(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as whole:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # of 1980: no clock gets into the file
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            whole.writestr(entry, content.getvalue(), compresslevel=9)


def read(file: Path) -> Outcomes:
    """Return what a file holds. Raises BadInput that says what is wrong with it; OSError where it cannot be opened."""
    with file.open("rb") as opened:
        try:
            with zipfile.ZipFile(opened) as whole:
                if sum(entry.file_size for entry in whole.infolist()) > LIMIT:
                    raise ValueError("it holds more than any outcomes do")
                opened.seek(-END, os.SEEK_END)
                if int.from_bytes(opened.read(END)[10:12], "little") != len(whole.infolist()):  # zipfile passes over it
                    raise ValueError("it has a part that its directory lacks")
                arrays = {entry.filename.removesuffix(".npy"): _array_of(whole, entry) for entry in whole.infolist()}
            return _Parts(file, arrays).outcomes()
        except UNREADABLE as error:
            raise BadInput(
                f"{file} holds no outcomes of images that this version reads ({one_line(error)}); restore it, or run "
                "its stage again."
            ) from error


def _array_of(whole: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    content = io.BytesIO(whole.read(entry))  # all of it, so that its CRC is compared
    array = np.lib.format.read_array(content, allow_pickle=False)
    if content.read(1):
        raise ValueError(f"{entry.filename} holds more than an array")
    return array


def disagreement(outcomes: Outcomes, metrics: Mapping[str, object]) -> str | None:
    """Say which metric a record has otherwise than its outcomes, as "top1_percent is 61.2, and 60.9 by its images".

    None where all agree; metrics that outcomes say nothing about are passed over.
    """
    for name, value in outcomes.metrics().items():
        told = metrics.get(name)
        if not isinstance(told, int | float) or not abs(told - value) <= DIFFERENCE:
            return f"{name} is {told}, and {value} by its images"
    return None


def images_apart(a: Outcomes, b: Outcomes) -> int | None:
    """Return of how many images two results say something else; None where they are not of the same images."""
    if type(a) is not type(b) or (a.names, a.images) != (b.names, b.images):
        return None
    ours, theirs = a._arrays(), b._arrays()
    if ours.keys() != theirs.keys() or (
        isinstance(a, AreaOutcomes) and not np.array_equal(ours["classes"], theirs["classes"])
    ):
        return None
    apart = a.valid != b.valid
    for name in ours.keys() - {"classes"}:
        one, other = ours[name], theirs[name]
        if one.ndim == 1:
            one, other = (np.unpackbits(each, count=a.images)[:, None] for each in (one, other))
        apart = apart | (one != other).any(axis=1)
    return int(apart.sum())


@dataclass(frozen=True)
class _Parts:
    """The arrays of a file, taken out under a check of what they should be."""

    file: Path
    arrays: dict[str, np.ndarray]
    taken: set[str] = field(default_factory=set)

    def outcomes(self) -> Outcomes:
        if (version := int(self.array("format", np.uint8, (1,))[0])) != FORMAT:
            raise ValueError(f"its format is {version}, not {FORMAT}")
        images = int(self.array("images", np.int64, (1,))[0])
        if not 0 <= images <= LIMIT:
            raise ValueError(f"it counts {images} images")
        names = self.array("names", np.uint8, (32,)).tobytes().hex()
        valid = self.bits("valid", images)
        if "top1" in self.arrays:
            top5 = self.bits("top5", images) if "top5" in self.arrays else None
            result: Outcomes = TopOutcomes(names, valid, self.bits("top1", images), top5)
        else:
            classes = tuple(self.array("classes", np.uint8, None).tobytes().decode().split("\0"))
            inner, predicted, true = (
                self.counts(name, (images, len(classes))) for name in ("intersection", "predicted", "true")
            )
            if (inner > np.minimum(predicted, true)).any():
                raise ValueError("an intersection is larger than its areas")
            result = AreaOutcomes(names, valid, classes, inner, predicted, true)
        if more := set(self.arrays) - self.taken:
            raise ValueError(f"it holds {min(more)}, too")
        return result

    def array(self, name: str, kind: type | tuple[type, ...], shape: tuple[int, ...] | None) -> np.ndarray:
        if name not in self.arrays:
            raise ValueError(f"it lacks {name}")
        self.taken.add(name)
        array = self.arrays[name]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if array.dtype not in [np.dtype(each) for each in kinds] or (
            array.ndim != 1 if shape is None else array.shape != shape
        ):
            raise ValueError(f"{name} is {array.dtype} of the shape {array.shape}")
        return array

    def bits(self, name: str, images: int) -> np.ndarray:
        return np.unpackbits(self.array(name, np.uint8, (-(-images // 8),)), count=images).astype(bool)

    def counts(self, name: str, shape: tuple[int, int]) -> np.ndarray:
        counts = self.array(name, (np.int32, np.int64), shape).astype(np.int64)
        if counts.min(initial=0) < 0:
            raise ValueError(f"{name} has a negative count")
        return counts
