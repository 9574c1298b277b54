"""What results cost: seconds and peak memory of each stage, from the records.

One row is one (pretraining by name, fingerprint of its recipe, machine); seeds of a row share a cell, each run of a
stage by itself. The pretraining and the conversion that several tasks, and several seeds of a task, share count once a
seed, in the row of the machine that they ran on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.config.no_effect import stand_ins, value_at
from bench.made import Hardware
from bench.record import Record
from bench.results.frame import RECIPE, WAY, way_of, way_suffix, without_repeats
from bench.results.mixtures import hardware_words
from bench.results.named_rows import label_of
from bench.results.sections import TITLES, Cell, Column, Row, Section
from bench.results.statistics import Summary, singly, summarise

LEADING = ("Pretrain set", "Pretrain", "Backbone", "Machine")
UPSTREAM = ("pretrain", "convert")

UNITS = ("s", "MiB", "GPU MiB")
COSTS = frozenset({"compile", "cuda_graphs", "batch_size", "search", "validate_every"})  # that no fingerprint has
ROW = [*RECIPE, "machine"]
SEEDS = ["seed", "task_seed"]  # of a run; a stage before the task has one of the pretraining alone
Amount = tuple[str, str, str, str]  # task, protocol, data, unit; a stage that tasks share has its kind as task alone


def build_resources(records: Sequence[Record]) -> list[Section]:
    """Return a section for each profile that has records, with a column for each stage and what is known of it."""
    kept = sorted(without_repeats(records), key=lambda record: (record.created, record.fingerprints.stage))
    by_profile = {profile: [record for record in kept if record.profile == profile] for profile in TITLES}
    return [_section(profile, chosen) for profile, chosen in by_profile.items() if chosen]


def _section(profile: str, records: Sequence[Record]) -> Section:
    """The section of one profile's records, oldest first: a later one of a seed is of the stage as it is now."""
    import pandas as pd

    frame = pd.DataFrame(_lines(records), columns=[*ROW, *WAY, "unit", *SEEDS, "value"])
    frame = frame.drop_duplicates([*ROW, *WAY, "unit", *SEEDS], keep="last").sort_values(SEEDS, kind="stable")
    values = frame.groupby([*ROW, *WAY, "unit"])["value"].agg(list).to_dict()
    columns = _columns(set(frame[[*WAY, "unit"]].itertuples(index=False, name=None)))
    latest = {
        (record.pretrain, record.fingerprints.recipe, place): record
        for record in records
        for place in dict.fromkeys(_machines(record).values())
    }
    recipes = Counter(pretrain for pretrain, _ in {key[:2] for key in latest})
    rows = []
    for key, record in latest.items():
        label = label_of(record) if recipes[record.pretrain] > 1 else record.pretrain
        cells = tuple(_cell(values.get((*key, *amount)), amount[-1]) for amount in columns)
        leading = record.pretrain_set, label, record.arch, key[2]
        rows.append(Row(leading, cells, name=record.pretrain, label=label, arch=record.arch))
    rows.sort(key=lambda row: (row.leading[0] != "none", row.leading))
    shown, notes = tuple(columns.values()), _notes(records)
    return Section(TITLES[profile], profile, LEADING, shown, tuple(rows), notes, named=1, profile=profile)


def _lines(records: Sequence[Record]) -> Iterator[tuple[str | int | float, ...]]:
    """One line for each amount that a record knows."""
    for record in records:
        for stage, place in _machines(record).items():
            row = record.pretrain, record.fingerprints.recipe, place
            way = way_of(record) if stage == record.kind else (stage, "", "")
            memory = record.peak_memory_mib
            seconds = None if stage in record.untimed else record.wall_seconds.get(stage)  # a part would mislead
            amounts = seconds, memory.get(stage), memory.get(f"{stage} gpu")
            seeds = record.seed, record.own_seed if stage == record.kind else -1
            for unit, value in zip(UNITS, amounts, strict=True):
                if value is not None:
                    yield (*row, *way, unit, *seeds, value)


def _columns(amounts: set[Amount]) -> dict[Amount, Column]:
    """The columns that have a value: seconds of each stage, then memory; stages in the order that they run in."""

    def order(amount: Amount) -> tuple[int, int, tuple[str, str, str]]:
        task, protocol, data, unit = amount
        return UNITS.index(unit), len(UPSTREAM) if protocol else UPSTREAM.index(task), (task, protocol, data)

    ways = sorted({amount[:3] for amount in amounts if amount[1]})
    columns = {}
    for amount in sorted(amounts, key=order):
        task, protocol, data, unit = amount
        suffix = way_suffix(protocol, data, [way[1:] for way in ways if way[0] == task]) if protocol else ""
        header, decimals = f"{task}{suffix}, {unit}", 1 if unit == "s" else 0
        columns[amount] = Column(header, task, unit, protocol, data, decimals, amount=True)
    return columns


def _cell(values: list[float] | None, unit: str) -> Cell | None:
    """Seconds as their mean; memory as the most that any seed took, since a machine must have that."""
    if values is None:
        return None
    runs = singly(values)
    return Cell(runs, summarise(runs) if unit == "s" else Summary(max(values), None, len(values)))


def _machines(record: Record) -> dict[str, str]:
    """{stage by its kind: the machine that ended it}; of older records all have that of the task."""
    places = dict.fromkeys((*UPSTREAM, record.kind), machine(record.hardware))
    for kind in UPSTREAM:
        made = record.chain.get(f"{kind} {record.pretrain}-s{record.seed}")
        if made is not None and made.parts:
            places[kind] = machine(made.parts[-1].hardware)
    return places


def machine(hardware: Hardware | None) -> str:
    """Return a machine in words: its GPUs, or else its processor."""
    if hardware is None:
        return "not recorded"
    if hardware.gpus:
        return hardware_words(hardware)
    return f"{hardware.cpu}, {hardware.cores} cores, {hardware.memory_gib:.0f} GiB"


def _notes(records: Sequence[Record]) -> tuple[str, ...]:
    notes = [
        "A stage that was interrupted and taken up again, or that read features which another one left, has no time "
        "here; older records do not say so, and have that of the process that finished it.",
    ]
    if any(not record.chain for record in records):
        notes.append(
            "Older records know the machine of their task's own stage alone; their pretraining and conversion stand in "
            "its row, wherever they ran."
        )
    if mixed := _mixed(records):
        notes.append(f"Seeds of one cell differ in settings that cost time and change no result: {'; '.join(mixed)}.")
    without = sum(not record.peak_memory_mib for record in records)
    if without:
        every = "None of the records here has" if without == len(records) else f"{without} records here do not have"
        notes.append(f"{every} peak memory: they are older than its measurement.")
    return tuple(notes)


def _mixed(records: Sequence[Record]) -> list[str]:
    """Return "coco: compile=False, True" of each row or task whose records differ in such a setting."""
    values: dict[tuple[str, ...], dict[str, None]] = {}
    for record in records:
        row = record.pretrain, record.fingerprints.recipe, machine(record.hardware)
        for kind, side, label in ((None, "pretrain", record.pretrain), (record.kind, "downstream", record.task)):
            settings = record.settings.get(side, {})  # type: ignore[call-overload]
            for key, usual in stand_ins(settings, kind, record.profile).items():
                if key in COSTS:
                    place = (*row, *(way_of(record) if kind else ()), label, key)
                    values.setdefault(place, {})[str(value_at(settings, key, usual))] = None
    return list(
        dict.fromkeys(f"{place[-2]}: {place[-1]}={', '.join(sorted(v))}" for place, v in values.items() if len(v) > 1)
    )
