"""Which records are of one trunk, that is of the same pretrained weights, and which seeds of a task count."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config.tasks import KINDS
from bench.record import Record


class Trunks:
    """The trunks of records, by numbers that are equal for two records of one row and one trunk.

    A row is pretraining, recipe and profile. The number is the lowest seed by which the trunk was asked for. Records of
    one seed are of one trunk: trained twice, say on two machines, it is still the same pretraining, and no second draw
    from its method. Records of several seeds are, if their weights have the same hash, or if nothing is trained and a
    checkpoint is given: there a seed decides nothing, or at most on which images the checkpoint's norms are measured.

    It is made of all records that there are. One that a table does not show, as it was measured again or on another
    task, may be the one that tells that two others are of the same weights.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        """Find out which records are of one trunk."""
        known: dict[tuple[object, ...], int] = {}  # (row, what tells the trunk) -> number
        self._same: dict[tuple[object, ...], int] = {}  # (row, number) -> number of the trunk that it was found to be
        for record in sorted(records, key=lambda record: record.seed):
            row = _row(record)
            told = [(*row, told) for told in _told(record)]
            found = sorted({self._root(row, known[each]) for each in told if each in known}) or [record.seed]
            for other in found[1:]:
                self._same[*row, other] = found[0]
            known |= dict.fromkeys(told, found[0])
        self._known = known

    def of(self, records: Sequence[Record]) -> list[int]:
        """Return the number of each record's trunk; they are some of those that this was made of."""
        return [self._root(_row(record), self._known[*_row(record), record.seed]) for record in records]

    def _root(self, row: tuple[str, ...], number: int) -> int:
        while (*row, number) in self._same:
            number = self._same[*row, number]
        return number


def trunks_of(records: Sequence[Record]) -> list[int]:
    """Return the number of each record's trunk, where these are all records that there are; see `Trunks`."""
    return Trunks(records).of(records)


def _row(record: Record) -> tuple[str, str, str]:
    return record.pretrain, record.fingerprints.recipe, record.profile


def _told(record: Record) -> list[int | str]:
    """What tells a record's trunk from others of its row."""
    own = [record.trunk] if record.trunk is not None else []
    return [record.seed, *own, *(["checkpoint"] if _untrained(record) else [])]


def _untrained(record: Record) -> bool:
    """Whether its weights are those of a checkpoint, whatever its norms are."""
    settings = record.settings.get("pretrain", {})
    return settings.get("epochs") == 0 and (settings.get("init") or {}).get("checkpoint") is not None


def task_seed_of(record: Record) -> tuple[int, int]:
    """Return the seeds that decided a record's numbers on its trunk, each 0 where it decides nothing.

    The first is that by which images were drawn to measure a checkpoint's norms on: they do not make other weights of
    it, and are a part of how it is measured. The second is the task's; of kinds that are not ours it decides.
    """
    settings, kind = record.settings.get("pretrain", {}), KINDS.get(record.kind)
    drawn = settings.get("norm_statistics") == "data" and settings.get("subset") is not None and _untrained(record)
    decides = kind is None or kind.seed_decides(record.settings.get("downstream", {}))
    return record.seed if drawn else 0, record.own_seed if decides else 0


def by_trunk(trunks: Sequence[int], values: Sequence[float]) -> tuple[tuple[float, ...], ...]:
    """Return values with those of a trunk together, in the order in which the trunks first come."""
    groups: dict[int, list[float]] = {}
    for trunk, value in zip(trunks, values, strict=True):
        groups.setdefault(trunk, []).append(value)
    return tuple(tuple(group) for group in groups.values())
