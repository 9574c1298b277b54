"""A cell as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.results.interventions import INTERVENED
from bench.results.other_code import MARK
from bench.results.sections import EMPTY, Cell, Column
from bench.results.statistics import THESE_WEIGHTS


@dataclass(frozen=True)
class Shown:
    """What a cell says beside mean and spread."""

    counts: bool = True  # how many trunks and runs
    marks: bool = True  # what to doubt
    verdicts: bool = True  # difference to the baseline row, and whether it can be told from it


ALL = Shown()


def cell_text(
    cell: Cell | None, column: Column, bold: str = "{}", escape: Callable[[str], str] = str, shown: Shown = ALL
) -> str:
    """Return a cell as text: `64.97 ± 0.30 (3) +0.22 ≈`; one value has no ±, a published one has no number of trunks.

    In a column of several data sets, each of which has its own baseline, the difference is in brackets.
    """
    if cell is None:
        return escape(EMPTY)
    digits = column.decimals
    mean = signed(cell.summary.mean, digits) if cell.signed else f"{cell.summary.mean:.{digits}f}"
    if cell.published:
        plain = cell.difference is None or not shown.verdicts
        return escape(mean if plain or cell.difference is None else f"{mean} ({signed(cell.difference, digits)})")
    text = bold.format(escape(mean)) if cell.best else escape(mean)
    text += escape(THESE_WEIGHTS) if shown.marks and cell.best and cell.best_about == "weights" else ""
    spread = cell.summary.within if cell.summary.between is None else cell.summary.between
    if spread is not None:
        text += escape(f" ± {spread:.{digits}f}")
    if shown.counts:
        text += escape(f" ({_counts(cell, digits)})")
    if shown.marks and cell.other_code:
        text += escape(f" {MARK}")
    if shown.marks and cell.interventions:
        text += escape(f" {INTERVENED}")
    if shown.verdicts and cell.difference is not None and cell.verdict is not None:
        words = f"{signed(cell.difference, digits)} {cell.verdict.symbol}"
        words += THESE_WEIGHTS if cell.verdict.about == "weights" else ""
        text += escape(f" ({words})" if column.mixed else f" {words}")
    return text


def counts_of(cell: Cell) -> str:
    """Return `3` trunks, `3×5` where each has five task seeds, `3, 14 runs` where they have differently many."""
    summary = cell.summary
    if summary.within is None:
        return str(summary.n)
    seeds = {len(values) for values in cell.values}
    return f"{summary.n}×{min(seeds)}" if len(seeds) == 1 else f"{summary.n}, {summary.count} runs"


def _counts(cell: Cell, digits: int) -> str:
    """The counts, and the spread within trunks where ± is that between them."""
    summary, counts = cell.summary, counts_of(cell)
    if summary.within is None:
        return counts
    return counts if summary.between is None else f"{counts}, within {summary.within:.{digits}f}"


def signed(value: float, digits: int) -> str:
    """A difference with its sign; what rounds to nothing has none, and the minus is a real one."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")
