"""A split of small images as one array, for what keeps all of it in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from bench.data.decode import Undecodable, read_array
from bench.data.sets import Index
from bench.errors import BadInput
from bench.progress import Progress

CHUNK = 4096  # images that are read at once


def load_pixels(index: Index) -> np.ndarray:
    """Return all images of a split in its order, N×H×W×3 uint8 in one piece of memory, with a progress display.

    What lies in one piece already is returned as it is, and may be read-only.

    Raises BadInput when images differ in size, one cannot be read, or there is none.
    """
    if isinstance(index.pixels, np.ndarray) and index.pixels.flags.c_contiguous:
        return index.pixels
    count = len(index.files)
    if not count:
        raise BadInput(f"{index.split} of {index.dataset} at {index.root} has no images; add them.")
    found: np.ndarray | None = None
    done = 0
    with Progress(f"{index.dataset} {index.split}", count, "images") as progress:
        for images in _copied(index) if index.pixels is not None else _decoded(index):
            if found is None:
                found = np.empty((count, *images[0].shape), np.uint8)
            for image in images:
                if image.shape != found.shape[1:]:
                    raise BadInput(_sizes(index, done, image.shape, found.shape[1:]))
                found[done] = image
                done += 1
            progress.update(len(images))
    assert found is not None
    return found


def _copied(index: Index) -> Iterator[np.ndarray | list[np.ndarray]]:
    assert index.pixels is not None
    for start in range(0, len(index.pixels), CHUNK):
        yield index.pixels[start : start + CHUNK]


def _decoded(index: Index) -> Iterator[np.ndarray | list[np.ndarray]]:
    rest = iter(index.files)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while chunk := list(islice(rest, CHUNK)):
            yield list(pool.map(partial(_read, index.root), chunk))


def _read(root: Path, file: str) -> np.ndarray:
    try:
        return read_array(root / file)
    except Undecodable as error:
        raise BadInput(
            f"Cannot read {root / file} ({error}); mend or remove it (bench data check lists all such files)."
        ) from error


def _sizes(index: Index, position: int, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    return (
        f"{index.root / index.files[position]} has {found[1]}×{found[0]} pixels, but {index.files[0]} has "
        f"{expected[1]}×{expected[0]}; images that lie in memory together must have one size: resize them, or set "
        "view_backend to 'fast'."
    )
