"""What is fuzzed: a kind of input is a class that makes cases, and says what reading one should give.

A case is a function of (seed, number). It fails where reading raises anything but the errors that have words for
people, where content other than the original is taken for it although a checksum or a reference decoder tells, and
where it takes more time or memory than any such small input should.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal

# What reading gave: what was written; something else, which no checksum tells from it; something else although one
# does, or although the reference refuses it.
Read = Literal["same", "other", "silent"]


class Input(ABC):
    """A kind of input. `prepare` is called once in an empty folder, before any case."""

    name: ClassVar[str]
    share: ClassVar[int] = 1  # of the cases
    refusals: ClassVar[tuple[type[Exception], ...]] = ()  # what a reader raises besides BadInput, by its docstring

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def prepare(self) -> None:
        """Write the originals."""

    @abstractmethod
    def case(self, draw: random.Random) -> Any:
        """Return a case: what `read` is given. It must not depend on earlier cases."""

    @abstractmethod
    def read(self, case: Any) -> Read:
        """Read a case as the program would. Raises what the readers raise."""


def same(a: Any, b: Any) -> bool:
    """Whether two values hold the same, tensors and arrays to the bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if hasattr(a, "dtype") and hasattr(b, "dtype"):
        alike = a.dtype == b.dtype and a.shape == b.shape
        return bool(
            alike
            and (a.numpy() if hasattr(a, "numpy") else a).tobytes()
            == (b.numpy() if hasattr(b, "numpy") else b).tobytes()
        )
    return type(a) is type(b) and a == b
