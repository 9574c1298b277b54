"""How often Welch's test calls equal rows different where they have very differently many trunks."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results.power import power_of
from bench.results.sections import Column, Line
from bench.results.statistics import LEVEL, error_of_mean

UNEQUAL = 2  # times as many trunks as the other row, from which something is said
TOLERATED = 1.1  # times the level, up to which a test keeps it well enough


def level_of(n: int, others: int, level: float = LEVEL) -> float:
    """Return the probability that two equal rows of `n` and `others` trunks are called different at p < `level`.

    Of normal values of the same spread in both rows; each row has at least two trunks.
    """
    return power_of(0.0, 1.0, n, others, level)


def too_often(n: int, others: int, tests: int = 1) -> str | None:
    """Say how often equal rows are called different, where that is more often than the test promises; else None.

    `tests` is the size of the family whose smallest p the strictest step of Holm's correction multiplies.
    """
    few, many = sorted((n, others))
    if few < 2 or many < UNEQUAL * few:
        return None
    plain, strictest = level_of(few, many), level_of(few, many, LEVEL / tests)
    if plain <= TOLERATED * LEVEL and strictest <= TOLERATED * LEVEL / tests:
        return None
    said = f"{_percent(plain)} instead of {_percent(LEVEL)}"
    if tests > 1:
        said += (
            f", at the strictest step of Holm's correction {_percent(strictest)} instead of {_percent(LEVEL / tests)}"
        )
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.01 else f"{100 * share:.2g} %"


def unequal_notes(lines: Sequence[Line], columns: Sequence[Column], where: str = "") -> list[str]:
    """Return the note on rows of a group with very differently many trunks; none where the test keeps its level.

    `where` says which rows, such as " on cifar10".
    """
    found: dict[str, list[str]] = {}
    for i, column in enumerate(columns):
        cells = [cell for line in lines if (cell := line.row.cells[i]) is not None and column.compared]
        trunks = [cell.summary.n for cell in cells if cell.summary.n > 1]
        if not any(cell.summary.between for cell in cells):  # so that nothing is tested
            continue
        few, many = min(trunks), max(trunks)
        tests = sum(error_of_mean(cell.values) is not None for cell in cells) - 1
        if said := too_often(few, many, max(tests, 1)):
            found.setdefault(f"{few} trunks against {many}, {said}", []).append(column.title)
    if not found:
        return []
    parts = "; ".join(f"{words} ({', '.join(titles)})" for words, titles in found.items())
    return [
        f"Differently many trunks{where}: Welch's test calls equal rows different more often than it promises, with "
        f"{parts}. Run rows with equally many."
    ]
