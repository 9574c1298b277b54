"""Markers with bars of intervals, drawn alike in all figures of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bench.results.plots import style
from bench.results.plots.row_values import Mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes


PALE = 0.3  # opacity


def bar(
    axes: Axes, mean: Mean, at: float, limits: tuple[float, float], colour: str, along: Literal["x", "y"] = "x"
) -> bool:
    """Draw the bar of an interval along an axis, at a place of the other; return whether it was cut at the limits."""
    if mean.low is None or mean.high is None:
        return False
    low, high = max(mean.low, limits[0]), min(mean.high, limits[1])
    dashes: Any = "-" if mean.about == "methods" else (0, (2.5, 1.5))
    line = ([low, high], [at, at]) if along == "x" else ([at, at], [low, high])
    axes.plot(*line, color=colour, linewidth=1.0, linestyle=dashes, solid_capstyle="butt", zorder=2, gid="interval")
    ends = [(low, "<" if along == "x" else "v", mean.low < limits[0])]
    ends += [(high, ">" if along == "x" else "^", mean.high > limits[1])]
    for end, arrow, cut in ends:
        if cut:
            place = ([end], [at]) if along == "x" else ([at], [end])
            axes.plot(*place, color=colour, marker=arrow, markersize=3.5, linestyle="", clip_on=False, zorder=2)
    return any(cut for *_, cut in ends)


def marker(axes: Axes, x: float, y: float, look: style.Look, mean: Mean | None, size: float = 4.5) -> Any:
    """Draw the marker of a row: filled, or pale where it is of one trunk, or hollow where it is published."""
    from matplotlib.colors import to_rgba

    core = "none" if mean is None else to_rgba(look.colour, 1.0 if mean.about == "methods" else PALE)
    (drawn,) = axes.plot(
        [x],
        [y],
        marker=look.marker,
        markersize=size,
        markerfacecolor=core,
        markeredgecolor=look.colour,
        linestyle="",
        zorder=3,
        gid="mean" if mean is not None else "published",
    )
    return drawn
