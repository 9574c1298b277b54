"""`cancel` in a stage's folder: somebody asked that the stage ends, and the others of its grid go on.

It is removed when a grid is started or submitted anew.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

CANCEL = "cancel"


def ask_to_cancel(folder: Path) -> None:
    """Ask that the stage in `folder` does not start, or is not taken for interrupted when it ends. Raises OSError."""
    (folder / CANCEL).touch()


def is_cancelled(folder: Path) -> bool:
    """Whether somebody asked that the stage in `folder` ends."""
    return (folder / CANCEL).exists()


def forget_cancelling(folder: Path) -> None:
    """Let the stage in `folder` run again. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        (folder / CANCEL).unlink()
