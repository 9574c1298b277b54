"""Which results are of a pretraining that went back by itself, at a lower rate or in smaller micro-batches: a mark on
their cells, and a note that says what was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.record import Record
from bench.results.sections import Column, Line

INTERVENED = "‖"


def interventions_of(record: Record) -> tuple[str, ...]:
    """Return what the pretrainings of a record did by themselves: ("pretrain coco-s0: learning rate × 0.5 …", …).

    Those that its own continues count, too.
    """
    return tuple(f"{title}: {each.words}" for title, made in record.chain.items() for each in made.interventions)


def intervention_words(runs: Iterable[Sequence[str]]) -> str:
    """Return those of a cell's runs, each once; "" where there were none."""
    return "; ".join(dict.fromkeys(words for run in runs for words in run))


def intervention_notes(lines: Sequence[Line], columns: Sequence[Column]) -> list[str]:
    """Return the note that explains the mark on cells; none where no cell has it."""
    groups: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        row = " ".join(filter(None, (line.fields.get("dataset"), line.row.label or line.row.name)))
        for column, cell in zip(columns, line.row.cells, strict=True):
            if cell is not None and cell.interventions:
                groups.setdefault((row, cell.interventions), []).append(column.header)
    if not groups:
        return []
    marked = ". ".join(f"{row}, {' and '.join(headers)}: {said}" for (row, said), headers in groups.items())
    return [f"{INTERVENED} Pretrained with what a recipe lets a training do by itself: {marked}."]
