"""The whole comparison of two rows: in each column that both have, the effect and an interval by each source of noise.

By trunks: the difference of the rows' means, Welch's interval, whose noise is that between pretrainings (and of the
task's own seeds) on the images that were measured. By images: the difference of these very trunks, whose noise is the
choice of validation images. The first says what another pretraining would give, the second what other images would;
neither covers the other. Each kind of p is corrected by Holm's step-down over the compared columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from bench.config.tasks import metrics_of
from bench.errors import BadInput, nearest_or_all
from bench.record import Record, read_all
from bench.results.as_now import as_now
from bench.results.frame import way_of, without_repeats
from bench.results.holm import holm
from bench.results.image_statistics import ImageInterval
from bench.results.named_rows import label_of, rows_of
from bench.results.row_images import Interval, RowImages
from bench.results.row_settings import Difference, settings_apart, what_mars
from bench.results.sections import Column
from bench.results.seen import SeenOfTwo, seen_of_two
from bench.results.statistics import About, Summary, difference_of, summarise
from bench.results.trunks import Trunks, by_trunk, task_seed_of
from bench.results.unequal import level_of

Way = tuple[str, str, str]  # task, protocol, data


@dataclass(frozen=True)
class Compared:
    """One column of both rows. `effect` is ours less theirs, in the metric's unit."""

    column: Column
    ours: Summary
    theirs: Summary
    effect: float
    by_trunks: Interval | None  # None where a side has one value alone, or neither has any spread
    about: About  # `weights` where a side has a single trunk
    by_images: Interval | None
    images: str  # by which method, and of how many images; or why there is none
    seen: SeenOfTwo | None  # what these runs could have seen; None where a side has a single trunk
    # How often the test by trunks calls equal rows of so many trunks different; None where a side has a single one.
    level: float | None
    ours_by_images: ImageInterval | None  # of our row alone; None where its records have no outcomes of images
    theirs_by_images: ImageInterval | None


@dataclass(frozen=True)
class Comparison:
    """Two rows: their labels, profile, compared columns, and what else tells them apart."""

    ours: str
    theirs: str
    profile: str
    columns: tuple[Compared, ...]
    settings: tuple[Difference, ...]
    marred_by: tuple[str, ...]
    left_out: tuple[str, ...]  # of tasks that both have, but measured in different ways


def compare_rows(
    ours: str,
    theirs: str,
    results_dir: Path,
    *,
    metrics: Sequence[str] = (),
    tasks: Sequence[str] = (),
    profile: str | None = None,
) -> Comparison:
    """Return the comparison of two rows of a results folder.

    Args:
        ours: name of a pretraining, or `name @hash` where several recipes share it, as tables write it.
        theirs: that of the other row.
        results_dir: holds `records`.
        metrics: by their names in records, with or without `_percent`, or as tables head them; (): those of tables.
        tasks: by name; (): all that both rows have.
        profile: by default the first of full, mini and smoke in which both rows have records.

    Raises BadInput for a row that is not there (with the nearest names), or ambiguous; for an unknown task or metric;
    where no column is left that both rows have.
    """
    folder = results_dir / "records"
    every = as_now(read_all(folder))
    trunks = Trunks(every)
    found, chosen = rows_of((ours, theirs), without_repeats(every, trunks), profile)
    if label_of(chosen[0][0]) == label_of(chosen[1][0]):
        raise BadInput(
            f"{ours!r} and {theirs!r} are the same row; bench aa says how often equal rows are called different."
        )
    labels = [each[0].pretrain for each in chosen]
    labels = labels if labels[0] != labels[1] else [label_of(each[0]) for each in chosen]
    columns, left_out, used = _columns(chosen[0], chosen[1], folder, trunks, metrics, tasks)
    if not columns and metrics and not left_out:
        raise BadInput(
            f"No task of both {labels[0]} and {labels[1]} that was asked for has {', '.join(metrics)}; leave --task or "
            "--metric out."
        )
    if not columns:
        raise BadInput(
            f"{labels[0]} and {labels[1]} have no column in common: no task of both was measured by one protocol on "
            f"the same data{' (' + '; '.join(left_out) + ')' if left_out else ''}; run the same downstream configs."
        )
    return Comparison(
        labels[0],
        labels[1],
        found,
        tuple(_corrected(columns)),
        tuple(settings_apart(chosen[0][0], chosen[1][0])),
        tuple(what_mars(dict(zip(labels, used, strict=True)))),
        tuple(left_out),
    )


