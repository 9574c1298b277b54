"""IoU of each class and row, as a heat map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.results.plots import style
from bench.results.plots.contract import Plot
from bench.results.plots.row_values import RECORDS, Facet, facets, row_label
from bench.results.plots.sources import Sources
from bench.results.statistics import summarise
from bench.results.trunks import by_trunk, task_seed_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IOU = "iou_percent"
NUMBERS = 250  # cells of a figure up to which each has its number
MOST = 30  # rows of a map
CELL = 0.17  # inches high


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
        heights = [
            0.45 + CELL * (classes if tall else names) + 0.055 * (20 if tall else long)
            for (classes, names), long in zip(shapes, longest, strict=True)
        ]
        figure = style.new_figure(width, sum(heights) + 0.45)
        grid = figure.subplots(len(self.maps), 1, height_ratios=heights, squeeze=False)[:, 0]
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
    axes.set_xticks([place + 0.48 for place in range(len(across))], [style.literal(one, 24) for one in across])
    axes.set_yticks([place + 0.46 for place in range(len(down))], [style.literal(one, 30) for one in down])
    axes.tick_params(axis="x", labelrotation=90)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(style.wrapped(each.title, width - 1.2))


def _colours():  # type: ignore[no-untyped-def]
    from matplotlib import colormaps

    return colormaps["cividis"]


def _scale(figure: Figure, grid: list[Axes]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 100), _colours()), ax=grid, location="bottom", fraction=0.05, aspect=50, pad=0.02
    )
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.set_label("IoU (%)")
    bar.ax.tick_params(length=2)


def content(sources: Sources) -> Maps | None:
    """Return a map for each way in which a segmentation was measured."""
    every = [facet for facet in facets(sources) if any(isinstance(r.metrics.get(IOU), dict) for r in facet.records)]
    maps, left = [], 0
    for facet in every:
        made = _map(facet, f"{facet.title(every)}\n{facet.network}", sources)
        left += max(0, len(made.names) - MOST)
        maps.append(
            Map(
                facet,
                made.title,
                *(part[:MOST] for part in (made.names,)),
                made.classes,
                made.values[:MOST],
                made.counts[:MOST],
            )
        )
    if not maps:
        return None
    more = f" {left} rows of lower mIoU are left out; --rows chooses." if left else ""
    caption = (
        "IoU of each class, the mean over pretrainings of their mean over seeds of the task; rows by falling mIoU. "
        "Hatched: the class occurs neither in prediction nor in truth of any result, and counts in no mIoU. Classes of "
        f"few pixels vary most; the record has each value.{more}"
    )
    return Maps(tuple(maps), caption)


def _map(facet: Facet, title: str, sources: Sources) -> Map:
    names = _by_miou(facet, sources)
    classes = list(dict.fromkeys(label for record in facet.records for label in _of(record.metrics.get(IOU))))
    table: list[tuple[float | None, ...]] = []
    counts: list[tuple[int, ...]] = []
    for name in names:
        records = [record for record in facet.records if row_label(record, sources) == name]
        records.sort(key=lambda record: (record.seed, task_seed_of(record)))
        trunks = sources.trunks.of(records)
        means: list[float | None] = []
        numbers: list[int] = []
        for label in classes:
            known = [
                (trunk, value)
                for trunk, record in zip(trunks, records, strict=True)
                if (value := _of(record.metrics.get(IOU)).get(label)) is not None
            ]
            numbers.append(len(known))
            means.append(summarise(by_trunk(*map(list, zip(*known, strict=True)))).mean if known else None)  # type: ignore[arg-type]
        table.append(tuple(means))
        counts.append(tuple(numbers))
    return Map(facet, title, tuple(names), tuple(classes), tuple(table), tuple(counts))


def _by_miou(facet: Facet, sources: Sources) -> Sequence[str]:
    means = facet.means("miou_percent", sources)
    names = {row_label(record, sources) for record in facet.records if _of(record.metrics.get(IOU))}
    return sorted(names, key=lambda name: (-means[name].mean if name in means else math.inf, name))


def _of(value: object) -> dict[str, float | None]:
    return value if isinstance(value, dict) else {}


PLOT = Plot(
    "class-iou",
    "IoU of each class",
    "The IoU of each class and row, as a heat map.",
    RECORDS.format("IoUs of classes (a segmentation has them)"),
    content,
)
