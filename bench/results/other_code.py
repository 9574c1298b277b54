"""Which results were made by other code than that of now: a mark on their cells, and a note that says which stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.config.code_of import CodeOf, builds_objective
from bench.config.kinds import STEPS, StageKind
from bench.config.objective_source import objectives
from bench.config.tasks import KINDS
from bench.data.sets import DATA_SETS
from bench.record import Record
from bench.results.sections import Column, Line

MARK = "§"


def stages_of_other_code(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Return for each record which of its own stages ran code that is another by now: ("pretrain", "segmentation").

    Digests alone are compared, so that tables are the same on every machine; the versions of libraries are in the
    record. Nothing is said of records that kept no digest, of what comes from outside, which may not be installed where
    tables are made, and of the pretrainings that a record's own continues.
    """
    if not any(record.code for record in records):
        return [()] * len(records)
    code = CodeOf.cached()
    return [
        tuple(
            stage
            for stage, sittings in record.code.items()
            if (now := _digest_of_now(code, record, stage)) and any(each.digest != now for each in sittings)
        )
        for record in records
    ]


def _digest_of_now(code: CodeOf, record: Record, stage: str) -> str:
    """The digest of the code of now of one stage of a record; "" where it cannot be said."""
    kinds: dict[str, type[StageKind]] = {**STEPS, **KINDS}
    if stage not in kinds:
        return ""
    objective = record.settings.get("pretrain", {}).get("objective", {}).get("name")
    dataset = {"pretrain": record.pretrain_set, "convert": "none"}.get(stage, record.dataset)
    if not builds_objective(kinds[stage]):
        objective = None
    elif objective not in objectives():
        return ""
    return code.stage(kinds[stage], objective, dataset).digest if dataset in {*DATA_SETS, "none"} else ""


def other_code_words(stages: Sequence[Sequence[str]]) -> str:
    """Return "pretrain of 2, knn of 1" for the stages of a cell's runs; "" where all ran the code of now."""
    counts = Counter(stage for some in stages for stage in some)
    return ", ".join(f"{stage} of {count}" for stage, count in counts.items())


def other_code_notes(lines: Sequence[Line], columns: Sequence[Column]) -> list[str]:
    """Return the note that explains the mark on cells; none where no cell has it."""
    groups: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        row = " ".join(filter(None, (line.fields.get("dataset"), line.row.label or line.row.name)))
        for column, cell in zip(columns, line.row.cells, strict=True):
            if cell is not None and cell.other_code:
                said = f"{cell.other_code} of {cell.summary.count} run{'s' if cell.summary.count > 1 else ''}"
                groups.setdefault((row, said), []).append(column.header)
    if not groups:
        return []
    marked = "; ".join(f"{row}, {' and '.join(headers)}: {said}" for (row, said), headers in groups.items())
    return [f"{MARK} Made by other code than that of now (stage, and of how many runs): {marked}."]
