"""Reading images out of shards: any image at any time, with few files open, by any processes and threads."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.decode import WorkerError

OPEN = 128  # shards that a process holds open at once, of each split: systems allow some 1,024 files


class _Opened:
    """A file's descriptor, closed when nobody holds it any more: another thread may read while it falls out."""

    def __init__(self, file: Path) -> None:
        self.number = -1
        self.number = os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


class _Handles:
    """The shards that were read last, open. A fork may use them, too: reading at an offset moves nothing."""

    def __init__(self, root: Path, shards: Sequence[str], looks: np.ndarray) -> None:
        self.root, self.shards, self.looks = root, tuple(shards), looks
        self._forget()

    def _forget(self) -> None:
        self._open: OrderedDict[int, _Opened] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "shards": self.shards, "looks": self.looks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __call__(self, number: int) -> _Opened:
        """Return a shard, open. Raises WorkerError where it is gone, or not what the index was made of."""
        with self._lock:
            if number in self._open:
                self._open.move_to_end(number)
                return self._open[number]
        file = self.root / self.shards[number]
        try:
            opened = _Opened(file)
            status = os.fstat(opened.number)
        except OSError as error:
            raise WorkerError(f"Cannot read {file}: {error.strerror}; put the shard back.") from error
        if (status.st_size, status.st_mtime_ns) != tuple(self.looks[number].tolist()):
            raise WorkerError(f"{file} changed after this run had listed what is in it; start again.")
        with self._lock:
            self._open[number] = opened
            while len(self._open) > OPEN:
                self._open.popitem(last=False)
        return opened


class Members:
    """Images of a split that lie in shards, N of them, by position. There is no Python object for each image.

    Args:
        root: the folder of the shards.
        shards: their files, relative to it; `looks`, M×2 int64, are sizes and times of modification in nanoseconds.
        numbers: of the shard of each image, N int32.
        offsets, sizes: of each image in its shard, in bytes, N int64.
    """

    def __init__(
        self,
        root: Path,
        shards: Sequence[str],
        looks: np.ndarray,
        numbers: np.ndarray,
        offsets: np.ndarray,
        sizes: np.ndarray,
    ) -> None:
        self.numbers, self.offsets, self.sizes = numbers, offsets, sizes
        self._handles = _Handles(root, shards, looks)

    def __len__(self) -> int:
        return len(self.numbers)

    def part(self, positions: np.ndarray) -> Members:
        """Return some of the images, in the order of the positions."""
        chosen = object.__new__(Members)
        chosen.numbers, chosen.offsets, chosen.sizes = (
            part[positions] for part in (self.numbers, self.offsets, self.sizes)
        )
        chosen._handles = self._handles
        return chosen

    def shard(self, position: int) -> Path:
        """Return the file that an image lies in."""
        return self._handles.root / self._handles.shards[int(self.numbers[position])]

    def read(self, position: int) -> bytes:
        """Return the bytes of an image's file. Raises WorkerError where its shard is gone, changed or truncated."""
        opened = self._handles(int(self.numbers[position]))
        wanted, offset = int(self.sizes[position]), int(self.offsets[position])
        parts: list[bytes] = []
        while wanted:
            try:
                part = os.pread(opened.number, wanted, offset)
            except OSError as error:
                raise WorkerError(f"Cannot read {self.shard(position)}: {error.strerror}; check its disk.") from error
            if not part:
                raise WorkerError(f"{self.shard(position)} is truncated at byte {offset}; fetch it anew.")
            parts.append(part)
            wanted, offset = wanted - len(part), offset + len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
