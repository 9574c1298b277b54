"""Principal components of a map's features as colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

COUNT = 3  # components: red, green, blue
NOTHING = 1e-12  # of the variance: a component with no more shows rounding alone


@dataclass(frozen=True)
class Components:
    """The first three principal components of features, and how they show each map.

    `directions` is 3×D float64, of unit length; the entry of largest absolute value in each is positive. `shares` are
    their parts of the variance, in percent. `colours` has a picture h×w×3 uint8 of each map: the least projection on a
    component, over all maps, is 0, and the largest 255. A component without variance is 128 everywhere.
    """

    directions: np.ndarray
    shares: tuple[float, ...]
    colours: list[np.ndarray]


def components(maps: Sequence[np.ndarray]) -> Components:
    """Return the components of all positions of maps h×w×D, whose sizes may differ, taken together.

    Raises ValueError where there is no map, or a feature is not finite.
    """
    rows = np.concatenate([each.reshape(-1, each.shape[-1]) for each in maps]).astype(np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("a feature is not finite")
    rows -= rows.mean(axis=0)
    covariance = rows.T @ rows
    total, dim = float(np.trace(covariance)), rows.shape[1]
    count = min(COUNT, dim)
    values, vectors = eigh(covariance, subset_by_index=[dim - count, dim - 1])
    directions, values = vectors.T[::-1], values[::-1].clip(min=0)
    directions = directions * np.sign(directions[np.arange(count), np.abs(directions).argmax(axis=1)])[:, None]
    projected = rows @ directions.T
    low, span = projected.min(axis=0), np.ptp(projected, axis=0)
    shown = np.full((len(rows), COUNT), 128, np.uint8)
    for number in range(count):
        if values[number] > NOTHING * total:
            shown[:, number] = (255 * (projected[:, number] - low[number]) / span[number]).round()
    ends = np.cumsum([each.shape[0] * each.shape[1] for each in maps])[:-1]
    colours = [part.reshape(*each.shape[:2], COUNT) for part, each in zip(np.split(shown, ends), maps, strict=True)]
    return Components(directions, tuple(100 * value / total if total > 0 else 0.0 for value in values), colours)
