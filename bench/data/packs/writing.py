"""Writing packs (`bench data pack`): one process writes, in order, what others have decoded and shrunk.

So the bytes do not depend on the number of processes. Data reach the disk before the rows of the index that speak of
them, so that an interrupted pack goes on after its last whole row; it is a pack only once all is there and its folder
has its name. This module does not import torch.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import threading
import time
import zlib
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Literal

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from bench.data.decode import Undecodable, read_rgb
from bench.data.packs.manifest import (
    FOLDER,
    INDEX,
    MANIFEST,
    NAMES,
    PACKABLE,
    PARTIAL,
    VARIABLE,
    Form,
    Manifest,
    data_file,
    decoders,
    folder_name,
)
from bench.data.packs.reading import ROW, Pack, open_pack, sha256, source_hash
from bench.data.sets import SMALL, fingerprint, index
from bench.errors import BadInput, StageFailed
from bench.progress import Progress

Unreadable = Literal["fail", "skip"]

FILE_BYTES = 4 << 30  # of one data file, about
COMMIT_IMAGES, COMMIT_BYTES = 1024, 64 << 20  # after so many the disk is waited for
CHUNK = 16  # images that a worker is handed at once
FEW = 1024  # images for which starting processes would take longer than packing
SAMPLE = 32  # images that are packed to say how large all will be
BEGUN = "begun.json"
MARKED = ROW.itemsize - 4  # bytes of a row that its mark is taken of


@dataclass(frozen=True)
class Encoded:
    """One image as it is stored, or why it cannot be read."""

    source: bytes  # hash of its file
    height: int = 0
    width: int = 0
    payload: bytes = b""
    reason: str | None = None


# ----------------------------------------------------------------------------------------------- encoding


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


def _encode_files(root: str, names: Sequence[str], form: Form) -> list[Encoded]:
    encoded = []
    for name in names:
        file = Path(root, name)
        try:
            content = file.read_bytes()
        except OSError as error:
            # A disk or a permission that fails now may not fail when it is read: that is no property of the image.
            raise BadInput(f"Cannot read {file}: {error.strerror}; mend its permissions or its disk.") from error
        encoded.append(encode(content, form, file))
    return encoded


def _encoded(root: Path, names: Sequence[str], form: Form, workers: int) -> Generator[Encoded, None, None]:
    """Yield images in order, whatever the number of processes that encode them."""
    chunks = (names[start : start + CHUNK] for start in range(0, len(names), CHUNK))
    if workers <= 1:
        for chunk in chunks:
            for name in chunk:
                yield from _encode_files(str(root), [name], form)
        return
    # Spawned: a fork would inherit whatever threads and locks this process has.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _follow, (os.getpid(),))
    waiting: deque[Future[list[Encoded]]] = deque()
    try:
        for chunk in islice(chunks, 3 * workers):
            waiting.append(pool.submit(_encode_files, str(root), chunk, form))
        while waiting:
            done = waiting.popleft().result()
            for chunk in islice(chunks, 1):
                waiting.append(pool.submit(_encode_files, str(root), chunk, form))
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


# ------------------------------------------------------------------------------------------------ writing


def pack(
    dataset: str,
    root: Path,
    split: str,
    form: Form,
    *,
    to: Path | None = None,
    workers: int | None = None,
    unreadable: Unreadable = "fail",
) -> tuple[Pack, bool]:
    """Pack a split, or finish what an interrupted packing left; return the pack, and whether it was there already.

    Args:
        dataset: coco, imagenet or imagenet100.
        root: its folder.
        split: train or val.
        form: how images are stored.
        to: the folder that packs lie in; None: `.bench-pack` in the root.
        workers: processes that decode; None: one a core, or none for few images. The bytes do not depend on it.
        unreadable: an image that cannot be read raises BadInput that names it (`fail`), or keeps its position and is
            unreadable in the pack, too (`skip`).

    Raises BadInput for wrong data, a folder that cannot be written, too small a disk, or data that change meanwhile.
    """
    names = index(dataset, root, split).files
    if dataset in SMALL:
        raise BadInput(f"{dataset}'s images are small already, and no pack is read for them; train without one.")
    if dataset not in PACKABLE:
        raise BadInput(f"{dataset} is read at its full size, which no pack holds; pack {', '.join(PACKABLE)}.")
    place = (to or root / FOLDER).absolute()
    known = place / ".fingerprints.json"
    try:
        place.mkdir(parents=True, exist_ok=True)  # before the fingerprint's cache notes when the root last changed
        mark = fingerprint(dataset, root, known)
        folder = place / folder_name(dataset, mark, form) / split
        folder.parent.mkdir(exist_ok=True)
        lock = FileLock(folder.parent / f".{split}.lock")
        lock.acquire(blocking=False)
    except Timeout:
        raise BadInput(f"{folder} is being packed by another process; wait for it.") from None
    except OSError as error:
        raise BadInput(
            f"Cannot write to {place} ({error.strerror}); mend its permissions, or give --to DIR and set "
            f"{VARIABLE} to the same, so that the pack is found."
        ) from error
    try:
        if (folder / MANIFEST).is_file():
            try:
                return open_pack(folder, fingerprint=mark), True
            except BadInput as error:
                print(f"{error} Packing again.", flush=True)
        with Writer(folder, dataset, split, mark, form, root, names) as writer:
            writer.write(_count(workers, len(names)), unreadable)
            if fingerprint(dataset, root) != mark:  # of all files, whatever the cache says
                known.unlink(missing_ok=True)
                raise BadInput(f"{dataset} at {root} changed while it was packed; start again when it is at rest.")
            writer.finish()
        return open_pack(folder, fingerprint=mark), False
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO):
            raise
        raise BadInput(
            f"Cannot write to {folder.parent} ({error.strerror}); what was packed stays: make room and start again, "
            "or give --to DIR."
        ) from error
    finally:
        lock.release()


def _count(workers: int | None, images: int) -> int:
    if workers is not None:
        return workers
    return len(os.sched_getaffinity(0)) if images >= FEW else 1


class Writer:
    """Writes a pack into <folder>.partial and gives it its name at the end."""

    def __init__(
        self, folder: Path, dataset: str, split: str, mark: str, form: Form, root: Path, names: Sequence[str]
    ) -> None:
        self.folder, self.dataset, self.split, self.mark, self.form = folder, dataset, split, mark, form
        self.root, self.names = root, names
        self.partial = folder.with_name(folder.name + PARTIAL)
        self.names_bytes = _npy(np.asarray([os.fsencode(name) for name in names]))
        self.rows = self._resume()
        self.first: dict[bytes, int] = {}  # hash of a file -> the first row with it
        for number, source in enumerate(self.rows["source"]):
            self.first.setdefault(source.tobytes(), number)
        stored = self.rows[self.rows["size"] > 0]
        self.file = int(stored["file"].max(initial=0))
        last = stored[stored["file"] == self.file]
        self.offset = int((last["offset"] + last["size"]).max(initial=0))
        self._truncate()
        self.committed, self.uncommitted, self.uncommitted_bytes = len(self.rows), list[bytes](), 0
        self.data: IO[bytes] = (self.partial / data_file(self.file)).open("ab")
        self.index: IO[bytes] = (self.partial / INDEX).open("ab")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.data.close()
        self.index.close()

    # ------------------------------------------------------------------------------------ what was left

    def _resume(self) -> np.ndarray:
        """Return the rows that an interrupted packing of the same data left; anything else is removed."""
        begun = {
            "fingerprint": self.mark,
            "form": self.form.model_dump(),
            "names": hashlib.sha256(self.names_bytes).hexdigest(),
            "decoders": decoders(),
        }
        try:
            same = json.loads((self.partial / BEGUN).read_text(encoding="utf-8")) == begun
        except (OSError, ValueError):
            same = False
        rows = _whole_rows(self.partial / INDEX) if same else None
        if rows is not None and self._holds(rows):
            return rows
        if self.partial.exists():
            shutil.rmtree(self.partial)
        self.partial.mkdir()
        _write(self.partial / BEGUN, json.dumps(begun).encode())
        return np.empty(0, ROW)

    def _holds(self, rows: np.ndarray) -> bool:
        """Whether the data files reach as far as the rows say."""
        for number in np.unique(rows["file"][rows["size"] > 0]):
            mine = rows[(rows["file"] == number) & (rows["size"] > 0)]
            part = self.partial / data_file(int(number))
            if not part.is_file() or part.stat().st_size < int((mine["offset"] + mine["size"]).max()):
                return False
        return True

    def _truncate(self) -> None:
        """Cut off what no row speaks of."""
        for part in self.partial.glob("data-*.bin"):
            if part.name > data_file(self.file):
                part.unlink()
        for file, size in ((data_file(self.file), self.offset), (INDEX, len(self.rows) * ROW.itemsize)):
            with (self.partial / file).open("ab") as opened:
                opened.truncate(size)

    # ----------------------------------------------------------------------------------------- the work

    def write(self, workers: int, unreadable: Unreadable) -> None:
        """Write all images that are not there yet."""
        done = len(self.rows)
        if unreadable == "fail" and done and not self.rows["size"].all():
            self._refuse(int(np.argmin(self.rows["size"])))
        self._check_space(done)
        images = _encoded(self.root, self.names[done:], self.form, workers)
        title = f"pack {self.dataset} {self.split}"
        with closing(images), Progress(title, len(self.names), "images", done=done) as progress:
            for number, image in enumerate(images, done):
                if image.reason is not None and unreadable == "fail":
                    self._refuse(number, image.reason)
                self._add(image, number)
                progress.update(1)
            self._commit()

    def _refuse(self, number: int, reason: str | None = None) -> None:
        file = self.root / self.names[number]
        raise BadInput(
            f"Cannot read {file} ({reason or self._reason(number)}); mend or remove it (bench data check lists all "
            "such files), or give --unreadable skip."
        )

    def _reason(self, number: int) -> str:
        (image,) = _encode_files(str(self.root), [self.names[number]], self.form)
        return image.reason or "it could not be read before"

    def _check_space(self, done: int) -> None:
        rest = self.names[done:]
        if not rest:
            return
        some = [rest[i * len(rest) // SAMPLE] for i in range(SAMPLE)] if len(rest) > SAMPLE else rest
        sizes = [len(image.payload) for image in _encode_files(str(self.root), some, self.form)]
        needed = sum(sizes) / len(sizes) * len(rest) * (1.1 if len(rest) > len(some) else 1)
        needed += ROW.itemsize * len(rest) + len(self.names_bytes)
        free = shutil.disk_usage(self.partial).free
        if free < needed:
            raise BadInput(
                f"Packing {self.dataset} {self.split} takes about {size_words(needed)} more, but {self.folder.parent} "
                f"has {size_words(free)} free; make room, give --to DIR on another disk, or pack smaller (--format "
                "jpeg, --short-side, --quality)."
            )

    def _add(self, image: Encoded, number: int) -> None:
        """Store an image, or refer to the record of an equal one."""
        twin = self.first.setdefault(image.source, number)
        if twin != number:
            row = self._row(twin)
        else:
            fields = np.zeros(1, ROW)
            fields["source"] = np.void(image.source)
            if image.reason is None:
                fields["file"], fields["offset"] = self._store(image.payload)
                fields["size"], fields["height"], fields["width"] = len(image.payload), image.height, image.width
                fields["checksum"] = zlib.crc32(image.payload)
                self.uncommitted_bytes += len(image.payload)
            fields["mark"] = zlib.crc32(fields.tobytes()[:MARKED])
            row = fields.tobytes()
        self.uncommitted.append(row)
        if len(self.uncommitted) >= COMMIT_IMAGES or self.uncommitted_bytes >= COMMIT_BYTES:
            self._commit()

    def _row(self, number: int) -> bytes:
        """Return a row that was written or is about to be."""
        if number >= self.committed:
            return self.uncommitted[number - self.committed]
        with (self.partial / INDEX).open("rb") as opened:
            opened.seek(number * ROW.itemsize)
            return opened.read(ROW.itemsize)

    def _store(self, payload: bytes) -> tuple[int, int]:
        """Append a record and return (data file, offset)."""
        if self.offset and self.offset + len(payload) > FILE_BYTES:
            _sync(self.data)
            self.data.close()
            self.file, self.offset = self.file + 1, 0
            self.data = (self.partial / data_file(self.file)).open("ab")
        offset = self.offset
        self.data.write(payload)
        self.offset += len(payload)
        return self.file, offset

    def _commit(self) -> None:
        """Write the rows of what was stored, once that has reached the disk."""
        _sync(self.data)
        self.index.write(b"".join(self.uncommitted))
        _sync(self.index)
        self.committed += len(self.uncommitted)
        self.uncommitted, self.uncommitted_bytes = [], 0

    def finish(self) -> None:
        """Write the manifest, and give the folder its name."""
        rows = _whole_rows(self.partial / INDEX)
        assert len(rows) == len(self.names)
        unreadable = np.flatnonzero(rows["size"] == 0).tolist()
        manifest = Manifest(
            dataset=self.dataset,
            split=self.split,
            fingerprint=self.mark,
            form=self.form,
            images=len(rows),
            stored=len(np.unique(rows[rows["size"] > 0][["file", "offset"]])),
            unreadable={number: self._reason(number) for number in unreadable},
            data_bytes=tuple((self.partial / data_file(n)).stat().st_size for n in range(self.file + 1)),
            index_sha256=sha256(self.partial / INDEX),
            names_sha256=hashlib.sha256(self.names_bytes).hexdigest(),
            decoders=decoders(),
        )
        _write(self.partial / NAMES, self.names_bytes)
        _write(self.partial / MANIFEST, (manifest.sealed().model_dump_json(indent=1) + "\n").encode())
        (self.partial / BEGUN).unlink(missing_ok=True)
        if self.folder.exists():  # a damaged one
            shutil.rmtree(self.folder)
        self.partial.rename(self.folder)
        _sync_folder(self.folder.parent)


def _whole_rows(file: Path) -> np.ndarray:
    """Return the rows of an index up to the first that is torn."""
    content = file.read_bytes() if file.is_file() else b""
    rows = np.frombuffer(content, ROW, len(content) // ROW.itemsize)
    for number, mark in enumerate(rows["mark"].tolist()):
        start = number * ROW.itemsize
        if zlib.crc32(memoryview(content)[start : start + MARKED]) != mark:
            return rows[:number]
    return rows


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _sync(opened: IO[bytes]) -> None:
    opened.flush()
    os.fsync(opened.fileno())


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as opened:
        opened.write(content)
        _sync(opened)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size_words(count: float) -> str:
    """Return a number of bytes for people: `3.6 MB`."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} KB"


def told(pack: Pack, there: bool) -> str:
    """Return in one line what was packed."""
    manifest = pack.manifest
    twins = manifest.images - len(manifest.unreadable) - manifest.stored
    parts = [f"{manifest.images} images", size_words(sum(manifest.data_bytes)), manifest.form.words]
    parts += [f"{twins} equal to others"] if twins else []
    parts += [f"{len(manifest.unreadable)} unreadable"] if manifest.unreadable else []
    return (
        f"{manifest.dataset} {manifest.split}: {'is there' if there else 'packed'}, {', '.join(parts)}: {pack.folder}"
    )
