"""The deck's first table: pretrainings on CIFAR-10, CIFAR-100 and STL-10, measured rows beside the published ones.

One row is one (data set, pretraining by name, fingerprint of its recipe). acc and acc 5 are `<data set>_linear_adam`'s,
acc kNN is `<data set>_knn5`'s; other tasks on these data sets have columns of their own. A column holds several data
sets, each by its own protocol; where one data set was measured by several, each gets a column with its hash.

Differences are to the byol+loss1 row of the same data set, image size, epochs, backbone and batch: of measured rows to
a measured one, of published rows to a published one. A section of its own has measured less published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.record import Record
from bench.results.frame import SMALL_LEADING, SMALL_LOSSES, published_small_images
from bench.results.notes import describe, distinguishable, precision_words, seeds_of, skipped_images
from bench.results.sections import Cell, Column, Row, Section
from bench.results.statistics import compare, summarise

DATASETS = ("stl10", "cifar100", "cifar10")  # in the deck's order
KINDS = frozenset({"linear", "knn"})
LOSS1, TWO_LOSS, LOSS2 = "byol+loss1", "byol+two-loss", "byol+loss2"
METHODS = (LOSS1, TWO_LOSS, LOSS2)
HEADERS = {"acc": "acc", "acc_5": "acc 5", "acc_knn": "acc kNN"}
# What the deck's columns are of a task, whose name begins with its data set: (rest of the name, metric).
DECK = {
    "acc": ("linear_adam", "top1_percent"),
    "acc_5": ("linear_adam", "top5_percent"),
    "acc_knn": ("knn5", "top1_percent"),
}
TASK = "small_images"  # of the columns, which hold several tasks
TITLES = {
    "full": "Small images",
    "mini": "Small images, profile mini",
    "smoke": "Small images, profile smoke (rendered scenes; no evidence)",
}
EPOCHS, BACKBONE = 3, 4  # their places among a row's leading texts
_ANY = ("", "")  # the column of all data sets that were measured in one way


@dataclass(frozen=True)
class _Line:
    """What becomes of one pretraining on one data set, before it is a row."""

    dataset: str
    name: str  # of the pretraining
    recipe: str  # fingerprint
    records: tuple[Record, ...]

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.records[0].settings.get("pretrain", {}))

    @property
    def others(self) -> dict[str, Any]:
        """The settings without the objective: what a comparison of objectives keeps equal."""
        return {key: value for key, value in self.settings.items() if key != "objective"}


def is_small(record: Record) -> bool:
    """Whether a record belongs to this table, and not to that of transfer."""
    return record.dataset in DATASETS and record.kind in KINDS


def build_small_images(records: Sequence[Record], reference_dir: Path) -> list[Section]:
    """Return the sections of small images: full (with published rows), measured less published, mini, smoke.

    `records` have each seed of a cell once. A section without rows is left out.
    """
    sections = []
    for profile, title in TITLES.items():
        chosen = [record for record in records if record.profile == profile and is_small(record)]
        published = published_small_images(reference_dir) if profile == "full" else []
        if not chosen and not published:
            continue
        section, gap = _section(profile, title, chosen, published)
        sections += [section, *([gap] if gap is not None else [])]
    return sections


Published = Sequence[tuple[tuple[str, ...], dict[str, float]]]


def _section(
    profile: str, title: str, records: Sequence[Record], published: Published
) -> tuple[Section, Section | None]:
    lines = _lines(records)
    subset = any(line.settings.get("subset") for line in lines)
    leading = (*(name.replace("_", " ").capitalize() for name in SMALL_LEADING), *(["Subset"] if subset else []))
    columns, places = _columns(records, bool(published))
    measured = _best(_measured(lines, columns, places, subset))
    theirs = _published(published, columns, subset)
    rows = tuple(sorted((*theirs, *measured), key=_order))
    key = "small_images" if profile == "full" else f"small_images_{profile}"
    if not measured:
        title += " (published)"
    notes = (*_measured_notes(records, measured, columns), *_published_notes(theirs))
    section = Section(title, key, leading, tuple(columns), rows, notes)
    return section, _gap(measured, published, columns, leading)


# -------------------------------------------------------------------------------------------- rows


def _lines(records: Sequence[Record]) -> list[_Line]:
    found: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        found.setdefault((record.dataset, record.pretrain, record.fingerprints.recipe), []).append(record)
    return [_Line(*key, tuple(sorted(several, key=lambda r: r.seed))) for key, several in found.items()]


def method_of(record: Record) -> str:
    """Return the deck's name of a record's pretraining, by what it is and not by what its config is called.

    The pretraining's own name where the deck has none for it: another objective, another data set, a continuation.
    """
    settings = record.settings.get("pretrain", {})
    objective = settings.get("objective", {})
    if record.pretrain_set != record.dataset or settings.get("init") or objective.get("crops"):
        return record.pretrain
    if objective.get("name") == "byol":
        return LOSS1
    if objective.get("name") != "two_loss":
        return record.pretrain
    weight, loss2 = float(objective.get("loss1_weight", 1)), objective.get("loss2", "logistic")
    words = [loss2] if loss2 != "logistic" else []
    words += [f"loss1 × {weight:g}"] if weight not in {0, 1} else []
    other = float(objective.get("loss2_weight", 1))
    if other == 0:
        return f"{LOSS1} ({', '.join([*words, 'loss2 logged'])})"
    words += [f"loss2 × {other:g}"] if other != 1 else []
    return (TWO_LOSS if weight else LOSS2) + (f" ({', '.join(words)})" if words else "")


def _leading(line: _Line, subset: bool) -> list[str]:
    record, settings = line.records[0], line.settings
    trained = record.pretrain_set != "none"
    size = settings.get("view_size") if trained else record.settings.get("downstream", {}).get("size")
    stem = settings.get("stem", "imagenet")
    texts = [line.dataset, "–" if size is None else str(size), method_of(record)]
    texts.append(str(settings.get("epochs", "–")))
    texts.append(record.arch if stem == "imagenet" else f"{record.arch} ({stem} stem)")
    texts.append(str(settings.get("batch_size", "–")) if trained else "–")
    return [*texts, *([str(settings.get("subset") or "all")] if subset else [])]


def _measured(
    lines: Sequence[_Line], columns: Sequence[Column], places: dict[tuple[str, str, str, str], int], subset: bool
) -> list[Row]:
    """The rows with differences to the one loss1 row that each has, if it has one."""
    leading = [_leading(line, subset) for line in lines]
    same = Counter(map(tuple, leading))
    rows = []
    for line, texts in zip(lines, leading, strict=True):
        if same[tuple(texts)] > 1:
            texts[2] += f" @{line.recipe[:8]}"
        rows.append(Row(tuple(texts), _cells(line, columns, places), name=line.name, label=texts[2]))
    result = []
    for line, row in zip(lines, rows, strict=True):
        bases = [
            (other, base)
            for other, base in zip(lines, rows, strict=True)
            if method_of(other.records[0]) == LOSS1 and _alike(base.leading, row.leading)
        ]
        if len(bases) > 1:  # by all that the objective is not
            bases = [(other, base) for other, base in bases if other.others == line.others]
        result.append(_compared(row, bases[0][1], columns) if len(bases) == 1 else row)
    return result


def _alike(leading: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two rows differ in their method at most."""
    return (*leading[:2], *leading[3:]) == (*others[:2], *others[3:])


