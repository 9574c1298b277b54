"""Which records are of one trunk, that is of the same pretrained weights, and which seeds of a task count."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config.tasks import KINDS
from bench.record import Record


def trunks_of(records: Sequence[Record]) -> list[int]:
    """Return a number for each record, equal for two of one row (pretraining, recipe, profile) and one trunk.

    It is the lowest seed by which that trunk was asked for. Records of one seed are of one trunk: trained twice, say on
    two machines, it is still the same pretraining, and no second draw from its method. Records of several seeds are, if
    their weights have the same hash, or if nothing is trained and a checkpoint is given: there a seed decides nothing.
    """
    known: dict[tuple[object, ...], int] = {}  # (row, what tells the trunk) -> number
    seeds: dict[tuple[object, ...], int] = {}  # (row, number) -> number of the trunk that it was found to be
    for record in sorted(records, key=lambda record: record.seed):
        row = record.pretrain, record.fingerprints.recipe, record.profile
        told = [(*row, told) for told in _told(record)]
        found = sorted({_root(row, known[each], seeds) for each in told if each in known}) or [record.seed]
        for other in found[1:]:
            seeds[*row, other] = found[0]
        known |= dict.fromkeys(told, found[0])
    return [
        _root(row, known[*row, record.seed], seeds)
        for record in records
        for row in [(record.pretrain, record.fingerprints.recipe, record.profile)]
    ]


def _root(row: tuple[object, ...], number: int, seeds: dict[tuple[object, ...], int]) -> int:
    while (*row, number) in seeds:
        number = seeds[*row, number]
    return number


def _told(record: Record) -> list[int | str]:
    """What tells a record's trunk from others of its row."""
    settings = record.settings.get("pretrain", {})
    init = settings.get("init") or {}
    fixed = settings.get("epochs") == 0 and init.get("checkpoint") is not None
    fixed = fixed and settings.get("norm_statistics", "start") == "start"  # else of images that the seed draws
    return [record.seed, *([record.trunk] if record.trunk is not None else []), *(["checkpoint"] if fixed else [])]


def task_seed_of(record: Record) -> int:
    """Return the seed of a record's task, or 0 where it decides nothing; of kinds that are not ours it does."""
    kind = KINDS.get(record.kind)
    decides = kind is None or kind.seed_decides(record.settings.get("downstream", {}))
    return record.own_seed if decides else 0


def by_trunk(trunks: Sequence[int], values: Sequence[float]) -> tuple[tuple[float, ...], ...]:
    """Return values with those of a trunk together, in the order in which the trunks first come."""
    groups: dict[int, list[float]] = {}
    for trunk, value in zip(trunks, values, strict=True):
        groups.setdefault(trunk, []).append(value)
    return tuple(tuple(group) for group in groups.values())
