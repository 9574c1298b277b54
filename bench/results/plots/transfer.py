"""The rows of the transfer table as a forest plot: means with intervals, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.results.plots import style
from bench.results.plots.bars import bar, marker
from bench.results.plots.contract import Plot
from bench.results.plots.row_values import RECORDS, Facet, Mean, common_limits, facets, interval_words
from bench.results.plots.sources import Sources

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_SCORE = frozenset({"diagnostics"})  # kinds of tasks whose numbers say no good or bad
CONTROL = "random_init"
LINE, HEAD = 0.155, 0.72  # inches of a row, and of what stands above and below rows


@dataclass(frozen=True)
class Column:
    """One axis of values: a task, measured in one way."""

    facet: Facet
    title: str
    header: str
    metric: str
    means: dict[str, Mean]


@dataclass(frozen=True)
class Forest:
    """Groups of columns, of one network and profile each, that share their rows."""

    groups: tuple[tuple[Column, ...], ...]
    caption: str

    @property
    def rows(self) -> list[dict[str, object]]:
        """Return one dictionary a marker."""
        return [
            {"pretrain": label, **column.facet.about(), "metric": column.metric, **mean.as_row()}
            for group in self.groups
            for column in group
            for label, mean in column.means.items()
        ]

    def figure(self, width: float) -> Figure:
        """Draw columns side by side that have mostly the same rows, and the next ones below."""
        lines = [line for group in self.groups for line in lines_of(group, 3 if width > 5 else 1)]
        across = max(map(len, lines))
        names = [names_in_order(line) for line in lines]
        counts = [len(some) + 0.5 for some in names]
        figure = style.new_figure(width, sum(HEAD + LINE * count for count in counts))
        grid = figure.add_gridspec(len(lines), across, height_ratios=counts)
        for place, line in enumerate(lines):
            first: Axes | None = None
            for number, column in enumerate(line):
                axes = figure.add_subplot(grid[place, number], sharey=first)
                _draw(axes, column, names[place], (width - 1.5) / across, f"forest-{place}-{number}")
                if first is not None:
                    axes.tick_params(labelleft=False)
                    continue
                first = axes
                shown = [style.literal(name, 34 if width > 5 else 28) for name in names[place]]
                axes.set_yticks(range(len(shown)), shown)
                axes.set_ylim(len(shown) - 0.5, -0.75)
        return figure


def lines_of(columns: Sequence[Column], most: int) -> list[list[Column]]:
    """Return columns in lines of at most `most`, side by side where half of the rows or more are the same."""
    lines: list[list[Column]] = []
    for column in columns:
        for line in lines:
            known = {name for one in line for name in one.means}
            if len(line) < most and 2 * len(known & column.means.keys()) >= len(known | column.means.keys()):
                line.append(column)
                break
        else:
            lines.append([column])
    return lines


def names_in_order(columns: Sequence[Column]) -> list[str]:
    """Return the rows, the highest mean in the first column first; those that it lacks below, in the same way."""
    names: list[str] = []
    for column in columns:
        names += sorted(column.means.keys() - set(names), key=lambda name: (-column.means[name].mean, name))
    return names


def _control(column: Column) -> float | None:
    """The mean of random weights; None where there are none, or several rows of them."""
    known = [mean.mean for name, mean in column.means.items() if name == CONTROL or name.startswith(f"{CONTROL} @")]
    return known[0] if len(known) == 1 else None


def _draw(axes: Axes, column: Column, names: Sequence[str], inches: float, gid: str) -> None:
    look = style.look(0)
    limits = common_limits(list(column.means.values()))
    axes.set_xlim(limits)
    axes.set_title(f"{style.wrapped(column.title, inches)}\n{style.wrapped(column.facet.network, inches)}")
    axes.set_xlabel(column.header)
    style.plain_numbers(axes, 4, "x")
    style.light_grid(axes, "x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    if (control := _control(column)) is not None:
        axes.axvline(control, color=style.MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    axes.set_gid(gid)
    for place, name in enumerate(names):
        if (mean := column.means.get(name)) is None:
            continue
        bar(axes, mean, place, limits, look.colour)
        if len(mean.values) > 1:
            axes.plot(
                mean.values, [place] * len(mean.values), "|", color=style.MUTED, markersize=4, zorder=2.5, gid="trunks"
            )
        marker(axes, mean.mean, place, look, mean)


def content(sources: Sources) -> Forest | None:
    """Return the main metric of each task, in a column for each way in which it was measured."""
    every = [facet for facet in facets(sources) if facet.kind not in NO_SCORE and facet.metric is not None]
    columns = []
    for facet in every:
        assert facet.metric is not None
        means = facet.means(facet.metric, sources)
        columns.append(Column(facet, facet.title(every), facet.header(facet.metric), facet.metric, means))
    if not columns:
        return None
    groups: dict[str, list[Column]] = {}
    for column in columns:
        groups.setdefault(column.facet.network, []).append(column)
    words = interval_words(list(column.means.values()) for column in columns)
    control = any(_control(column) is not None for column in columns)
    caption = (
        "Each row is a pretraining, each panel one task measured by one protocol on one state of its data, of one "
        f"network; panels do not compare. {words} Short strokes are single pretrainings."
        f"{f' The dashed line is {CONTROL}.' if control else ''}"
        " Overlapping bars do not say that two rows cannot be told apart; the tables have the tests."
    )
    return Forest(tuple(tuple(group) for group in groups.values()), caption)


PLOT = Plot(
    "transfer",
    "Transfer of each pretraining",
    "Each row's result on each task with its interval, as a forest plot.",
    RECORDS.format("a score of a task"),
    content,
)
