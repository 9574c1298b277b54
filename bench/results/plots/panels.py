"""Curves side by side: panels with lines, which share colours and a legend where they share names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.results.plots import style
from bench.results.plots.bars import bar, marker
from bench.results.plots.contract import NARROW, WIDE
from bench.results.plots.row_values import Mean, common_limits
from bench.results.plots.thinning import thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Transform

LEGEND = 7  # names that a legend for the whole figure holds; with more, each panel has its own
POINTS = 750  # of all thinned curves of a figure together
LEAST, MOST = 24, 160  # points of a thinned curve
NO_LIMITS = (-math.inf, math.inf)
HEIGHT, WIDTH = 1.55, 2.05  # inches of a panel, about
TALLEST = 10  # rows of panels
FEW = 4  # panels below which those of a narrow figure stand below each other


@dataclass(frozen=True)
class Curve:
    """One line: ascending x and y, with a band from `low` to `high` where a point stands for several values.

    With `means` each point is such a mean, and drawn as one: a marker with the bar of its interval.
    """

    name: str  # curves of one name look alike
    about: dict[str, object]  # what tells it from others, for its rows
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    means: tuple[Mean, ...] = ()


@dataclass(frozen=True)
class Panel:
    """Axes with curves."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    log_x: bool = False
    log_y: bool = False
    whole_x: bool = False  # ticks at whole numbers alone
    from_zero: bool = False


@dataclass(frozen=True)
class Panels:
    """A figure of panels; `names` are the keys of x and y in its rows."""

    panels: tuple[Panel, ...]
    caption: str
    names: tuple[str, str] = ("step", "value")

    @property
    def rows(self) -> list[dict[str, object]]:
        """Return one dictionary a point that is drawn."""
        x_name, y_name = self.names
        rows = []
        for panel in self.panels:
            for curve in panel.curves:
                for place, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)):
                    row = {**curve.about, x_name: x, y_name: y}
                    if curve.means:
                        row |= curve.means[place].as_row()
                    elif curve.low and curve.low[place] != curve.high[place]:
                        row |= {"low": curve.low[place], "high": curve.high[place]}
                    rows.append(row)
        return rows

    def figure(self, width: float) -> Figure:
        """Draw the panels in as many columns as fit."""
        names = list(dict.fromkeys(curve.name for panel in self.panels for curve in panel.curves))
        looks = {name: style.look(place) for place, name in enumerate(names)}
        shared = len(names) <= LEGEND
        alone = width <= NARROW and (not shared or len(self.panels) < FEW)
        columns, lines = style.columns_and_lines(len(self.panels), 1 if alone else round(width / WIDTH))
        below = 0 if shared else max(len({curve.name for curve in panel.curves}) for panel in self.panels)
        height = _height(lines, width / columns, len(names) if shared else 0, width) + lines * (
            0.16 * below + 0.1 * (below > 0)
        )
        figure = style.new_figure(width, height)
        handles: dict[str, Line2D] = {}
        for place, axes in enumerate(figure.subplots(lines, columns, squeeze=False).flat):
            if place >= len(self.panels):
                axes.remove()
                continue
            own = draw_panel(axes, self.panels[place], looks, width / columns, f"panel-{place}")
            handles |= {name: line for name, line in own.items() if name not in handles}
            if not shared:
                legend(axes, own, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=_below(axes, figure))
        if shared and names != ["loss"]:
            ordered = {name: handles[name] for name in names}
            legend(figure, ordered, loc="outside lower center", ncols=_columns(names, width))
        return figure


