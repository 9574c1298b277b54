"""Which results an older definition of an objective gave: a mark on their rows, and a note that says it."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config.objective_source import definition_of, objectives
from bench.record import Record
from bench.results.sections import Line


def older_definition(record: Record) -> str:
    """Return "moco: as of definition 1, today's is 2" of a record; "" where its objectives are defined as today.

    Those of the pretrainings that its own continues count, too, as far as the record knows them. Of objectives that are
    not ours, which may be edited at any time, the fingerprint has the source, and nothing is said here.
    """
    own = record.settings.get("pretrain", {}).get("objective", {}).get("name")
    ours = objectives()
    return "; ".join(
        f"{name}: as of definition {then}, today's is {today}"
        for name, then in (record.definitions or {own: 1}).items()
        if name in ours and (today := definition_of(name)) > then
    )


def definition_notes(lines: Sequence[Line]) -> list[str]:
    """Return the note that explains the mark on rows; none where no row has it."""
    marked = []
    for line in (line for line in lines if line.row.older):
        row = " ".join(filter(None, (line.fields.get("dataset"), line.row.label or line.row.name)))
        marked.append(f"{row} ({line.row.older})")
    if not marked:
        return []
    return [f"‡ Pretrained by an older definition of the objective: {'; '.join(marked)}."]
