"""Rows as points of a plane, with bars in both directions, in panels with a legend below."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.results.plots import style
from bench.results.plots.bars import bar, marker
from bench.results.plots.panels import legend
from bench.results.plots.row_values import Mean, common_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


@dataclass(frozen=True)
class Point:
    """A row: its mean in two measures, or two published numbers."""

    name: str
    x: Mean | float
    y: Mean | float
    about: dict[str, object]


@dataclass(frozen=True)
class Plane:
    """Axes with points, whose numbers were all measured in the same way (or published without saying how)."""

    title: str
    x_label: str
    y_label: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Scatter:
    """A figure of planes; `names` are the keys of x and y in its rows."""

    planes: tuple[Plane, ...]
    caption: str
    names: tuple[str, str]

    @property
    def rows(self) -> list[dict[str, object]]:
        """Return one dictionary a point."""
        return [
            {
                "pretrain": point.name,
                **point.about,
                **_row(self.names[0], point.x),
                **_row(self.names[1], point.y),
                "published": not isinstance(point.x, Mean),
            }
            for plane in self.planes
            for point in plane.points
        ]

    def figure(self, width: float) -> Figure:
        """Draw the planes in as many columns as fit, and a legend of all names below."""
        columns, lines = style.columns_and_lines(len(self.planes), round(width / 2.3))
        names = list(dict.fromkeys(point.name for plane in self.planes for point in plane.points))
        looks = {name: style.look(number) for number, name in enumerate(names)}
        across = legend_columns(names, width)
        height = lines * min(3.0, 0.36 + 0.85 * width / columns) + 0.16 * math.ceil(len(names) / across) + 0.15
        figure = style.new_figure(width, height)
        handles: dict[str, Line2D] = {}
        for place, axes in enumerate(figure.subplots(lines, columns, squeeze=False).flat):
            if place >= len(self.planes):
                axes.remove()
                continue
            axes.set_gid(f"plane-{place}")
            for name, drawn in _draw(axes, self.planes[place], looks, width / columns).items():
                handles.setdefault(name, drawn)
        ordered = {name: handles[name] for name in names}
        legend(figure, ordered, loc="outside lower center", ncols=across, handlelength=1.0)
        return figure


def axes_of(planes: Sequence[Plane]) -> Iterator[list[Mean]]:
    """Give the means on each axis of planes, without what is published."""
    for plane in planes:
        for values in zip(*((point.x, point.y) for point in plane.points), strict=True):
            yield [value for value in values if isinstance(value, Mean)]


def legend_columns(names: Sequence[str], width: float) -> int:
    """Return how many names stand side by side in a legend of markers."""
    longest = max((len(style.literal(name)) for name in names), default=1)
    return max(1, min(len(names), int((width - 0.1) / (0.38 + 0.062 * longest))))


def _row(name: str, value: Mean | float) -> dict[str, object]:
    if not isinstance(value, Mean):
        return {name: value}
    return {name: value.mean, f"{name} low": value.low, f"{name} high": value.high, f"{name} trunks": len(value.values)}


def _draw(axes: Axes, plane: Plane, looks: dict[str, style.Look], inches: float) -> dict[str, Line2D]:
    xs, ys = ([_as_mean(value) for value in side] for side in zip(*((p.x, p.y) for p in plane.points), strict=True))
    limits = common_limits(xs), common_limits(ys)
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
    axes.set_title(style.wrapped(plane.title, inches - 0.4))
    axes.set_xlabel(plane.x_label)
    axes.set_ylabel(plane.y_label)
    style.plain_numbers(axes, 4)
    style.light_grid(axes)
    handles = {}
    for point in plane.points:
        chosen = looks[point.name]
        x, y = _as_mean(point.x), _as_mean(point.y)
        bar(axes, x, y.mean, limits[0], chosen.colour, "x")
        bar(axes, y, x.mean, limits[1], chosen.colour, "y")
        measured = point.x if isinstance(point.x, Mean) else None
        handles[point.name] = marker(axes, x.mean, y.mean, chosen, measured)
    return handles


def _as_mean(value: Mean | float) -> Mean:
    return value if isinstance(value, Mean) else Mean(value, None, None, (value,), 1, "weights")
