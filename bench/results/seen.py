"""The smallest differences that the runs of a table could have seen, a line below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.results.power import POWER, smallest_difference, trunks_for
from bench.results.sections import Cell, Column, Line
from bench.results.statistics import LEVEL, Summary, error_of_mean


@dataclass(frozen=True)
class Seen:
    """What the runs of some rows can tell apart in one column.

    Attributes:
        spread: between trunks, pooled over rows by their degrees of freedom.
        freedom: these.
        trunks: of the row that has fewest, of those with at least two.
        rows: with at least two trunks.
        family: comparisons of one row with all others that can be judged, be it by the task seeds of a single trunk.
        smallest: difference that two rows of so many trunks show with 80 % power at p < 0.05.
        strictest: the same at the first step of Holm's correction over the family.
        for_half: trunks a row that show half of `smallest`, as it is without correction; None: more than can be had.
    """

    spread: float
    freedom: int
    trunks: int
    rows: int
    family: int
    smallest: float
    strictest: float
    for_half: int | None


def seen_by(cells: Sequence[Cell | None]) -> Seen | None:
    """Return what the runs of these cells of one column can tell apart; None where no spread is known, or it is 0."""
    judged = [cell for cell in cells if cell is not None and error_of_mean(cell.values) is not None]
    known = [(cell.summary.n, cell.summary.between) for cell in judged if cell.summary.between is not None]
    freedom = sum(n - 1 for n, _ in known)
    spread = math.sqrt(sum((n - 1) * between**2 for n, between in known) / freedom) if freedom else 0.0
    if not spread:
        return None
    trunks, family = min(n for n, _ in known), max(len(judged) - 1, 1)
    smallest = smallest_difference(spread, trunks, trunks)
    strictest = smallest_difference(spread, trunks, trunks, LEVEL / family)
    return Seen(spread, freedom, trunks, len(known), family, smallest, strictest, trunks_for(smallest / 2, spread))


@dataclass(frozen=True)
class SeenOfTwo:
    """What the runs of two rows can tell apart in one column.

    Attributes:
        spread: between trunks, pooled over both rows by their degrees of freedom, and taken to be that of either.
        trunks: of the one row and of the other.
        smallest: difference that they show with 80 % power at p < 0.05.
        for_half: trunks of each row that show half of it; None: more than can be had.
    """

    spread: float
    trunks: tuple[int, int]
    smallest: float
    for_half: int | None


def seen_of_two(ours: Summary, theirs: Summary) -> SeenOfTwo | None:
    """Return what two rows can tell apart; None where one has a single trunk, or neither has any spread."""
    if ours.between is None or theirs.between is None:
        return None
    freedom = ours.n + theirs.n - 2
    spread = math.sqrt(((ours.n - 1) * ours.between**2 + (theirs.n - 1) * theirs.between**2) / freedom)
    if not spread:
        return None
    smallest = smallest_difference(spread, ours.n, theirs.n)
    return SeenOfTwo(spread, (ours.n, theirs.n), smallest, trunks_for(smallest / 2, spread))


def seen_notes(lines: Sequence[Line], columns: Sequence[Column], where: str = "") -> list[str]:
    """Return the note on what the runs of a group's rows could have told apart; none where no spread is known.

    `where` says which rows, such as " on cifar10".
    """
    parts: list[str] = []
    of_several = False
    for i, column in enumerate(columns):
        seen = seen_by([line.row.cells[i] for line in lines]) if column.compared else None
        if seen is None or seen.rows < 2:
            continue
        digits = column.decimals
        strictest = f" ({seen.strictest:.{digits}f})" if seen.family > 1 else ""
        of_several |= seen.family > 1
        half = "more trunks than can be had" if seen.for_half is None else f"{seen.for_half} trunks"
        parts.append(
            f"{column.title} {seen.smallest:.{digits}f}{strictest} with {seen.trunks} trunks, half of it {half}"
        )
    if not parts:
        return []
    brackets = "; in brackets at the strictest step of Holm's correction over the rows" if of_several else ""
    return [
        f"Smallest true difference of two rows that these runs would have shown{where} with {100 * POWER:.0f} % power "
        f"(Welch's test at p < {LEVEL:g}, without correction{brackets}), and the trunks a row that half of it takes; "
        f"the spread between trunks is pooled over rows and taken as known: {'; '.join(parts)}."
    ]
