"""A pack while it is written: one process writes, in order, what others have encoded.

So the bytes do not depend on the number of processes. Data reach the disk before the rows of the index that speak of
them, so that an interrupted pack goes on after its last whole row; it is a pack only once all is there and its folder
has its name.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Literal

import numpy as np

from bench.data.packs.encoding import Encoded, encode_all, encode_files
from bench.data.packs.manifest import INDEX, MANIFEST, NAMES, PARTIAL, Form, Manifest, data_file, decoders
from bench.data.packs.reading import ROW, sha256
from bench.errors import BadInput
from bench.files import read_json, remove_tree, sync
from bench.progress import Progress
from bench.storage import size_words

Unreadable = Literal["fail", "skip"]

FILE_BYTES = 4 << 30  # of one data file, about
COMMIT_IMAGES, COMMIT_BYTES = 1024, 64 << 20  # after so many the disk is waited for
SAMPLE = 32  # images that are packed to say how large all will be
BEGUN = "begun.json"
MARKED = ROW.itemsize - 4  # bytes of a row that its mark is taken of


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

    def _resume(self) -> np.ndarray:
        """Return the rows that an interrupted packing of the same data left; anything else is removed."""
        begun = {
            "fingerprint": self.mark,
            "form": self.form.model_dump(),
            "names": hashlib.sha256(self.names_bytes).hexdigest(),
            "decoders": decoders(),
        }
        rows = _whole_rows(self.partial / INDEX) if read_json(self.partial / BEGUN) == begun else None
        if rows is not None and self._holds(rows):
            return rows
        if self.partial.exists():
            remove_tree(self.partial)
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

    def write(self, workers: int, unreadable: Unreadable) -> None:
        """Write all images that are not there yet."""
        done = len(self.rows)
        if unreadable == "fail" and done and not self.rows["size"].all():
            self._refuse(int(np.argmin(self.rows["size"])))
        self._check_space(done)
        images = encode_all(self.root, self.names[done:], self.form, workers)
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
            f"Cannot read {file} ({reason or self._reason(number)}); correct or remove it (bench data check lists all "
            "such files), or give --unreadable skip."
        )

    def _reason(self, number: int) -> str:
        (image,) = encode_files(str(self.root), [self.names[number]], self.form)
        return image.reason or "it could not be read before"

    def _check_space(self, done: int) -> None:
        rest = self.names[done:]
        if not rest:
            return
        some = [rest[i * len(rest) // SAMPLE] for i in range(SAMPLE)] if len(rest) > SAMPLE else rest
        sizes = [len(image.payload) for image in encode_files(str(self.root), some, self.form)]
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
            remove_tree(self.folder)
        self.partial.rename(self.folder)
        sync(self.folder.parent)


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
