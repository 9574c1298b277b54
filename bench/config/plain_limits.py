"""What plain data may be: how large, how deep; and the error that says what is none, with its line."""

from __future__ import annotations

import math

MOST_BYTES = 2**17  # of one file
MOST_VALUES = 20_000  # of one file, those that names repeat included
DEEPEST = 40  # levels of lists and dictionaries
LARGEST = 2**63  # of whole numbers


class NotPlain(Exception):
    """A config's text is no plain data.

    Attributes:
        line: counted from 1; None where it concerns the whole text.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


def checked_number(value: int | float, line: int) -> int | float:
    """Return a number that is finite and, if whole, below LARGEST. Raises NotPlain for another."""
    if isinstance(value, float) and not math.isfinite(value):
        raise NotPlain("a number is not finite", line)
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise NotPlain("a whole number has more than 63 bits", line)
    return value


class Counter:
    """Counts the values of a text, and refuses too many, or too deep ones."""

    def __init__(self) -> None:
        self.values = 0

    def add(self, line: int, depth: int, values: int = 1) -> None:
        """Count values whose innermost lies at `depth`. Raises NotPlain beyond MOST_VALUES or DEEPEST."""
        self.values += values
        if self.values > MOST_VALUES:
            raise NotPlain(f"it has more than {MOST_VALUES} values", line)
        if depth > DEEPEST:
            raise NotPlain(f"it is nested more than {DEEPEST} levels deep", line)
