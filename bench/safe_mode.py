"""Safe mode: configs are read as plain data alone, and no code is run that a config names.

`BENCH_SAFE=1` says it, so that the processes of stages inherit it; `--safe` sets that for one command.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bench.errors import BadInput

VARIABLE = "BENCH_SAFE"
FROM_RECORD = "record"  # its value while a record is planned: safe, and nothing is fetched


class NotSafe(BadInput):
    """What is asked for would run code that a config names, or fetch something, which safe mode does not."""


def is_safe() -> bool:
    """Whether configs are read as plain data alone."""
    return os.environ.get(VARIABLE, "").lower() not in ("", "0", "false", "no")


def may_fetch() -> bool:
    """Whether a config by URL may be fetched: only where a person named it and asked for safe mode."""
    return is_safe() and os.environ.get(VARIABLE) != FROM_RECORD


def remedy() -> str:
    """Return what to do about what safe mode refuses."""
    if os.environ.get(VARIABLE) == FROM_RECORD:
        return "give --no-safe where you trust the record."
    return "leave out --safe where you trust it."


@contextmanager
def safe_mode(value: str = "1") -> Iterator[None]:
    """Be safe within the block, with the processes that it starts."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