def _columns(
    ours: Sequence[Record],
    theirs: Sequence[Record],
    folder: Path,
    trunks: Trunks,
    metrics: Sequence[str],
    tasks: Sequence[str],
) -> tuple[list[Compared], list[str], tuple[list[Record], list[Record]]]:
    """The columns of both rows, what was left out and why, and the records of either row that stand in the columns."""
    ways, others = _by_way(ours), _by_way(theirs)
    common = sorted({task for task, *_ in ways} & {task for task, *_ in others})
    for task in tasks:
        if task not in common:
            raise BadInput(f"{task!r} is no task that both rows have{nearest_or_all(task, common)}")
    known = {name for way in ways if way in others for name in _headers(ways[way], hidden=True).items()}
    for metric in metrics:
        words = {word for key, header in known for word in (key, key.removesuffix("_percent"), header)}
        if metric not in words:
            raise BadInput(f"{metric!r} is no metric that both rows have{nearest_or_all(metric, sorted(words))}")
    columns: list[Compared] = []
    left_out: list[str] = []
    used: tuple[list[Record], list[Record]] = [], []
    for task in common:
        if tasks and task not in tasks:
            continue
        shared = sorted(way for way in ways if way in others and way[0] == task)
        if not shared:
            left_out.append(f"{task}: {_why(task, ways, others)}")
        for way in shared:
            made = _of_way(way, RowImages(ways[way], others[way], folder, trunks), metrics)
            columns += made
            if made:
                used[0].extend(ways[way])
                used[1].extend(others[way])
    return columns, left_out, used


def _by_way(records: Sequence[Record]) -> dict[Way, list[Record]]:
    ways: dict[Way, list[Record]] = {}
    for record in records:
        ways.setdefault(way_of(record), []).append(record)
    return ways


def _why(task: str, ways: dict[Way, list[Record]], others: dict[Way, list[Record]]) -> str:
    """Why a task that both rows have gives no column."""
    (protocols, data), (other, others_data) = (
        ({p for t, p, _ in each if t == task}, {d for t, _, d in each if t == task}) for each in (ways, others)
    )
    if not protocols & other:
        return f"protocols {', '.join(sorted(protocols))} against {', '.join(sorted(other))}"
    return f"data {', '.join(sorted(data))} against {', '.join(sorted(others_data))}"


def _headers(records: Sequence[Record], hidden: bool = False) -> dict[str, str]:
    """{metric: header} of the metrics that tables show, as far as these records have them; and of those `hidden`."""
    first = records[0]
    percent = {name: name.removesuffix("_percent") for name in sorted(first.metrics) if name.endswith("_percent")}
    headers = dict(metrics_of(first.kind) or first.columns or percent)
    if hidden:  # counts and settings that stand among the metrics are none
        headers = percent | headers
    return {name: header for name, header in headers.items() if isinstance(first.metrics.get(name), int | float)}


def _of_way(way: Way, images: RowImages, metrics: Sequence[str]) -> list[Compared]:
    columns = []
    for metric, header in _headers(images.rows[0], hidden=bool(metrics)).items():
        if metrics and not {metric, metric.removesuffix("_percent"), header}.intersection(metrics):
            continue
        sides = [_values(metric, *row) for row in zip(images.rows, images.trunks, strict=True)]
        if not all(sides):
            continue
        ours, theirs = (summarise(side) for side in sides)
        found = difference_of(*sides)
        by_images, words = images.difference(metric)
        columns.append(
            Compared(
                column=Column(header, way[0], metric, protocol=way[1], data=way[2]),
                ours=ours,
                theirs=theirs,
                effect=ours.mean - theirs.mean,
                by_trunks=None
                if found is None
                else Interval(found.effect, found.low, found.high, found.p, found.p, _COVERS[found.about]),
                about="methods" if min(ours.n, theirs.n) > 1 else "weights",
                by_images=by_images,
                images=words,
                seen=seen_of_two(ours, theirs),
                level=level_of(ours.n, theirs.n) if min(ours.n, theirs.n) > 1 else None,
                ours_by_images=images.alone(0, metric),
                theirs_by_images=images.alone(1, metric),
            )
        )
    return columns


_COVERS: dict[About, str] = {
    "methods": "other pretrainings by these recipes, measured on the same images",
    "weights": "other seeds of the task on these very weights and images; a side has a single trunk",
}


def _values(metric: str, records: Sequence[Record], trunks: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """The values of one row in one column, those of a trunk together."""
    pairs = sorted(zip(trunks, records, strict=True), key=lambda pair: (pair[0], task_seed_of(pair[1])))
    having = [(trunk, record) for trunk, record in pairs if isinstance(record.metrics.get(metric), int | float)]
    return by_trunk([trunk for trunk, _ in having], [float(cast(float, each.metrics[metric])) for _, each in having])


def _corrected(columns: Sequence[Compared]) -> list[Compared]:
    """Columns with Holm's p over all of them, for either kind of interval."""
    by_trunks = holm([None if each.by_trunks is None else each.by_trunks.p for each in columns])
    by_images = holm([None if each.by_images is None else each.by_images.p for each in columns])
    return [
        replace(
            each,
            by_trunks=None if each.by_trunks is None or p is None else replace(each.by_trunks, adjusted=p),
            by_images=None if each.by_images is None or q is None else replace(each.by_images, adjusted=q),
        )
        for each, p, q in zip(columns, by_trunks, by_images, strict=True)
    ]
