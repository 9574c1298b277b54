"""What a fingerprint was taken of, kept beside the stages: each file's size and times, so that a change shows.

Of a file that is written in place, only its own times tell. The time of change (ctime) is the kernel's: whoever edits a
file and puts its time of modification back, cannot put back this one.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.files import replacing

FORMAT = 1
THREADS = 16  # a network's folders answer one question at a time; on a local disk they cost nothing
CHUNK = 4096  # files that a thread looks at in one go
NOTHING = (-1, -1, -1)  # of what is not there


@dataclass(frozen=True)
class Kept:
    """A fingerprint, and what the files looked like when it was taken.

    `names` are the folders (the first `folders` of them) and files, relative to the root. `first` and `now` are N×3
    int64: time of modification and time of change in nanoseconds, size (0 of a folder). `now` is how the files looked
    at last; `first` when their content was last known: read for the fingerprint, or held to a manifest.
    """

    head: str  # the data set, and for one from outside its source
    fingerprint: str
    folders: int
    names: list[str]
    first: np.ndarray
    now: np.ndarray
    manifest: str = ""  # sha256 of the manifest that all files were held to
    manifest_looks: tuple[int, ...] = ()  # its times and size

    def unchanged(self, root: Path) -> bool:
        """Whether all that there is looks as it did."""
        return np.array_equal(look(root, self.names, self.folders), self.now)

    def touched(self) -> list[str]:
        """Return the files that changed in time since their content was last known, in the order of `names`."""
        places = np.flatnonzero((self.first != self.now).any(1))
        return [self.names[place] for place in places if place >= self.folders]

    def differing(self, names: Sequence[str], looks: np.ndarray) -> list[str]:
        """Return which of some names look otherwise than these, or are not among them."""
        if names == self.names:
            return [names[int(place)] for place in np.flatnonzero((looks != self.now).any(1))]
        known = {name: place for place, name in enumerate(self.names)}
        places = np.array([known.get(name, -1) for name in names], np.int64)
        return [names[int(i)] for i in np.flatnonzero((places < 0) | (self.now[places] != looks).any(1))]

    def first_of(self, names: Sequence[str], looks: np.ndarray, read: Set[str]) -> np.ndarray:
        """Return `first` of names that look as `looks` says: that itself where one was `read` just now, or is new."""
        known = {name: place for place, name in enumerate(self.names)}
        places = np.array([-1 if name in read else known.get(name, -1) for name in names], np.int64)
        return np.where(places[:, None] < 0, looks, self.first[places])

    def write(self, file: Path) -> None:
        """Write this. Raises OSError."""
        about = {
            "format": FORMAT,
            "head": self.head,
            "fingerprint": self.fingerprint,
            "folders": self.folders,
            "manifest": self.manifest,
            "manifest_looks": self.manifest_looks,
        }
        names = zlib.compress(b"\0".join(map(os.fsencode, self.names)), 1)
        arrays = {"now": self.now} | ({"first": self.first} if not np.array_equal(self.first, self.now) else {})
        with replacing(file) as temporary, temporary.open("wb") as opened:
            arrays |= {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
            np.savez(opened, allow_pickle=False, names=np.frombuffer(names, np.uint8), **arrays)


def read_kept(file: Path, head: str) -> Kept | None:
    """Return what was kept of a data set; None where nothing was, or not by this version, or of another source."""
    try:
        with np.load(file, allow_pickle=False) as content:
            about = json.loads(content["about"].tobytes())
            names = [*map(os.fsdecode, zlib.decompress(content["names"].tobytes()).split(b"\0"))]
            now = content["now"]
            first = content["first"] if "first" in content.files else now
            kept = Kept(
                about["head"],
                about["fingerprint"],
                about["folders"],
                names,
                first,
                now,
                about["manifest"],
                tuple(about["manifest_looks"]),
            )
    except Exception:  # numpy, zipfile, zlib and json each have their own for a damaged file: it is taken anew
        return None
    whole = about["format"] == FORMAT and now.shape == first.shape == (len(names), 3)
    return kept if whole and kept.head == head and 0 <= kept.folders <= len(names) else None


def kept_file(cache: Path, name: str, root: Path) -> Path:
    """Return where it is kept: beside `cache`, one file for each data set and root."""
    key = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:8]
    return cache.with_name(f"{cache.stem}-{name}-{key}.npz")


def look(root: Path, names: Sequence[str], folders: int = 0) -> np.ndarray:
    """Return times and sizes, N×3 int64 as `Kept` says, of what lies below a root; −1 of what is not there.

    The first `folders` names are folders. Links are followed. Takes some 4 µs a file on a local disk.
    """
    before = os.path.join(root, "")  # noqa: PTH118 - joined by hand, as a million times

    def of(start: int) -> list[int]:
        found: list[int] = []
        for name in names[start : start + CHUNK]:
            try:
                one = os.stat(before + name)  # noqa: PTH116
            except OSError:
                found += NOTHING
            else:
                found += (one.st_mtime_ns, one.st_ctime_ns, one.st_size)
        return found

    starts = range(0, len(names), CHUNK)
    if len(starts) == 1:
        parts = [of(0)]
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            parts = list(pool.map(of, starts))
    looks = np.concatenate([np.array(part, np.int64) for part in parts]) if parts else np.zeros(0, np.int64)
    looks = looks.reshape(-1, 3)
    looks[:folders, 2] = np.minimum(looks[:folders, 2], 0)  # a folder's size says nothing
    return looks
