"""Features of frozen trunks, kept for the next stage that wants the same ones.

An entry is a folder named by the hash of all that decides its bits (see `features.cache_of`). It holds `features.npy`
(N×D float32), `labels.npy` (N int64) and `about.json` with the checksum of both; where images were skipped,
`positions.npy` (N int64) says which ones are there. It appears whole or not at all. The folder is kept below
`BENCH_FEATURES_GIB` (16) GiB: what was not used for longest goes first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

VERSION = 1  # raise it when features are computed in another way
ABOUT, FEATURES, LABELS, POSITIONS = "about.json", "features.npy", "labels.npy", "positions.npy"
LOCK = "writing.lock"
ABANDONED_SECONDS = 86_400.0  # a partial entry of an earlier version that is so old has no writer any more


@dataclass(frozen=True)
class Entry:
    """Features that an earlier stage left, with the checksums that they were written with."""

    folder: Path
    features: np.ndarray  # N×D float32, mapped
    labels: np.ndarray  # N int64
    skipped: int
    positions: np.ndarray | None = None  # N int64, in the split; None where none was skipped, and in older entries

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield (features, labels, skipped images) of at most `size` rows each, as copies; all are skipped at first."""
        for start in range(0, max(1, len(self.labels)), size):
            rows = slice(start, start + size)
            features, labels = (torch.from_numpy(np.array(x[rows])) for x in (self.features, self.labels))
            yield features, labels, self.skipped if start == 0 else 0


class FeatureCache:
    """One entry of `folder`, named by `about`: to be read, or to be written row by row, at most N×D, then published."""

    def __init__(self, folder: Path, about: Mapping[str, str], rows: int, dim: int) -> None:
        self.folder, self.about, self.rows, self.dim = folder, {**about, "version": str(VERSION)}, rows, dim
        name = hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()[:32]
        self.place = folder / name
        self.partial = folder / f".{name}.{os.getpid()}"
        self._lock = FileLock(self.partial / LOCK)  # held while it is written: else another process may remove it
        self._features: np.ndarray | None = None
        self._labels: list[np.ndarray] = []
        self._positions: list[np.ndarray] = []
        self._skipped = self._count = 0
        self._refused = False

    def read(self) -> Entry | None:
        """Return the entry if it is there and undamaged; a damaged one is removed."""
        try:
            content = json.loads((self.place / ABOUT).read_text(encoding="utf-8"))
            features = np.load(self.place / FEATURES, mmap_mode="r")[: content["rows"]]
            labels = np.load(self.place / LABELS)
            positions = np.load(self.place / POSITIONS) if "positions" in content else None
            whole = content["about"] == self.about and content["sha256"] == _checksum(features, labels)
            if positions is not None:
                whole &= positions.shape == labels.shape and content["positions"] == _checksum(positions, labels)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            print(f"features in {self.place} are damaged: computed anew", flush=True)
            shutil.rmtree(self.place, ignore_errors=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(self.place)  # used now
        return Entry(self.place, features, labels, int(content["skipped"]), positions)

    def forget(self) -> None:
        """Remove the entry."""
        shutil.rmtree(self.place, ignore_errors=True)

    def add(self, features: Tensor, labels: Tensor, skipped: int, positions: Tensor | None = None) -> None:
        """Write the next rows. A disk that has no room or fails is said once, and nothing is kept."""
        if self._refused:
            return
        try:
            if self._features is None:
                self._features = self._open()
            n = len(labels)
            self._features[self._count : self._count + n] = features.cpu().numpy()
        except OSError as error:
            self._refuse(str(error))
            return
        self._labels.append(labels.cpu().numpy())
        if positions is not None:
            self._positions.append(positions.cpu().numpy())
        self._count += n
        self._skipped += skipped

    def publish(self) -> None:
        """Let the entry appear, and remove what was not used for longest if there is too much."""
        if self._refused or self._features is None:
            return
        labels = np.concatenate(self._labels)
        content: dict[str, Any] = {
            "about": self.about,
            "rows": self._count,
            "skipped": self._skipped,
            "sha256": _checksum(self._features[: self._count], labels),
        }
        try:
            self._features.flush()  # type: ignore[attr-defined]
            np.save(self.partial / LABELS, labels)
            if self._skipped and self._positions:
                positions = np.concatenate(self._positions)
                np.save(self.partial / POSITIONS, positions)
                content["positions"] = _checksum(positions, labels)
            (self.partial / ABOUT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            self._lock.release()
            (self.partial / LOCK).unlink(missing_ok=True)
            self.partial.rename(self.place)
        except OSError as error:  # full, or another process was faster
            if not self.place.is_dir():
                self._refuse(str(error))
            self._remove_partial()
        self._features = None
        clean(self.folder, limit(), keep=self.place)

    def _open(self) -> np.ndarray:
        size = self.rows * self.dim * 4
        self.folder.mkdir(parents=True, exist_ok=True)
        clean(self.folder, limit(), keep=None)
        if size > min(limit(), shutil.disk_usage(self.folder).free // 2):
            raise OSError(f"{size / 2**30:.1f} GiB are too much; BENCH_FEATURES_GIB or the disk allows less")
        self.partial.mkdir(exist_ok=True)
        self._lock.acquire(blocking=False)
        mapped = np.lib.format.open_memmap(self.partial / FEATURES, "w+", np.float32, (self.rows, self.dim))
        # Taken up at once: a process that writes into a mapped file ends by SIGBUS where the disk is full by then.
        with (self.partial / FEATURES).open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        return mapped

    def _remove_partial(self) -> None:
        with contextlib.suppress(OSError):
            self._lock.release()
        shutil.rmtree(self.partial, ignore_errors=True)

    def _refuse(self, reason: str) -> None:
        self._refused, self._features = True, None
        self._remove_partial()
        print(f"features are not kept: {reason}", flush=True)


def limit() -> int:
    """Return how many bytes all entries together may take."""
    return int(float(os.environ.get("BENCH_FEATURES_GIB", "16")) * 2**30)


def clean(folder: Path, most: int, keep: Path | None) -> None:
    """Remove entries, least recently used first, until `most` bytes are left; and partial ones that were abandoned.

    Those are of processes that no longer hold them. What an earlier version began has nothing to hold: it is removed
    when it is a day old.
    """
    entries: list[tuple[float, int, Path]] = []
    for place in folder.iterdir():
        with contextlib.suppress(OSError):
            used = place.stat().st_mtime
            if not place.name.startswith("."):
                entries.append((used, sum(file.stat().st_size for file in place.iterdir()), place))
            elif _abandoned(place, used):
                shutil.rmtree(place, ignore_errors=True)
    total = sum(size for _, size, _ in entries)
    for _, size, place in sorted(entries):
        if total <= most:
            break
        if place != keep:
            shutil.rmtree(place, ignore_errors=True)
            total -= size


def _abandoned(place: Path, used: float) -> bool:
    """Whether nobody writes a partial entry any more. Raises OSError."""
    if not (place / LOCK).is_file():
        return time.time() - used > ABANDONED_SECONDS
    lock = FileLock(place / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    lock.release()
    return True


def _checksum(features: np.ndarray, labels: np.ndarray) -> str:
    """The sha256 of both, read in pieces."""
    total = hashlib.sha256(f"{features.shape} {features.dtype} {labels.shape}".encode())
    for start in range(0, len(features), 8_192):
        total.update(np.ascontiguousarray(features[start : start + 8_192]).data)
    total.update(np.ascontiguousarray(labels).data)
    return total.hexdigest()
