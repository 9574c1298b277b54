"""Notes on results whose parts do not go together: a cell, or a chain, of several commits, torch versions, machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.made import Hardware, Part
from bench.record import Record
from bench.results.frame import way_of

MOST = 3  # results that a note names

Stages = dict[str, tuple[Part, ...]]  # stage by its kind and, of a pretraining that another continues, its label


@dataclass(frozen=True)
class Aspect:
    """One thing that should be the same all over: its name in the plural, and its value of a part, if it is known."""

    name: str
    value: Callable[[Part], str | None]


def hardware_words(hardware: Hardware) -> str:
    """Return a machine in a few words: its GPUs, or else its processor."""
    if not hardware.gpus:
        return hardware.cpu
    return ", ".join(f"{hardware.gpus.count(name)} × {name}" for name in dict.fromkeys(hardware.gpus))


def _hardware(part: Part) -> str | None:
    if not part.hardware.cpu:
        return None
    return " ".join([hardware_words(part.hardware), *(f"{name}={value}" for name, value in part.limits.items())])


ASPECTS = (
    Aspect("commits", lambda part: part.git.words if part.git.commit is not None else None),
    Aspect("torch versions", lambda part: part.versions.get("torch")),
    Aspect("hardware", _hardware),
)


def mixture_notes(records: Sequence[Record]) -> list[str]:
    """Return a note for each aspect that is mixed between the stages of a result, and within a cell; and what is not
    known, or of code that was not committed.
    """
    notes: list[str] = []
    stages = {id(record): known_stages(record) for record in records}
    cells: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        cells.setdefault((record.pretrain, record.fingerprints.recipe, way_of(record)), []).append(record)
    for aspect in ASPECTS:
        mixed = [
            f"{_name(record)} ({_by_value(found)})"
            for record in records
            if len(found := _values(aspect, stages[id(record)])) > 1
        ]
        if mixed:
            notes.append(f"Mixed {aspect.name} between the stages of a result: {_some(mixed)}.")
        mixed = []
        for cell in cells.values():
            of_seeds: dict[str, list[str]] = {}
            for record in cell:
                for value in _values(aspect, stages[id(record)]):
                    of_seeds.setdefault(value, []).append(record.seeds.removeprefix("seed "))
            # Where each seed has them all, they differ between stages alone, which is said above.
            if any(len(seeds) < len(cell) for seeds in of_seeds.values()) and len(of_seeds) > 1:
                parts = (f"{value}: seed {', '.join(seeds)}" for value, seeds in of_seeds.items())
                mixed.append(f"{cell[0].pretrain} {cell[0].task} ({'; '.join(parts)})")
        if mixed:
            notes.append(f"Mixed {aspect.name} within a cell: {_some(mixed)}.")
    changed = [_name(r) for r in records if any(p.git.dirty for parts in stages[id(r)].values() for p in parts)]
    if changed:
        notes.append(f"Made by code with changes that were not committed: {_some(changed)}.")
    unknown = sum(not _whole(record) for record in records)
    if unknown:
        which = "these results" if unknown == len(records) else f"{unknown} of these {len(records)} results"
        notes.append(
            f"The records of {which} do not say all that their pretraining and conversion were made of, as earlier "
            "versions did not keep it."
        )
    return notes


def known_stages(record: Record) -> Stages:
    """Return what is known of each stage; of an older record that of its task alone."""
    if not record.chain:
        known = {name: version for name, version in record.versions.items() if version is not None}
        hardware = record.hardware or Hardware(cpu="", cores=0, memory_gib=0)
        return {record.kind: (Part(git=record.git, versions=known, hardware=hardware, machine=""),)}
    own = {f"{kind} {record.pretrain}-s{record.seed}": kind for kind in ("pretrain", "convert")}
    *before, last = record.chain
    named = {title: own.get(title, title) for title in before} | {last: record.kind}
    return {named[title]: made.parts for title, made in record.chain.items()}


def _values(aspect: Aspect, stages: Stages) -> dict[str, list[str]]:
    """{value: the stages that have it}, in the order of the stages."""
    found: dict[str, list[str]] = {}
    for stage, parts in stages.items():
        for value in dict.fromkeys(aspect.value(part) for part in parts):
            if value is not None:
                found.setdefault(value, []).append(stage)
    return found


def _whole(record: Record) -> bool:
    """Whether all stages from the first pretraining on are there, with all their parts."""
    kinds = {title.partition(" ")[0] for title in record.chain}
    return {"pretrain", "convert"} <= kinds and all(made.parts and made.whole for made in record.chain.values())


def _by_value(found: dict[str, list[str]]) -> str:
    return "; ".join(f"{value}: {', '.join(stages)}" for value, stages in found.items())


def _name(record: Record) -> str:
    return f"{record.pretrain} {record.task} {record.seeds}"


def _some(words: Sequence[str]) -> str:
    more = [f"and {len(words) - MOST} more (bench trace RECORD shows each)"] if len(words) > MOST else []
    return ", ".join([*words[:MOST], *more])
