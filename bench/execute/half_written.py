"""What killed processes left half written in the folder of a stage, and when it may be removed."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

TEMPORARY = re.compile(r"\..+\.(\d+|partial)|\.writable-\d+")  # the names of `replacing`, and of `make_folder`
A_DAY = 86_400.0  # seconds


def remove_left(folder: Path) -> None:
    """Remove what killed processes left half written in a stage's folder. Only who holds the folder calls it.

    A plan writes `stage.json` without holding it, perhaps at this moment and on another machine: what is beside that
    stays for a day.
    """
    for file in folder.glob(".*"):
        if not TEMPORARY.fullmatch(file.name):
            continue
        with contextlib.suppress(OSError):  # on NFS, of a file that is open somewhere
            planned = file.name.startswith((".stage.json.", ".writable-"))
            if not planned or time.time() - file.stat().st_mtime > A_DAY:
                file.unlink()
