"""What a table lets one believe, in sentences: which rows are highest, which are above or below the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.results.cells import signed
from bench.results.report.known import Known
from bench.results.report.shown import Finding
from bench.results.sections import Cell, Column, Row, Section
from bench.results.statistics import difference_of, error_of_mean

Named = tuple[str, Cell]

_MEANS = {"higher": "Higher than", "lower": "Lower than", "≈": "Not told from", "?": "Not judged against"}


def findings_of(section: Section) -> Iterator[Finding]:
    """Yield what is believed by the decisive column of each task, for each group of rows that are compared."""
    for column, place in _decisive(section):
        for words, rows in _groups(section).items():
            cells = [(_label(row, section), cell) for row in rows if (cell := row.cells[place]) is not None]
            if len(cells) > 1 and not any(cell.signed for _, cell in cells):
                task = column.task.removeprefix("{dataset}_")
                about = f"{task}, {column.title.removeprefix(f'{task} ')}{words}"
                judged = any(cell.best or (cell.verdict and cell.verdict.p is not None) for _, cell in cells)
                yield Finding(about, tuple(_sentences(cells, column)), judged)


def _decisive(section: Section) -> Iterator[tuple[Column, int]]:
    """Of the columns of one task and protocol, mIoU, or else the first in percent that is compared."""
    ways: dict[tuple[str, str, str], list[int]] = {}
    for place, column in enumerate(section.columns):
        measured = any(row.cells[place] is not None and not row.published for row in section.rows)
        if column.task and column.compared and not column.amount and column.metric.endswith("_percent") and measured:
            ways.setdefault((column.task, column.protocol, column.data), []).append(place)
    for places in ways.values():
        chosen = next((i for i in places if section.columns[i].metric == "miou_percent"), places[0])
        yield section.columns[chosen], chosen


def _groups(section: Section) -> dict[str, list[Row]]:
    """{" on cifar10, image size 32": rows} of measured rows that differ in their method alone; else all of them."""
    groups: dict[str, list[Row]] = {}
    measured = [row for row in section.rows if not row.published]
    for row in measured:
        words = ""
        if "Method" in section.leading:
            pairs = [
                (name, text)
                for place, (name, text) in enumerate(zip(section.leading, row.leading, strict=True))
                if place != section.named and (name == "Dataset" or len({each.leading[place] for each in measured}) > 1)
            ]
            words = " on " + ", ".join(t if name == "Dataset" else f"{name.lower()} {t}" for name, t in pairs)
        groups.setdefault(words, []).append(row)
    return groups


def _label(row: Row, section: Section) -> str:
    return row.label or row.leading[section.named]


def _sentences(cells: Sequence[Named], column: Column) -> Iterator[str]:
    judged = [(name, cell) for name, cell in cells if error_of_mean(cell.values) is not None]
    if best := sorted((one for one in cells if one[1].best), key=lambda one: -one[1].summary.mean):
        (name, top), others = best[0], best[1:]
        above = f"{name} has the highest mean, {top.summary.mean:.{column.decimals}f}"
        weights = any(cell.best_about == "weights" for _, cell in best)
        alone = "; this is about the weights of single trunks, and not about the methods that gave them"
        also = f", and {_list([n for n, _ in others])} cannot be told from it" if others else ", alone"
        yield f"{above}{also}{alone if weights else ''}."
    elif len(judged) < 2:
        have = "one alone has" if judged else "none has"
        yield f"No row of {len(cells)} is called best: {have} two values or more, and a single one tells of no noise."
    for word, start in _MEANS.items():
        by_base: dict[str, list[str]] = {}
        for name, cell in cells:
            if cell.verdict is not None and cell.verdict.word == word and cell.base is not None:
                by_base.setdefault(cell.base.label, []).append(_against(name, cell, column))
        for base, words in by_base.items():
            why = " (a side has a single value, or neither has any spread)" if word == "?" else ""
            yield f"{start} {base}{why}: {'; '.join(words)}."


def _against(name: str, cell: Cell, column: Column) -> str:
    """`simclr by +3.20 [+1.10, +5.30], p = 0.01`: interval of this pair alone, p after correction."""
    digits = column.decimals
    words = f"{name} by {signed(cell.difference or 0.0, digits)}"
    found = difference_of(cell.values, cell.base.values) if cell.base is not None else None
    if found is None or cell.verdict is None:
        return words
    p = cell.verdict.p if cell.verdict.adjusted is None else cell.verdict.adjusted
    about = ", of these weights alone" if cell.verdict.about == "weights" else ""
    said = "" if p is None else f", p\u00a0=\u00a0{p:.2g}"
    return f"{words} [{signed(found.low, digits)}, {signed(found.high, digits)}]{said}{about}"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def marred_by(section: Section, known: Known) -> list[str]:
    """Return a sentence for each thing that mars a comparison: of rows with their baseline, else with the highest."""
    found: dict[str, None] = {}
    for column, place in _decisive(section):
        for rows in _groups(section).values():
            cells = [(_label(row, section), cell) for row in rows if (cell := row.cells[place]) is not None]
            if not cells:
                continue
            highest = max(cells, key=lambda one: one[1].summary.mean)
            for name, cell in cells:
                other = (cell.base.label, cell.base.stages) if cell.base else (highest[0], highest[1].stages)
                if name == other[0] or not (column.compared and cell.stages and other[1]):
                    continue
                found |= dict.fromkeys(known.mars(name, cell.stages, *other))
    return list(found)
