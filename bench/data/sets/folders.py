"""What lies in a folder of a data set: images, folders, and what is named as if it were one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})


def image_names(folder: Path) -> list[str]:
    """Return the names of the images in a folder, sorted; hidden files are left out."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and os.path.splitext(entry.name)[1].lower() in SUFFIXES  # noqa: PTH122 - a million times
            and _is(entry.is_file)
        )


def folder_names(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is(entry.is_dir))


def _is(question: Callable[[], bool]) -> bool:
    """The answer for a directory's entry; a link that leads to itself is neither, like one that leads nowhere."""
    try:
        return question()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def strange_names(folder: Path) -> list[tuple[str, str]]:
    """Return (name, why) of the entries of a folder that are passed over and look as if they should not be, sorted.

    Those are links that lead nowhere, and what is named as an image and is no file.
    """
    strange: list[tuple[str, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or _is(entry.is_file):
                continue
            if not _is(entry.is_dir) and entry.is_symlink():
                strange.append((entry.name, f"a link that leads nowhere ({os.readlink(entry.path)})"))  # noqa: PTH115
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                kind = "a folder" if _is(entry.is_dir) else "no regular file"
                strange.append((entry.name, f"{kind} that is named as an image"))
    return sorted(strange)
