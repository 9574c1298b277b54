"""Maps of an image: its objects, its segments or its saliency, cut and flipped exactly as its views are.

A map is H×W uint8 whose size need not be the image's. It has no part in what is drawn at random unless
a view asks for it (`View.salient`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any, Literal, get_args

import cv2
import numpy as np

from bench.data.decode import most_pixels
from bench.data.sets import Index
from bench.data.sets.coco import annotation_file, check_objects
from bench.errors import BadInput, one_line, shortened

MapKind = Literal["objects", "segments", "saliency"]

LONGEST = 160  # pixels of a side on which segments and saliency are computed; they are wanted at 7×7 in the end
SEGMENT = 1000 / (500 * 375)  # Felzenszwalb's scale and least size, as a share of the pixels
SALIENT = 128  # from this value on, a saliency map is the salient region
MOST = 255  # ids of a map

# What reading raises where annotations are not laid out as COCO's.
UNLIKE_COCO = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)

Crop = tuple[int, int, int, int]  # left, top, width, height


class WrongMap(Exception):
    """The annotations of an image cannot be used; the message says why, without the file's name."""


class Maps:
    """What makes the map of each image of a split.

    Args:
        kind: `objects` (0 is background, then one number for each instance that COCO's annotations have, crowds left
            out, smaller ones above larger), `segments` (a number for each region of similar colour) or `saliency` (how
            much a pixel stands out, the salient region from 128 on).
        index: the split.

    Raises BadInput where `objects` are asked for and there are no annotations.
    """

    def __init__(self, kind: MapKind, index: Index) -> None:
        if kind not in get_args(MapKind):
            raise ValueError(f"a map is one of {', '.join(get_args(MapKind))}, not {kind!r}")
        self.kind = kind
        self._instances = _Instances.of(index) if kind == "objects" else None

    def of(self, position: int, image: np.ndarray) -> np.ndarray:
        """Return the map of the image at a position of the Index, which is H×W×3 uint8.

        Raises WrongMap where its annotations are no outlines, or are of an image of another form.
        """
        if self._instances is not None:
            return self._instances.map(position, image.shape[1], image.shape[0])
        return segments(image) if self.kind == "segments" else saliency(image)


def cut(whole: np.ndarray, crop: Crop, flip: bool, size: int, width: int, height: int) -> np.ndarray:
    """Return a view of a map, size×size: the crop of a width×height image, nearest neighbours, and flipped if it is."""
    left, top, w, h = crop
    place = (np.arange(size) + 0.5) / size
    columns = ((left + place * w) * (whole.shape[1] / width)).astype(np.int64)
    rows = ((top + place * h) * (whole.shape[0] / height)).astype(np.int64)
    return whole[np.ix_(rows, columns[::-1] if flip else columns)]


def covered(whole: np.ndarray, crop: Crop, width: int, height: int) -> float:
    """Return the share of a saliency map's salient region that a crop of a width×height image covers; 1 if it has none.

    Every pixel of the map counts whose centre lies in the crop.
    """
    left, top, w, h = crop
    salient = whole >= SALIENT
    total = np.count_nonzero(salient)
    across, down = whole.shape[1] / width, whole.shape[0] / height
    rows = slice(round(top * down), round((top + h) * down))
    columns = slice(round(left * across), round((left + w) * across))
    return np.count_nonzero(salient[rows, columns]) / total if total else 1.0


def segments(image: np.ndarray) -> np.ndarray:
    """Return regions of similar colour, numbered from 0: H×W×3 uint8 -> h×w uint8, at most 160 pixels a side.

    Source: Felzenszwalb and Huttenlocher, "Efficient Graph-Based Image Segmentation" (2004), as DetCon uses it: scale
    and least size of a region 1,000 for an image of 500×375, and in proportion to the area for others.
    """
    from skimage.segmentation import felzenszwalb  # importing it takes half a second

    small = _small(image)
    least = SEGMENT * small.shape[0] * small.shape[1]
    regions = felzenszwalb(small, scale=least, sigma=0.8, min_size=max(1, round(least)))
    return np.minimum(regions, MOST).astype(np.uint8)


def saliency(image: np.ndarray) -> np.ndarray:
    """Return how much each pixel stands out: H×W×3 uint8 -> h×w uint8, at most 160 pixels a side.

    The distance in Lab of the blurred pixel from the image's mean, stretched so that Otsu's threshold becomes 128; all
    0 for an image of one colour.
    Source: Achanta et al., "Frequency-tuned Salient Region Detection" (CVPR 2009), eq. 4; Otsu (1979).
    """
    lab = cv2.cvtColor(_small(image).astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    distance = np.linalg.norm(cv2.GaussianBlur(lab, (5, 5), 0) - lab.mean((0, 1)), axis=2)
    low, high = float(distance.min()), float(distance.max())
    if high - low < 1e-3:
        return np.zeros(distance.shape, np.uint8)
    grey = np.round((distance - low) / (high - low) * 255).astype(np.uint8)
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)  # salient is what lies above it
    return np.interp(np.arange(256), [0, threshold, threshold + 1, 255], [0, SALIENT - 1, SALIENT, 255])[grey].astype(
        np.uint8
    )


