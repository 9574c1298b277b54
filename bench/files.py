"""Files written whole or not at all: a reader, or a start after a crash, never sees half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a temporary path beside `file`; what is written there takes the place of `file` when the block ends well.

    If the block raises, what was written is removed, and `file` stays as it was. Raises OSError when the temporary file
    cannot take its place.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(file: Path, text: str) -> None:
    """Write text in UTF-8, with its line ends as they are. Raises OSError, and leaves what was there."""
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
