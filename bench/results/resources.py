"""What results cost: seconds and peak memory of each stage, from the records.

One row is one (pretraining by name, fingerprint of its recipe, machine); seeds of a row share a cell. The pretraining
and the conversion that several tasks share count once a seed. A task's own stage has a column for each way it was
measured, as in the transfer tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.record import Record
from bench.results.frame import way_of, way_suffix, without_repeats
from bench.results.sections import TITLES, Cell, Column, Row, Section
from bench.results.statistics import Summary, summarise

LEADING = ("Pretrain set", "Pretrain", "Backbone", "Machine")
UPSTREAM = ("pretrain", "convert")

What = Literal["s", "MiB", "GPU MiB"]
WHATS: tuple[What, ...] = ("s", "MiB", "GPU MiB")
Place = tuple[str, str, str]  # task, protocol, data; a stage that tasks share has its kind and nothing else


@dataclass(frozen=True)
class _Amount:
    """What one stage took."""

    place: Place
    what: What
    value: float


def build_resources(records: Sequence[Record]) -> list[Section]:
    """Return a section for each profile that has records, with a column for each stage and what is known of it."""
    kept = without_repeats(records)
    sections = []
    for profile, title in TITLES.items():
        chosen = [record for record in kept if record.profile == profile]
        if chosen:
            sections.append(_section(title, profile, chosen))
    return sections


def _section(title: str, profile: str, records: Sequence[Record]) -> Section:
    # row -> (place, what) -> seed -> value. A later record of a seed overrules: it is of the stage as it is now.
    found: dict[tuple[str, str, str], dict[tuple[Place, What], dict[int, float]]] = {}
    leading: dict[tuple[str, str, str], tuple[str, str]] = {}
    for record in sorted(records, key=lambda r: (r.created, r.fingerprints.stage)):
        row = record.pretrain, record.fingerprints.recipe, machine(record)
        leading[row] = record.pretrain_set, record.arch
        amounts = found.setdefault(row, {})
        for amount in _amounts(record):
            amounts.setdefault((amount.place, amount.what), {})[record.seed] = amount.value
    places = {place for amounts in found.values() for place, _ in amounts}
    columns = _columns(places, {key for amounts in found.values() for key in amounts})
    recipes = Counter(pretrain for pretrain, _ in {row[:2] for row in found})
    rows = []
    for row, amounts in found.items():
        pretrain, recipe, where = row
        label = f"{pretrain} @{recipe[:8]}" if recipes[pretrain] > 1 else pretrain
        cells = tuple(_cell(amounts.get(key), key[1]) for key in columns)
        rows.append(Row((leading[row][0], label, leading[row][1], where), cells, name=pretrain, label=label))
    rows.sort(key=lambda row: (row.leading[0] != "none", row.leading))
    return Section(title, profile, LEADING, tuple(columns.values()), tuple(rows), _notes(records))


def _amounts(record: Record) -> list[_Amount]:
    """All that a record says of its stages."""
    own = way_of(record)
    found = []
    for kind in (*UPSTREAM, record.kind):
        place = own if kind == record.kind else (kind, "", "")
        values: dict[What, float | None] = {
            "s": record.wall_seconds.get(kind),
            "MiB": record.peak_memory_mib.get(kind),
            "GPU MiB": record.peak_memory_mib.get(f"{kind} gpu"),
        }
        found += [_Amount(place, what, value) for what, value in values.items() if value is not None]
    return found


def _columns(places: set[Place], known: set[tuple[Place, What]]) -> dict[tuple[Place, What], Column]:
    """The columns that have a value: seconds of each stage, then memory; stages in the order that they run in."""
    order = sorted(places, key=lambda place: (UPSTREAM.index(place[0]) if not place[1] else len(UPSTREAM), place))
    columns = {}
    for what in WHATS:
        for place in order:
            if (place, what) not in known:
                continue
            task, protocol, data = place
            several = [(p, d) for t, p, d in order if t == task and p]
            header = f"{task}{way_suffix(protocol, data, several) if protocol else ''}, {what}"
            columns[place, what] = Column(header, task, what, protocol, data, 1 if what == "s" else 0, amount=True)
    return columns


def _cell(values: dict[int, float] | None, what: What) -> Cell | None:
    """Seconds as their mean; memory as the most that any seed took, since a machine must have that."""
    if values is None:
        return None
    kept = tuple(value for _, value in sorted(values.items()))
    return Cell(kept, summarise(kept) if what == "s" else Summary(max(kept), None, len(kept)))


def machine(record: Record) -> str:
    """Return the machine of a record in words: its GPUs, or else its processor."""
    hardware = record.hardware
    if hardware is None:
        return "not recorded"
    if hardware.gpus:
        return ", ".join(f"{count} × {name}" for name, count in Counter(hardware.gpus).items())
    return f"{hardware.cpu}, {hardware.cores} cores, {hardware.memory_gib:.0f} GiB"


def _notes(records: Sequence[Record]) -> tuple[str, ...]:
    notes = [
        "A record knows the machine of its task's own stage alone; where its pretraining and conversion ran, it does "
        "not say.",
        "Seconds are those of the process that finished a stage: of a stage that was interrupted and taken up again, "
        "the last part.",
    ]
    without = sum(not record.peak_memory_mib for record in records)
    if without:
        every = "None of the records here has" if without == len(records) else f"{without} records here do not have"
        notes.append(f"{every} peak memory: they are older than its measurement.")
    return tuple(notes)
