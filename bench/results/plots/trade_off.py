"""Classification against segmentation: does a pretraining that helps the one help the other?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.config.studies import reference_folder, tables_of
from bench.results.plots.contract import Plot
from bench.results.plots.row_values import MAIN, Facet, facets, interval_words
from bench.results.plots.scatter import Plane, Point, Scatter, axes_of
from bench.results.plots.sources import Sources
from bench.results.plots.style import literal
from bench.results.published import PublishedRow, read_published

SEGMENTATION, CLASSIFICATION = MAIN
NAMES = "classification", "segmentation"


def content(sources: Sources) -> Scatter | None:
    """Return a plane for each pair of ways to measure that rows share, and one for each pair of published columns."""
    every = facets(sources)
    planes = [
        plane
        for one in every
        if one.metric == CLASSIFICATION
        for other in every
        if other.metric == SEGMENTATION and (one.arch, one.profile) == (other.arch, other.profile)
        if (plane := _plane(one, other, every, sources)) is not None
    ]
    published = list(_published(sources))
    if not planes and not published:
        return None
    caption = (
        "Top-1 accuracy of classification against the mIoU of segmentation, for the rows that have both. Each panel is "
        f"one network and one protocol of either task. {interval_words(axes_of(planes))}"
    )
    if published:
        caption += (
            " Hollow markers are published rows, one number each, whose protocols are not stated: they have panels of "
            "their own, and do not compare with measured ones."
        )
    return Scatter((*planes, *published), caption, NAMES)


def _plane(one: Facet, other: Facet, every: list[Facet], sources: Sources) -> Plane | None:
    """The rows of both facets; None where there are fewer than two."""
    xs, ys = one.means(CLASSIFICATION, sources), other.means(SEGMENTATION, sources)
    shared = [name for name in xs if name in ys]
    if len(shared) < 2:
        return None
    about = {
        "arch": one.arch,
        "profile": one.profile,
        **{f"classification {key}": getattr(one, key) for key in ("task", "protocol", "data")},
        **{f"segmentation {key}": getattr(other, key) for key in ("task", "protocol", "data")},
    }
    return Plane(
        one.network,
        f"{one.title(every)} {one.header(CLASSIFICATION)}",
        f"{other.title(every)} {other.header(SEGMENTATION)}",
        tuple(Point(name, xs[name], ys[name], about) for name in shared),
    )


def _published(sources: Sources) -> Iterator[Plane]:
    """Planes of published rows of tasks of which these records have one in profile full."""
    measured = {record.task for record in sources.measured if record.profile == "full"}
    rows: dict[tuple[str, str, str], list[tuple[PublishedRow, float, float]]] = {}
    for results in sorted({file.parent.parent for file, _ in sources.records}):
        folder = reference_folder(results)
        for table in tables_of(folder).values():
            if table.datasets:
                continue
            for row in read_published(table, folder):
                classified = {task: v for (task, metric), v in row.values.items() if metric == CLASSIFICATION}
                segmented = {task: v for (task, metric), v in row.values.items() if metric == SEGMENTATION}
                for task, x in classified.items():
                    for other, y in segmented.items():
                        if not measured & {task, other}:
                            continue
                        points = rows.setdefault((row.texts.get("backbone", ""), task, other), [])
                        if (row, x, y) not in points:
                            points.append((row, x, y))
    for (backbone, task, other), points in rows.items():
        about: dict[str, object] = {"arch": backbone, "classification task": task, "segmentation task": other}
        yield Plane(
            f"published, {literal(backbone)}" if backbone else "published",
            f"{literal(task)} top-1 (%)",
            f"{literal(other)} mIoU (%)",
            tuple(Point(row.texts.get("pretrain", ""), x, y, about) for row, x, y in points),
        )


PLOT = Plot(
    "trade-off",
    "Classification against segmentation",
    "Top-1 accuracy against mIoU of rows that have both, published ones hollow and in panels of their own.",
    "No two rows here have both a classification and a segmentation of one network; run a task of each kind.",
    content,
)