def _cells(
    line: _Line, columns: Sequence[Column], places: dict[tuple[str, str, str, str], int]
) -> tuple[Cell | None, ...]:
    values: dict[int, list[float]] = {}
    protocols: dict[int, str] = {}
    losses: dict[str, dict[int, float]] = {name: {} for name in SMALL_LOSSES}  # of the pretraining, by seed
    for record in line.records:
        for metric, value in record.metrics.items():
            place = places.get((record.task, record.fingerprints.protocol, _data(record), metric))
            if place is not None and not isinstance(value, dict):
                values.setdefault(place, []).append(float(value))
                protocols[place] = record.fingerprints.protocol
        for name in SMALL_LOSSES:
            if name in record.pretrain_metrics:
                losses[name][record.seed] = record.pretrain_metrics[name]
    for place, column in enumerate(columns):
        if found := losses.get(column.metric):
            values[place] = [found[seed] for seed in sorted(found)]
    return tuple(
        Cell(tuple(values[place]), summarise(values[place]), protocol=protocols.get(place, ""))
        if place in values
        else None
        for place in range(len(columns))
    )


def _compared(row: Row, base: Row, columns: Sequence[Column]) -> Row:
    """A row with its differences to the loss1 row: accuracies, and loss1 to what that row's loss is."""
    if row is base:
        return row
    cells = list(row.cells)
    total = next(place for place, column in enumerate(columns) if column.metric == "loss")
    for place, column in enumerate(columns):
        if column.metric in {"loss", "loss2"}:
            continue  # sums of other terms: a difference says nothing
        cell, below = cells[place], base.cells[total if column.metric == "loss1" else place]
        if cell is not None and below is not None:
            verdict = None if cell.published else compare(cell.values, below.values)
            cells[place] = replace(cell, difference=cell.summary.mean - below.summary.mean, verdict=verdict)
    return replace(row, cells=tuple(cells))