def _below(axes: Axes, figure: Figure) -> Transform:
    """The corner of axes, so far below them that the ticks' labels and the axis' title stand between."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transAxes + ScaledTranslation(-0.05, -0.36, figure.dpi_scale_trans)


def _height(lines: int, each: float, names: int, width: float) -> float:
    below = 0.0 if not names else 0.17 * math.ceil(names / _columns([""] * names, width)) + 0.1
    return lines * min(2.4, max(HEIGHT, 0.72 * each)) + below + 0.1


def _columns(names: Sequence[str], width: float) -> int:
    """How many names stand side by side in a legend below the figure."""
    longest = max((len(style.literal(name)) for name in names), default=0)
    return max(1, min(len(names), int(width / (0.6 + 0.056 * max(longest, 6)))))


def draw_panel(
    axes: Axes, panel: Panel, looks: dict[str, style.Look], inches: float, gid: str = "panel"
) -> dict[str, Line2D]:
    """Draw a panel's curves and labels; return one line a name, for a legend."""
    handles: dict[str, Line2D] = {}
    if panel.log_x:
        axes.set_xscale("log", base=2)
    if panel.log_y:
        axes.set_yscale("log")
    means = [mean for curve in panel.curves for mean in curve.means]
    limits = common_limits(means) if means else NO_LIMITS
    faint = 0.22 / math.sqrt(len(panel.curves))  # bands of seeds lie over each other
    apart = _apart(panel)
    for place, curve in enumerate(panel.curves):
        chosen = looks[curve.name]
        xs = [x + apart * (place - (len(panel.curves) - 1) / 2) for x in curve.x]
        (line,) = axes.plot(
            xs,
            curve.y,
            color=chosen.colour,
            linestyle=chosen.dashes,
            marker=chosen.marker if not curve.means and len(curve.x) < 3 else "",
            gid=f"{gid}-curve-{place}",
        )
        handles.setdefault(curve.name, line)
        for x, mean in zip(xs, curve.means, strict=False):
            bar(axes, mean, x, limits, chosen.colour, "y")
            drawn = marker(axes, x, mean.mean, chosen, mean)
            handles[curve.name] = drawn
        if curve.low and curve.low != curve.high:
            band: Any = (curve.x, curve.low, curve.high)
            axes.fill_between(*band, color=chosen.colour, alpha=faint, linewidth=0, gid=f"{gid}-band-{place}")
    if limits != NO_LIMITS:
        axes.set_ylim(limits)
    if panel.from_zero:
        axes.set_ylim(bottom=0)
    axes.set_title(style.wrapped(panel.title, inches - 0.6))
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    style.plain_numbers(axes, 4)
    if panel.whole_x and not panel.log_x:
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    style.light_grid(axes)
    return handles


def _apart(panel: Panel) -> float:
    """How far curves of means are drawn from each other, in units of x, so that their bars can be told apart."""
    if not any(curve.means for curve in panel.curves):
        return 0.0
    xs = [x for curve in panel.curves for x in curve.x]
    return 0.008 * (max(xs) - min(xs))


def legend(parent: Axes | Figure | SubFigure, handles: dict[str, Line2D], **place: Any) -> None:
    """Give a legend whose texts are the names as they are; matplotlib would leave out those that start with _."""
    made = parent.legend(list(handles.values()), ["·"] * len(handles), **place)
    for text, name in zip(made.get_texts(), handles, strict=True):
        text.set_text(style.literal(name))


def budget(curves: int) -> int:
    """Return how many points each of so many curves may have, if it is thinned."""
    return max(LEAST, min(MOST, POINTS // max(1, curves)))


def logged_curve(
    name: str, about: dict[str, object], points: Sequence[tuple[float, float]], most: int
) -> tuple[Curve, int]:
    """Return a thinned curve, and how many values one of its points stands for, at most."""
    thin = thinned(points, most)
    if thin.each == 1:
        return Curve(name, about, thin.x, thin.y), 1
    return Curve(name, about, thin.x, thin.y, thin.low, thin.high), thin.each


def in_groups(names: Sequence[str], most: int = 6) -> list[list[str]]:
    """Return names in groups of nearly the same size, none larger than `most`."""
    if not names:
        return []
    count = math.ceil(len(names) / most)
    size = math.ceil(len(names) / count)
    return [list(names[start : start + size]) for start in range(0, len(names), size)]


def at_most(panels: Sequence[Panel], of: Callable[[int], str]) -> tuple[tuple[Panel, ...], str]:
    """Return as many panels as a page holds, and a sentence about the others ("" where there are none)."""
    most = TALLEST * round(WIDE / WIDTH)
    left = len(panels) - most
    return tuple(panels[:most]), f" {of(left)}" if left > 0 else ""
