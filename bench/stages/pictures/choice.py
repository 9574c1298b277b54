"""Which images are shown: by their names alone, so that every pretraining and every later run shows the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from bench.outcomes import AreaOutcomes, area_metrics

SEED = "pictures 1"  # another one would choose other images


def fixed(names: Sequence[str], count: int) -> list[int]:
    """Return the positions of `count` images (all, if there are no more): those whose names have the lowest hash.

    Args:
        names: of a split's images, relative to the data set's root.
        count: how many.
    """

    def rank(position: int) -> tuple[str, str, int]:
        name = names[position]
        digest = hashlib.sha256(f"{SEED}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()
        return digest, name, position

    return sorted(range(len(names)), key=rank)[:count]


def image_iou(outcomes: AreaOutcomes) -> np.ndarray:
    """Return the IoU of each image in percent, N float64: the mean over the classes that occur in it or its prediction.

    NaN where none occurs, and where an image could not be read.
    """
    return np.where(outcomes.valid, area_metrics(outcomes.areas())["miou_percent"], np.nan)


def worst(outcomes: AreaOutcomes) -> int | None:
    """Return the position of the image with the lowest IoU, of equal ones the first; None where there is no image."""
    values = image_iou(outcomes)
    return None if np.isnan(values).all() else int(np.nanargmin(values))
