"""Pictures of a work folder -> panels for a page: `pictures/pictures.json` and the images that it names."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import BadInput
from bench.results.report.picture_files import FOLDER, INDEX, MOST_BYTES, Kind
from bench.results.report.shown import Panel, Picture

MOST_OF_ONE = 400_000
MOST_LISTED = 5_000_000  # bytes of what lists them

# How files begin, and what they are. No SVG: it may hold scripts.
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Cell(_Read):
    file: str
    alt: str = ""
    caption: str = ""


class _Row(_Read):
    label: str
    cells: tuple[_Cell | None, ...]


class _Panel(_Read):
    kind: Kind
    title: str
    caption: str = ""
    columns: tuple[str, ...]
    rows: tuple[_Row, ...]


class _Pictures(_Read):
    version: Literal[1]
    panels: tuple[_Panel, ...]


def read_panels(work_dirs: Sequence[Path], most: int = MOST_BYTES) -> tuple[list[Panel], list[str]]:
    """Return the panels of work folders, and a sentence for each thing that was left out.

    Pictures are taken in their order until their files have `most` bytes together. Raises BadInput for a file that is
    not as `bench pictures` writes it, for an image outside its folder, and for one that is no image.
    """
    panels: list[Panel] = []
    left, left_out = most, 0
    for folder in (work / FOLDER for work in work_dirs):
        if not (folder / INDEX).is_file():
            continue
        for panel in _read(folder / INDEX).panels:
            rows = []
            for row in panel.rows:
                cells: list[Picture | None] = []
                for cell in row.cells:
                    if cell is None:
                        cells.append(None)
                        continue
                    file, kind = _image(folder, cell.file)
                    size = file.stat().st_size
                    taken = size <= min(left, MOST_OF_ONE)
                    left -= size if taken else 0
                    left_out += not taken
                    cells.append(Picture(cell.alt, cell.caption, _uri(file, kind) if taken else None))
                rows.append((row.label, tuple(cells)))
            panels.append(Panel(panel.kind, panel.title, panel.caption, panel.columns, tuple(rows)))
    return panels, list(_said(left_out, most))


def _said(left_out: int, most: int) -> Iterator[str]:
    if left_out:
        yield (
            f"{left_out} picture{'s' if left_out > 1 else ''}: a page holds {most / 1e6:.1f} MB of them, and none "
            f"above {MOST_OF_ONE / 1e6:.1f} MB; the files are in the work folder's pictures."
        )


def _read(file: Path) -> _Pictures:
    try:
        if file.stat().st_size > MOST_LISTED:
            raise BadInput(f"{file} is larger than a page may be; make it anew.")
        found = _Pictures.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise BadInput(f"{file} does not list pictures as it should ({reason}); make it anew.") from error
    for panel in found.panels:
        if wrong := [row.label for row in panel.rows if len(row.cells) != len(panel.columns)]:
            raise BadInput(
                f"{file} has {len(panel.columns)} columns in the panel {panel.title!r} and another number of pictures "
                f"in its row {wrong[0]!r}; make it anew."
            )
    return found


def _image(folder: Path, name: str) -> tuple[Path, str]:
    """The file of an image inside `folder`, and its kind, by how it begins."""
    file = folder / name
    try:
        inside = file.resolve(strict=True).is_relative_to(folder.resolve())
        start = _start(file) if inside else b""
    except (OSError, ValueError, RuntimeError) as error:  # not there; a null character; a loop of links
        raise BadInput(f"{folder / INDEX} names the image {name!r}, which cannot be read; make it anew.") from error
    if not inside:
        raise BadInput(f"{folder / INDEX} names the image {name!r}, which lies outside its folder; make it anew.")
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return file, "image/webp"
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return file, kind
    raise BadInput(f"{folder / INDEX} names {name!r}, which is no PNG, JPEG, GIF or WebP image; make it anew.")


def _start(file: Path) -> bytes:
    if not file.is_file():  # a pipe would have no end
        raise FileNotFoundError(file)
    with file.open("rb") as opened:
        return opened.read(12)


def _uri(file: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
