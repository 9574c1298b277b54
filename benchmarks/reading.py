"""Contenders that read images from files and from packs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import photographs

from bench.data.decode import read_array, read_rgb
from bench.data.packs.manifest import Form
from bench.data.packs.reading import open_pack
from bench.data.packs.writing import pack

FORMS = {"jpeg": {"format": "jpeg"}, "uint8": {"format": "uint8", "quality": None}}


def prepare(quick: bool, images: Path | None, place: Path) -> photographs.Prepared:
    """Lay out photographs and pack them; return {"folder": …, "jpeg": …, "uint8": …}."""
    values, notes = photographs.prepare(quick, images, place)
    for name, form in FORMS.items():
        made, _ = pack("coco", Path(values["folder"]), "train", Form.model_validate(form), to=place / name, workers=1)
        values[name] = str(made.folder)
    return values, [*notes, "Packs hold them with a short side of 256 pixels."]


def read(passes: int, folder: str, how: str) -> Callable[[], int]:
    """Read all images `passes` times, on one core, from what the page cache holds.

    Every image's pixels are copied, as whoever uses them would touch them all.

    Args:
        passes: over all images.
        folder: of photographs, or a pack.
        how: by pillow or opencv (files, at their full size), or pack (at the size that was packed).
    """
    cv2.setNumThreads(1)
    if how == "pack":
        opened = open_pack(Path(folder))
        count, one = len(opened), opened.read
    else:
        files = photographs.listed(folder)
        decode = read_array if how == "opencv" else lambda file: np.asarray(read_rgb(file))
        count, one = len(files), lambda number: decode(files[number])

    buffer = np.empty(max(one(number).size for number in range(count)), np.uint8)

    def sample() -> int:
        for _ in range(passes):
            for number in range(count):
                pixels = one(number)
                buffer[: pixels.size] = pixels.reshape(-1)
        return passes * count

    return sample
