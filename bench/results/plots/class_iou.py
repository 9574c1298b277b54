"""IoU of each class and row, as a heat map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.record import Record
from bench.results.plots import style
from bench.results.plots.contract import Plot
from bench.results.plots.row_values import RECORDS, Facet, facets, row_label
from bench.results.plots.sources import Sources
from bench.results.statistics import summarise
from bench.results.trunks import by_trunk, task_seed_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

IOU = "iou_percent"
NUMBERS = 250  # cells of a figure up to which each has its number
MOST = 30  # rows of a map
CELL = 0.17  # inches high
SHADES = 40  # with 50 or more, matplotlib would put a picture of pixels into the scale


@dataclass(frozen=True)
class Map:
    """The mean IoU of rows × classes, None where no result has one; of one network, protocol and state of the data."""

    facet: Facet
    title: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    counts: tuple[tuple[int, ...], ...]  # of results behind each


@dataclass(frozen=True)
class Maps:
    """A figure of heat maps, one below the other, with one scale."""

    maps: tuple[Map, ...]
    caption: str

    @property
    def rows(self) -> list[dict[str, object]]:
        """Return one dictionary a cell."""
        return [
            {"pretrain": name, **each.facet.about(), "class": label, IOU: value, "values": count}
            for each in self.maps
            for name, values, counts in zip(each.names, each.values, each.counts, strict=True)
            for label, value, count in zip(each.classes, values, counts, strict=True)
        ]

    def figure(self, width: float) -> Figure:
        """Draw the maps; in a narrow figure the classes stand below each other."""
        tall = width < 5
        longest = [max(map(len, each.classes)) for each in self.maps]
        shapes = [(len(each.classes), len(each.names)) for each in self.maps]
        cells = [classes if tall else names for classes, names in shapes]
        around = [0.4 + 0.055 * (20 if tall else long) for long in longest]
        figure = style.new_figure(width, CELL * sum(cells) + sum(around) + 0.5)
        grid = figure.subplots(len(self.maps), 1, height_ratios=cells, squeeze=False)[:, 0]
        numbers = sum(classes * names for classes, names in shapes) <= NUMBERS
        for place, (axes, each) in enumerate(zip(grid, self.maps, strict=True)):
            _draw(axes, each, numbers, tall, width, f"map-{place}")
        _scale(figure, list(grid))
        return figure


def _draw(axes: Axes, each: Map, numbers: bool, tall: bool, width: float, gid: str) -> None:
    from matplotlib.patches import Rectangle

    colours = _colours()
    across, down = (each.names, each.classes) if tall else (each.classes, each.names)
    for row, values in enumerate(each.values):
        for column, value in enumerate(values):
            x, y = (row, column) if tall else (column, row)
            colour = style.GRID if value is None else colours(value / 100)
            cell = Rectangle((x, y), 0.96, 0.92, facecolor=colour, linewidth=0, gid=f"{gid}-cell-{row}-{column}")
            if value is None:
                cell.set(fill=False, hatch="////", edgecolor=style.GRID)
            axes.add_patch(cell)
            if numbers and value is not None:
                red, green, blue, _ = colours(value / 100)
                dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
                text = f"{value:.0f}"
                axes.text(
                    x + 0.48,
                    y + 0.48,
                    text,
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color="#fefefe" if dark else "#010101",
                )
    axes.set_xlim(0, len(across))
    axes.set_ylim(len(down), 0)
    axes.set_xticks([place + 0.48 for place in range(len(across))], [style.literal(one, 28) for one in across])
    axes.set_yticks([place + 0.46 for place in range(len(down))], [style.literal(one, 30) for one in down])
    axes.tick_params(axis="x", labelrotation=90)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(style.wrapped(each.title, width - 1.2))


def _colours() -> Colormap:
    from matplotlib import colormaps

    return colormaps["cividis"].resampled(SHADES)


def _scale(figure: Figure, grid: list[Axes]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 100), _colours()), ax=grid, location="bottom", fraction=0.05, aspect=50, pad=0.02
    )
    bar.outline.set_visible(False)
    bar.set_label("IoU (%)")
    bar.ax.tick_params(length=2)


def content(sources: Sources) -> Maps | None:
    """Return a map for each way in which a segmentation was measured."""
    every = [facet for facet in facets(sources) if any(_ious(record) for record in facet.records)]
    maps, left, never = [], 0, set()
    for facet in every:
        names = _by_miou(facet, sources)
        left += max(0, len(names) - MOST)
        classes = list(dict.fromkeys(label for record in facet.records for label in _ious(record)))
        known = [label for label in classes if any(_ious(record).get(label) is not None for record in facet.records)]
        never |= set(classes) - set(known)
        if known:
            maps.append(_map(facet, f"{facet.title(every)}\n{facet.network}", names[:MOST], known, sources))
    if not maps:
        return None
    caption = (
        "IoU of each class, the mean over pretrainings of their mean over seeds of the task; rows by falling mIoU. The "
        "IoU of classes with few pixels varies most."
    )
    if any(value is None for each in maps for row in each.values for value in row):
        caption += " Hatched: the class occurs neither in prediction nor in truth of these results."
    if never:
        shown = ", ".join(map(style.literal, sorted(never)[:8])) + (" and others" if len(never) > 8 else "")
        caption += f" Classes that have no IoU in any result of a panel are left out of it: {shown}."
    if left:
        caption += f" {left} rows of lower mIoU are left out; --rows chooses."
    return Maps(tuple(maps), caption)


def _map(facet: Facet, title: str, names: Sequence[str], classes: Sequence[str], sources: Sources) -> Map:
    table = []
    for name in names:
        records = [record for record in facet.records if row_label(record, sources) == name]
        records.sort(key=lambda record: (record.seed, task_seed_of(record)))
        trunks = sources.trunks.of(records)
        table.append([_mean_of_class(records, trunks, label) for label in classes])
    values = tuple(tuple(mean for mean, _ in row) for row in table)
    counts = tuple(tuple(count for _, count in row) for row in table)
    return Map(facet, title, tuple(names), tuple(classes), values, counts)


def _mean_of_class(records: Sequence[Record], trunks: Sequence[int], label: str) -> tuple[float | None, int]:
    """The mean of one class over the results of a row that have it, and how many these are."""
    pairs = [(trunk, _ious(record).get(label)) for trunk, record in zip(trunks, records, strict=True)]
    known = [(trunk, value) for trunk, value in pairs if value is not None]
    if not known:
        return None, 0
    return summarise(by_trunk([trunk for trunk, _ in known], [value for _, value in known])).mean, len(known)


def _by_miou(facet: Facet, sources: Sources) -> Sequence[str]:
    means = facet.means("miou_percent", sources)
    names = {row_label(record, sources) for record in facet.records if _ious(record)}
    return sorted(names, key=lambda name: (-means[name].mean if name in means else math.inf, name))


def _ious(record: Record) -> dict[str, float | None]:
    value = record.metrics.get(IOU)
    return value if isinstance(value, dict) else {}


PLOT = Plot(
    "class-iou",
    "IoU of each class",
    "The IoU of each class and row, as a heat map.",
    RECORDS.format("IoUs of classes (a segmentation has them)"),
    content,
)
