"""Long curves with fewer points: means of equal parts of the steps, each with its least and its largest value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class Thin:
    """A curve of K points, each a mean over some values; `low` and `high` are their least and largest.

    `each` is how many values a point stands for, at most. Where it is 1, all three are the curve itself.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    each: int = 1


def thinned(points: Sequence[tuple[float, float]], most: int) -> Thin:
    """Return a curve with at most `most` points, x ascending.

    Where there are more, the range of x is cut into `most` parts of equal width, and a part that holds values becomes a
    point at the mean of their x. So no value is lost from the range that is shown, however short a spike was.
    """
    if len(points) <= most:
        x, y = tuple(x for x, _ in points), tuple(y for _, y in points)
        return Thin(x, y, y, y)
    first, last = points[0][0], points[-1][0]
    parts: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        parts.setdefault(min(most - 1, int(most * (point[0] - first) / (last - first))), []).append(point)
    groups = list(parts.values())
    return Thin(
        tuple(fmean(x for x, _ in group) for group in groups),
        tuple(fmean(y for _, y in group) for group in groups),
        tuple(min(y for _, y in group) for group in groups),
        tuple(max(y for _, y in group) for group in groups),
        max(map(len, groups)),
    )
