"""Images as packs store them: decoded, shrunk and encoded, by other processes where there are many."""

from __future__ import annotations

import io
import os
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.decode import Undecodable, read_rgb
from bench.data.packs.manifest import Form
from bench.data.packs.reading import source_hash
from bench.errors import BadInput, StageFailed

CHUNK = 16  # images that a worker is handed at once


@dataclass(frozen=True)
class Encoded:
    """One image as it is stored, or why it cannot be read."""

    source: bytes  # hash of its file
    height: int = 0
    width: int = 0
    payload: bytes = b""
    reason: str | None = None


def shrink(image: Image.Image, short_side: int) -> Image.Image:
    """Return an image with its short side resized to `short_side` pixels if it is longer.

    Bilinear, and sizes cut off, as `make_test_view` does; resizing the result to the same side changes no bit of it.
    """
    short = min(image.size)
    if short <= short_side:
        return image
    width, height = (int(short_side * side / short) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def encode(content: bytes, form: Form, file: Path) -> Encoded:
    """Return a file's content as it is stored. Raises BadInput for an image that the format cannot hold."""
    source = source_hash(content)
    try:
        image = shrink(read_rgb(io.BytesIO(content)), form.short_side)
    except Undecodable as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None
        return Encoded(source, reason=str(error))
    pixels = np.asarray(image)
    height, width, _ = pixels.shape
    if form.format == "uint8":
        return Encoded(source, height, width, pixels.tobytes())
    jpeg = io.BytesIO()
    try:
        # From the pixels alone: an image object would carry the comment of its file along.
        Image.fromarray(pixels).save(jpeg, "JPEG", quality=form.quality)
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} ({width}×{height} pixels) cannot be stored as JPEG; give --format uint8.") from error
    return Encoded(source, height, width, jpeg.getvalue())


def encode_files(root: str, names: Sequence[str], form: Form) -> list[Encoded]:
    """Return files of a folder as they are stored. Raises BadInput for one that cannot be opened."""
    encoded = []
    for name in names:
        file = Path(root, name)
        try:
            content = file.read_bytes()
        except OSError as error:  # of a disk or a permission, not of the image
            raise BadInput(f"Cannot read {file}: {error.strerror}; correct its permissions or its disk.") from error
        encoded.append(encode(content, form, file))
    return encoded


def encode_all(root: Path, names: Sequence[str], form: Form, workers: int) -> Generator[Encoded, None, None]:
    """Yield images in order, whatever the number of processes that encode them."""
    chunks = (names[start : start + CHUNK] for start in range(0, len(names), CHUNK))
    if workers <= 1:
        for name in names:
            yield from encode_files(str(root), [name], form)
        return
    # Spawned: a fork would inherit whatever threads and locks this process has.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _follow, (os.getpid(),))
    jobs = (pool.submit(encode_files, str(root), chunk, form) for chunk in chunks)
    try:
        waiting = deque(islice(jobs, 3 * workers))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(islice(jobs, 1))
            yield from done
    except BrokenProcessPool as error:
        raise StageFailed("A packing process was killed (out of memory?); give fewer --workers and go on.") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _follow(parent: int) -> None:
    """In a worker: leave Ctrl-C to the parent, and end when it has ended in whatever way."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