def _small(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(image)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)


class _Instances:
    """The instances of each image, packed into one array: forked workers share it (see bench.data.images)."""

    def __init__(self, packed: Sequence[bytes]) -> None:
        self._ends = np.cumsum([0, *map(len, packed)])
        self._bytes = np.frombuffer(b"".join(packed), np.uint8)

    @classmethod
    def of(cls, index: Index) -> _Instances:
        """Read the annotations of a split; BadInput where they are missing or are not COCO's."""
        check_objects(index.dataset, index.root, index.split)
        file = annotation_file(index.root, index.split)
        packed = []
        try:
            content = json.loads(file.read_bytes())
            sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
            names = {image["file_name"]: image["id"] for image in content["images"]}
            shapes: dict[int, list[Any]] = {key: [] for key in sizes}
            for one in content["annotations"]:
                if not one.get("iscrowd"):
                    shapes[one["image_id"]].append((float(one["area"]), one["segmentation"]))
            for name in index.files:
                image = names.get(name.rpartition("/")[2])
                largest_first = sorted(shapes.get(image, []), key=lambda one: -one[0]) if image is not None else []
                entry = [sizes.get(image, (0, 0)), [segmentation for _, segmentation in largest_first]]
                packed.append(zlib.compress(json.dumps(entry).encode(), 1))
        except UNLIKE_COCO as error:
            raise BadInput(
                f"{file} cannot be read as COCO's instances ({one_line(error, kind=True)}); unpack it anew."
            ) from error
        return cls(packed)

    def map(self, position: int, width: int, height: int) -> np.ndarray:
        """Return the instances of an image, at the size that its annotations are for (else at width×height)."""
        start, end = self._ends[position : position + 2]
        (full_width, full_height), shapes = json.loads(zlib.decompress(self._bytes[start:end].tobytes()))
        if not shapes:
            return np.zeros((height, width), np.uint8)
        if not all(isinstance(side, int) and side > 0 for side in (full_width, full_height)):
            raise WrongMap(f"they are of {shortened(full_width)}×{shortened(full_height)} pixels")
        if full_width * full_height > most_pixels():
            raise WrongMap(f"they are of {full_width}×{full_height} pixels, which are too many")
        # A pack's image is smaller by one factor, each side rounded to whole pixels.
        if abs(width * full_height - height * full_width) > full_width + full_height:
            raise WrongMap(f"they are of {full_width}×{full_height} pixels, and the image has {width}×{height}")
        whole = np.zeros((full_height, full_width), np.uint8)
        try:
            for number, shape in enumerate(shapes, 1):
                whole[instance_mask(shape, full_width, full_height)] = min(number, MOST)
        except UNLIKE_COCO as error:
            raise WrongMap(f"object {number} has no outline that can be read: {one_line(error)}") from error
        return whole


def instance_mask(segmentation: Any, width: int, height: int) -> np.ndarray:
    """Return the mask, height×width boolean, of a COCO segmentation: polygons, or run lengths as list or string.

    Raises ValueError, TypeError or KeyError for what is none.
    """
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        runs = np.asarray(run_lengths(counts) if isinstance(counts, str) else counts, np.int64)
        if runs.min(initial=0) < 0:
            raise ValueError(f"one of its runs has {int(runs.min())} pixels")
        if int(runs.sum()) != width * height:  # before memory is taken for them
            raise ValueError(f"its runs cover {int(runs.sum())} of {width * height} pixels")
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # down the columns, beginning with what is outside
        return flat.reshape(width, height).T
    from skimage.draw import polygon

    mask = np.zeros((height, width), bool)
    for points in segmentation:
        x, y = np.asarray(points, np.float64).reshape(-1, 2).T - 0.5  # a pixel's centre: here at whole numbers
        mask[polygon(y, x, mask.shape)] = True
    return mask


def run_lengths(text: str) -> list[int]:
    """Return the run lengths in a COCO string: numbers in pieces of five bits, lowest first, from the fourth on as the
    difference to the last but one; the sixth bit says that a piece follows, the highest of the last is the sign.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        piece = ord(letter) - 48
        value |= (piece & 31) << shift
        shift += 5
        if piece & 32:
            continue
        if piece & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
