"""Contenders that do next to nothing, each in its own way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def work(file: str, name: str, units: int = 1, seconds: float = 0.0) -> Callable[[], int]:
    """Say in a file that a sample was taken."""

    def sample() -> int:
        with Path(file).open("a") as out:
            print(name, file=out)
        print("libraries print what they like")
        time.sleep(seconds)
        return units

    return sample


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
    """Leave without a word, as a process killed for its memory does."""
    return lambda: os._exit(9)