def _best(rows: Sequence[Row]) -> list[Row]:
    """Mark the highest measured accuracy among rows that differ in their method alone, in each column.

    A control that trains nothing competes with every group of its data set and backbone: what is best of methods that
    are all worse than random weights is not good.
    """
    result = [list(row.cells) for row in rows]
    untrained = [i for i, row in enumerate(rows) if row.leading[EPOCHS] == "0"]
    for group in _groups(rows).values():
        first = rows[group[0]].leading
        beside = [
            i for i in untrained if rows[i].leading[:2] == first[:2] and rows[i].leading[BACKBONE] == first[BACKBONE]
        ]
        own = list(dict.fromkeys([*group, *beside]))
        for place in range(len(rows[0].cells) - len(SMALL_LOSSES)):
            shown = {i: round(cell.summary.mean, 2) for i in own if (cell := rows[i].cells[place]) is not None}
            for i, value in shown.items():
                cell = rows[i].cells[place]
                if cell is not None and len(shown) > 1 and value == max(shown.values()):
                    result[i][place] = replace(cell, best=True)
    return [replace(row, cells=tuple(cells)) for row, cells in zip(rows, result, strict=True)]


def _groups(rows: Sequence[Row]) -> dict[tuple[str, ...], list[int]]:
    """{what rows share besides their method: their places}, in the order of rows."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault((*row.leading[:2], *row.leading[3:]), []).append(i)
    return groups


def _published(published: Published, columns: Sequence[Column], subset: bool) -> list[Row]:
    rows = []
    for leading, values in published:
        cells = [
            Cell((values[name],), summarise([values[name]]), published=True)
            if (name := column.metric) in values and not column.protocol
            else None
            for column in columns
        ]
        texts = (*leading, *(["–"] if subset else []))
        rows.append(Row(texts, tuple(cells), published=True, name=leading[2], label=leading[2]))
    result = []
    for row in rows:
        bases = [base for base in rows if base.label == LOSS1 and _alike(base.leading, row.leading)]
        result.append(_compared(row, bases[0], columns) if len(bases) == 1 else row)
    return result


def _order(row: Row) -> tuple[object, ...]:
    """By data set, then the deck's methods, each published row above what was measured of the same method."""
    dataset, _, method = row.leading[:3]
    place = next((i for i, name in enumerate(METHODS) if method.startswith(name)), len(METHODS))
    return DATASETS.index(dataset) if dataset in DATASETS else len(DATASETS), place, not row.published, row.leading


# ----------------------------------------------------------------------------------------- columns


def _data(record: Record) -> str:
    return record.data.get(record.dataset, "")


def _columns(records: Sequence[Record], published: bool) -> tuple[list[Column], dict[tuple[str, str, str, str], int]]:
    """The columns, and the place of each measured (task, protocol, data, metric) among them."""
    ways: dict[str, dict[str, dict[tuple[str, str], None]]] = {}  # rest of the task's name -> data set -> ways
    for record in sorted(records, key=lambda r: (r.task, r.fingerprints.protocol, _data(r))):
        way = record.fingerprints.protocol, _data(record)
        ways.setdefault(_rest(record), {}).setdefault(record.dataset, {})[way] = None
    deck = {rest: None for rest, _ in DECK.values()}
    columns: list[Column] = []
    places: dict[tuple[str, str, str, str], int] = {}
    for rest in [*deck, *sorted(set(ways) - set(deck))]:
        shown = [(name, metric) for name, (own, metric) in DECK.items() if own == rest]
        shown = shown or [(f"{rest}_top1", "top1_percent")]
        by_dataset = ways.get(rest, {})
        several = dict.fromkeys(way for found in by_dataset.values() if len(found) > 1 for way in found)
        alone = any(len(found) == 1 for found in by_dataset.values()) or (rest in deck and (published or not several))
        for name, metric in shown:
            header = HEADERS.get(name, f"{rest} top-1")
            for way in [*([_ANY] if alone else []), *several]:
                suffix = "" if way == _ANY else _suffix(way, list(several))
                columns.append(Column(header + suffix, TASK, name, way[0], way[1], mixed=True))
                for dataset, found in by_dataset.items():
                    if (way == _ANY and len(found) == 1) or way in found:
                        task = f"{dataset}_{rest}"
                        own = next(iter(found)) if way == _ANY else way
                        if len(found) > 1 or way == _ANY:
                            places[task, *own, metric] = len(columns) - 1
    columns += [Column(name, TASK, name, decimals=4, mixed=True) for name in SMALL_LOSSES]
    return columns, places


