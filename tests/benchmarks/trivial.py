"""Contenders that do next to nothing, each in its own way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def work(file: str, name: str, units: int = 1) -> Callable[[], int]:
    """Say in a file that a sample was taken."""

    def sample() -> int:
        with Path(file).open("a") as out:
            print(name, file=out)
        print("libraries print what they like")
        return units

    return sample


def on(device: str) -> Callable[[], int]:
    """Do nothing, on a device."""
    return lambda: len(device)


def slow(seconds: float) -> Callable[[], int]:
    """Take longer than the deadline."""

    def sample() -> int:
        time.sleep(seconds)
        return 1

    return sample


def starts_another(file: str) -> Callable[[], int]:
    """Start a process that stays, and write its number to a file."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(file).write_text(str(child.pid))
    return lambda: 1


def breaks(after: int) -> Callable[[], int]:
    """Raise in the sample after `after` good ones."""
    left = after

    def sample() -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError("the disk is full")
        return 1

    return sample


def dies() -> Callable[[], int]:
    """Exit without a message, as a process killed for its memory does."""
    return lambda: os._exit(9)
