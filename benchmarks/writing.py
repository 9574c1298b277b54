"""Figures and tables as the page writes them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence


def number(value: float) -> str:
    """Write a figure with three digits, without powers of ten where that reads well."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2e}" if value < 0.001 else f"{value:.3g}"


def times(value: float) -> str:
    """Write a ratio."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def spread(values: Iterable[float], write: Callable[[float], str]) -> str:
    """Write a median with the lowest and the highest value."""
    figures = list(values)
    middle = write(statistics.median(figures))
    return middle if len(figures) == 1 else f"{middle} ({write(min(figures))} to {write(max(figures))})"


def escaped(text: str) -> str:
    """Return text without meaning in Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*|<[" else letter for letter in text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Write a Markdown table whose first `left` columns are text."""
    rules = [":---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rules, *rows))