def _suffix(way: tuple[str, str], ways: Sequence[tuple[str, str]]) -> str:
    protocol, data = way
    same = sum(other == protocol for other, _ in ways) > 1
    return f" [{protocol}, data {data[:8] or 'unknown'}]" if same else f" [{protocol}]"


def _rest(record: Record) -> str:
    return record.task.removeprefix(f"{record.dataset}_")


# -------------------------------------------------------------------------- measured less published


def _gap(
    measured: Sequence[Row], published: Published, columns: Sequence[Column], leading: tuple[str, ...]
) -> Section | None:
    """Each measured row less the published one of its data set and method; None if there is no such pair."""
    theirs = {(texts[0], texts[2]): (texts, values) for texts, values in published}
    rows = []
    for row in sorted(measured, key=_order):
        method = row.leading[2].partition(" @")[0]
        if (row.leading[0], method) not in theirs:
            continue
        texts, values = theirs[row.leading[0], method]
        own = [a if a.partition(" (")[0] == b else f"{a} less {b}" for a, b in zip(row.leading, texts, strict=False)]
        own[2] = row.leading[2]
        cells: list[Cell | None] = []
        for column, cell in zip(columns, row.cells, strict=True):
            value = values.get(column.metric)
            if cell is None or value is None:
                cells.append(None)
                continue
            less = tuple(one - value for one in cell.values)
            cells.append(Cell(less, summarise(less), protocol=cell.protocol, signed=True))
        if any(cell is not None for cell in cells):
            rows.append(Row((*own, *row.leading[len(texts) :]), tuple(cells), name=row.name, label=row.label))
    if not rows:
        return None
    notes = (
        "Read with care: the deck states neither its evaluation protocol nor its learning rate, views, stem, number of "
        "seeds or spread, so that no difference here says that something was reproduced, or was not. Where epochs, "
        "batch, image size or backbone differ, both are given, measured less published.",
        "Accuracies in points of a percent, losses without a unit. What is subtracted is one published value: the "
        "spread is that of the measured seeds alone.",
    )
    return Section(
        "Small images: measured less published", "small_images_gap", leading, tuple(columns), tuple(rows), notes
    )


# ------------------------------------------------------------------------------------------- notes


def _measured_notes(records: Sequence[Record], rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    if not rows:
        return []
    notes = [
        f"In brackets with a sign: the difference to the measured {LOSS1} row of the same data set, image size, "
        "epochs, backbone and batch, with its verdict; of loss1 to that row's loss. Bold: the highest of rows that "
        "differ in their method alone, and of random weights. A method named otherwise is a pretraining by its own "
        "name.",
        *seeds_of(rows),
    ]
    for own in _groups(rows).values():
        dataset, _, _, epochs = rows[own[0]].leading[:4]
        for place, column in enumerate(columns):
            if column.metric == "acc":
                alone = replace(column, header=f"{column.header} on {dataset}, {epochs} epochs")
                notes += distinguishable([alone], [replace(rows[i], cells=(rows[i].cells[place],)) for i in own])
    if any(record.pretrain_metrics for record in records):
        notes.append("loss, loss1 and loss2 are means over the last logged steps of the pretraining.")
    first: dict[tuple[str, str, str], Record] = {}
    for record in sorted(records, key=lambda r: (r.task, r.fingerprints.protocol, _data(r))):
        first.setdefault((record.task, record.fingerprints.protocol, _data(record)), record)
    for (task, protocol, data), record in first.items():
        what = describe(record.settings.get("downstream", {}))
        same = [r for r in records if (r.task, r.fingerprints.protocol, _data(r)) == (task, protocol, data)]
        computed = precision_words(same, "downstream")
        notes.append(f"{task}: protocol {protocol} ({what}), data {data or 'without a fingerprint'}.{computed}")
    if pretrained := precision_words(records, "pretrain").strip():
        notes.append(pretrained)
    names = dict.fromkeys(f"{row.leading[0]} {row.label}: {row.name}" for row in rows if row.label != row.name)
    if names:
        notes.append(f"Configs: {'; '.join(names)}.")
    return notes + skipped_images(records)


def _published_notes(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    return [
        "† Published in 2021 in a slide deck, not measured here; protocol and number of seeds are not stated. "
        "Accuracies in percent, losses without a unit. In brackets: the difference to the published byol+loss1 row of "
        "the same data set, of loss1 to that row's loss; one number each, so that nothing can be judged.",
        "CIFAR-100 acc kNN is 61.64 in two rows: probably a copy error in the deck.",
    ]
