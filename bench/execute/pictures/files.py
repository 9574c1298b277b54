"""Panels of pictures as files: images in WebP, named by their content, and `pictures.json`, which lists them."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image

from bench.execute.stage_file import make_folder
from bench.files import replacing, write_text
from bench.printable import cut_middle, without_unprintable
from bench.results.report.picture_files import FOLDER, INDEX, MOST_BYTES, VERSION, Kind

LOCK = "writing.lock"  # in FOLDER
# (size of an image, quality of WebP) in the order in which they are tried until all images are below the limit
LADDER = ((1.0, 80), (1.0, 60), (0.8, 50), (0.6, 40), (0.4, 35), (0.3, 30))
SMALL = 96  # pixels: what is smaller on its long side is enlarged by a whole number
LONGEST = 160  # characters of a text
OURS = re.compile(r"[0-9a-f]{16}\.webp")


@dataclass(frozen=True)
class Cell:
    """One picture: pixels h×w×3 uint8 that are shown at most `most` pixels long.

    `blocks` (height, width) makes them squares of one colour on a picture of that shape, without loss. `as_is` keeps
    the size, and loses nothing.
    """

    pixels: np.ndarray
    alt: str
    caption: str = ""
    most: int = 320
    blocks: tuple[int, int] | None = None
    as_is: bool = False


@dataclass(frozen=True)
class Row:
    """Cells side by side; None where there is nothing to show."""

    label: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Panel:
    """A table of pictures."""

    kind: Kind
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Written:
    """What was written: the file that lists all, and how many images there are, of how many bytes."""

    file: Path
    images: int
    size: int
    shown: int  # bytes, with each image as often as it is shown


def write(panels: Sequence[Panel], work_dir: Path) -> Written:
    """Write panels below a work folder, in the place of those that were there; equal panels give equal bytes.

    `pictures.json` takes its place last and at once, when all images that it names are there. Raises BadInput where
    the folder cannot be written, CannotWrite where a file cannot.
    """
    folder = work_dir / FOLDER
    make_folder(folder, "--work-dir")
    for scale, quality in LADDER:
        encoded = {id(cell): _encoded(cell, scale, quality) for cell in _cells(panels)}
        contents = {_name(content): content for content in encoded.values()}
        if (shown := sum(len(encoded[id(cell)]) for cell in _cells(panels))) <= MOST_BYTES:
            break
    listed = {
        "version": VERSION,
        "panels": [_listed(panel, {cell: _name(content) for cell, content in encoded.items()}) for panel in panels],
    }
    with FileLock(folder / LOCK):
        for name, content in contents.items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(content)
        write_text(folder / INDEX, json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
        for file in folder.iterdir():
            if OURS.fullmatch(file.name) and file.name not in contents:
                file.unlink()
    return Written(folder / INDEX, len(contents), sum(map(len, contents.values())), shown)


def plain(text: str, most: int = LONGEST) -> str:
    """Return a text, such as the name of a file, on one line that any file and page can hold, and not too long."""
    return cut_middle(without_unprintable(text), most)


def reduced(pixels: np.ndarray, most: int) -> np.ndarray:
    """Return an image h×w×3 uint8 at most `most` pixels long, or a small one enlarged by a whole number."""
    height, width = pixels.shape[:2]
    tall, wide = _fitting((height, width), most)
    if (tall, wide) == (height, width):
        return pixels
    how = Image.Resampling.NEAREST if tall > height else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize((wide, tall), how))


def _fitting(shape: tuple[int, int], most: int) -> tuple[int, int]:
    """The height and width that something of a shape is shown at."""
    longest = max(shape)
    factor = most / longest if longest > most else max(1, math.ceil(min(SMALL, most) / longest))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def _cells(panels: Sequence[Panel]) -> Iterator[Cell]:
    return (cell for panel in panels for row in panel.rows for cell in row.cells if cell is not None)


def _encoded(cell: Cell, scale: float, quality: int) -> bytes:
    stream, most = io.BytesIO(), max(1, round(cell.most * scale))
    if cell.blocks is not None:
        tall, wide = _fitting(cell.blocks, most)
        picture = Image.fromarray(cell.pixels).resize((wide, tall), Image.Resampling.NEAREST)
    else:
        picture = Image.fromarray(cell.pixels if cell.as_is else reduced(cell.pixels, most))
    if cell.blocks is not None or cell.as_is:
        picture.save(stream, "WEBP", lossless=True, quality=80, method=4, exact=True)
    else:
        picture.save(stream, "WEBP", quality=quality, method=4)
    return stream.getvalue()


def _name(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()[:16]}.webp"


def _listed(panel: Panel, names: dict[int, str]) -> dict[str, Any]:
    def shown(cell: Cell | None) -> dict[str, str] | None:
        if cell is None:
            return None
        return {"file": names[id(cell)], "alt": plain(cell.alt, 600), "caption": plain(cell.caption)}

    return {
        "kind": panel.kind,
        "title": plain(panel.title),
        "caption": plain(panel.caption, 2000),
        "columns": [plain(column) for column in panel.columns],
        "rows": [{"label": plain(row.label), "cells": [shown(cell) for cell in row.cells]} for row in panel.rows],
    }
