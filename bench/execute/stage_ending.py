"""How a stage's process ended, in words."""

from __future__ import annotations

import signal
import traceback
from pathlib import Path

from pydantic import BaseModel

from bench.errors import one_line, ran_out_of_memory
from bench.files import write_text

REPORT = "error.log"  # in a stage's folder: the traceback of what ended it

# Settings that decide how much memory a stage takes, with what to do about them.
_MEMORY = {"workers": "lower", "accumulate": "raise", "batch_size": "lower"}


def how_it_ended(code: int, config: BaseModel) -> str:
    """Say what an exit code of a stage with that config means: "failed (exit code 1)", or which signal ended it.

    A code below zero is that of a signal, as in `subprocess`. Of SIGKILL, which a system sends when memory is short, it
    names the settings that take less.
    """
    if code >= 0:
        return f"failed (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    words = f"ended by {name}"
    if -code == signal.SIGKILL:
        words += "; the machine may have run out of memory" + _advice(config)
    return words


def kept_traceback(folder: Path) -> str:
    """Write the traceback of the error at hand into a stage's folder, and return where it is, for people."""
    try:
        write_text(folder / REPORT, traceback.format_exc() + "\n")
    except OSError:  # a full disk must not hide what went wrong
        return f"its traceback could not be written to {folder}"
    return f"traceback: {folder / REPORT}"


def what_broke(error: BaseException, config: BaseModel) -> str:
    """Say what an error of a stage with that config was; of one about memory with the settings that take less."""
    words = one_line(error, kind=True)
    return f"{words}; memory ran out{_advice(config, now=True)}" if ran_out_of_memory(error) else words


def _advice(config: BaseModel, now: bool = False) -> str:
    """Return ": lower workers, or …" of the settings that a config has, and what they are `now`; "" if it has none."""
    known = type(config).model_fields
    if advice := [
        f"{verb} {setting}{_now(config, setting) if now else ''}"
        for setting, verb in _MEMORY.items()
        if setting in known
    ]:
        return f": {', or '.join(advice)} (--set; all but workers make it another run)"
    return ""


def _now(config: BaseModel, setting: str) -> str:
    value = getattr(config, setting, None)
    return f" (now {value})" if value is not None else ""
