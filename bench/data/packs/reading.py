"""Reading packs: images of a split, shrunk once, in few large files that are mapped into memory.

Training from a pack saves the decoding of full-size files, which is most of what a view costs. Records follow one
another in the order of the split; equal files (by their bytes) share one. Beside the data files lies an index with a
row for each image. Nothing in a `Pack` is a Python object for each image: forked workers share what is mapped.

`writing` writes packs, `manifest` knows where they lie and which may be read for what. This module does not
import torch.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bench.data.decode import Undecodable, WorkerError
from bench.data.packs.manifest import INDEX, NAMES, Manifest, check_fingerprint, data_file, read_manifest
from bench.errors import BadInput
from bench.progress import Progress

# One image of the index: where its record lies, the crc32 of that, and the blake2b of the file that it was made of.
# `size` 0: it cannot be read. `mark` is the crc32 of what stands before it in the row.
ROW = np.dtype(
    [
        *(("offset", "<u8"), ("size", "<u4"), ("file", "<u4"), ("height", "<u4"), ("width", "<u4")),
        *(("checksum", "<u4"), ("source", "V16"), ("mark", "<u4")),
    ]
)
VERIFIED = 4096  # images that wait for a thread at once


class DamagedPack(WorkerError):
    """A record whose bytes are not those that were written."""


def source_hash(content: bytes) -> bytes:
    """Return the 16 bytes by which equal files are known."""
    return hashlib.blake2b(content, digest_size=16).digest()


def sha256(file: Path) -> str:
    """Return the hash of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class Pack:
    """A pack that was opened; `open_pack` makes it. Positions are those of the split's files when it was packed."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.rows = np.memmap(folder / INDEX, ROW, "r") if manifest.images else np.empty(0, ROW)
        self.names = np.load(folder / NAMES, mmap_mode="r", allow_pickle=False)
        self.data = [
            np.memmap(folder / data_file(number), np.uint8, "r") if size else np.empty(0, np.uint8)
            for number, size in enumerate(manifest.data_bytes)
        ]
        self.checked = np.zeros(manifest.images, bool)  # in this process

    def __len__(self) -> int:
        return self.manifest.images

    def __reduce__(self) -> tuple[Callable[..., Pack], tuple[Path, str]]:
        # A copy for another process maps the files itself; pickled arrays would carry all that is in them.
        return open_pack, (self.folder, self.manifest.identity)

    def describe(self) -> str:
        """Return what it is: `jpeg, short side 256, q90`."""
        return self.manifest.form.words

    def read(self, position: int) -> np.ndarray:
        """Return an image, H×W×3 uint8 RGB; from a uint8 pack it is the mapped file itself and can't be written to.

        Raises Undecodable for an image that could not be read when it was packed, and DamagedPack for a record whose
        bytes are not those that were written. The checksum is taken when a process first reads a record.
        """
        row = self.rows[position]
        if not row["size"]:
            raise Undecodable(self.manifest.unreadable[position % len(self)])
        record = self.record(row)
        if not self.checked[position]:
            if zlib.crc32(record.data) != row["checksum"]:
                raise DamagedPack(f"{self._where(position)} is damaged; remove {self.folder} and pack again.")
            self.checked[position] = True
        if self.manifest.form.format == "uint8":
            return record.reshape(int(row["height"]), int(row["width"]), 3)
        import cv2

        pixels = cv2.imdecode(record, cv2.IMREAD_COLOR_RGB)
        assert pixels is not None  # by its checksum it is what was encoded
        return pixels

    def record(self, row: np.void) -> np.ndarray:
        """Return the stored bytes of a row of the index, as they are mapped."""
        start = int(row["offset"])
        return self.data[row["file"]][start : start + int(row["size"])]

    def positions(self, names: np.ndarray) -> np.ndarray:
        """Return where files lie in the pack, N int64; `names` are N bytes as in an Index of the split.

        Raises BadInput when the pack lacks one of them.
        """
        if np.array_equal(names, self.names):
            return np.arange(len(names))
        order = np.argsort(self.names, kind="stable")
        places = order[np.searchsorted(self.names, names, sorter=order).clip(max=len(order) - 1)]
        wrong = np.flatnonzero(self.names[places] != names)
        if len(wrong):
            name = os.fsdecode(bytes(names[wrong[0]]))
            raise BadInput(f"{self.folder} lacks {name}, so that it is of other data; remove it and pack again.")
        return places

    def problems(self, position: int, root: Path | None = None) -> str | None:
        """Return what is wrong with an image's record (and, with `root`, with its file since then), or None."""
        row = self.rows[position]
        if row["size"] and zlib.crc32(self.record(row).data) != row["checksum"]:
            return f"{self._where(position)} is damaged"
        if root is not None:
            file = root / os.fsdecode(bytes(self.names[position]))
            try:
                source = source_hash(file.read_bytes())
            except OSError as error:
                return f"{file}: {error.strerror}"
            if source != row["source"].tobytes():
                return f"{file} changed after it was packed"
        return None

    def _where(self, position: int) -> str:
        file = self.folder / data_file(int(self.rows["file"][position]))
        return f"{os.fsdecode(bytes(self.names[position]))} in {file}"


def open_pack(folder: Path, identity: str | None = None, *, fingerprint: str | None = None) -> Pack:
    """Open a pack for reading: its manifest, the sizes of its files and the index are checked.

    `identity` is what planning expects there, `fingerprint` the data set's, as it is now.

    Raises BadInput where there is no whole pack, or another one than was asked for.
    """
    manifest = read_manifest(folder)
    if fingerprint is not None:
        check_fingerprint(folder, manifest, fingerprint)
    if identity is not None and manifest.identity != identity:
        raise BadInput(f"{folder} is {manifest.identity}, but {identity} was planned; plan again.")
    for name, digest in ((INDEX, manifest.index_sha256), (NAMES, manifest.names_sha256)):
        try:
            same = sha256(folder / name) == digest
        except OSError:
            same = False
        if not same:
            raise BadInput(f"{folder / name} is missing or damaged; remove {folder} and pack again.")
    return Pack(folder, manifest)


def verify(pack: Pack, root: Path | None, workers: int = 2) -> list[str]:
    """Look at every record of a pack, and (with `root`) at the files that it was made of; return what is wrong, one
    sentence each.
    """
    numbers = range(len(pack))
    title = f"check {pack.manifest.dataset} {pack.manifest.split} pack"
    wrong: list[str] = []
    with ThreadPoolExecutor(max(1, workers)) as pool, Progress(title, len(pack), "images") as progress:
        for start in range(0, len(pack), VERIFIED):
            for problem in pool.map(lambda position: pack.problems(position, root), numbers[start : start + VERIFIED]):
                wrong += [problem] if problem is not None else []
                progress.update(1, damaged=str(len(wrong)))
    return wrong
