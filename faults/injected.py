"""Dying at a chosen call: before or after the n-th time that a process replaces, syncs, links, removes or opens a file.

Only the campaign's forks install this; nothing in the package knows of it. With a place to count, a process writes
there at its end how often it called each, from which the calls to die at are drawn.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CALLS = ("replace", "rename", "fsync", "link", "unlink", "open")


@dataclass(frozen=True)
class Death:
    """Where a process dies: `role` is "grid" (the one that walks the stages) or the kind of a stage."""

    role: str
    call: str
    number: int  # from 1
    after: bool  # the call, or before it

    def words(self) -> str:
        """What figures say."""
        return f"{self.role}, {'after' if self.after else 'before'} {self.call}"


class Calls:
    """Counts the calls of this process, and ends it at the one that was chosen."""

    def __init__(self, death: Death | None, counts: Path | None, died: Path) -> None:
        self.death, self.counts, self.died = death, counts, died
        self.role = "grid"
        self.made: Counter[str] = Counter()

    def install(self) -> None:
        """Put a layer around each of CALLS, once a process tree: forks inherit it."""
        for name in CALLS[:-1]:
            setattr(os, name, self._around(name, getattr(os, name)))
        opened = self._around("open", io.open)
        builtins.open, io.open = opened, opened  # type: ignore[assignment]

    def becomes(self, role: str) -> None:
        """Count from zero under another role, in a fork."""
        self.role = role
        self.made.clear()

    def ended(self) -> None:
        """Write down what was counted, before this process leaves."""
        if self.counts is not None:
            line = json.dumps({"role": self.role, "calls": dict(self.made)}) + "\n"
            handle = os.open(self.counts, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(handle, line.encode())
            os.close(handle)

    def _around(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            if name == "open" and not _writes(words, named):
                return original(*words, **named)
            self.made[name] += 1
            mine = self.death is not None and (self.death.role, self.death.call) == (self.role, name)
            here = mine and self.death is not None and self.death.number == self.made[name]
            if here and self.death is not None and not self.death.after:
                self._die()
            given = original(*words, **named)
            if here:
                self._die()
            return given

        return call

    def _die(self) -> None:
        with contextlib.suppress(OSError):
            handle = os.open(self.died, os.O_WRONLY | os.O_CREAT)
            os.write(handle, f"{os.getpid()}\n".encode())
            os.close(handle)
        os.kill(os.getpid(), signal.SIGKILL)


def _writes(words: tuple[Any, ...], named: dict[str, Any]) -> bool:
    mode = words[1] if len(words) > 1 else named.get("mode", "r")
    return isinstance(mode, str) and bool(set(mode) & set("wax+"))
