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
    if not all(np.isfinite(each).all() for each in maps):
        raise ValueError("a feature is not finite")
    dim, positions = maps[0].shape[-1], sum(each.shape[0] * each.shape[1] for each in maps)
    mean = np.sum([each.sum(axis=(0, 1), dtype=np.float64) for each in maps], axis=0) / positions

    def centred(each: np.ndarray) -> np.ndarray:  # one map at a time in float64
        return each.reshape(-1, dim).astype(np.float64) - mean

    covariance = np.zeros((dim, dim))
    for each in maps:
        rows = centred(each)
        covariance += rows.T @ rows
    total, count = float(np.trace(covariance)), min(COUNT, dim)
    values, vectors = eigh(covariance, subset_by_index=[dim - count, dim - 1])
    directions, values = vectors.T[::-1], values[::-1].clip(min=0)
    directions = directions * np.sign(directions[np.arange(count), np.abs(directions).argmax(axis=1)])[:, None]
    projected = [centred(each) @ directions.T for each in maps]
    low = np.min([each.min(axis=0) for each in projected], axis=0)
    high = np.max([each.max(axis=0) for each in projected], axis=0)
    varies = np.flatnonzero(values > NOTHING * total)
    colours = []
    for each, values_of in zip(maps, projected, strict=True):
        shown = np.full((len(values_of), COUNT), 128, np.uint8)
        scaled = (values_of[:, varies] - low[varies]) / (high - low)[varies]
        shown[:, varies] = (255 * scaled).round()
        colours.append(shown.reshape(*each.shape[:2], COUNT))
    return Components(directions, tuple(100 * value / total if total > 0 else 0.0 for value in values), colours)
