"""The index of a split's shards: where each image lies, made once by a pass over the shards and kept in a file.

It is kept in the cache folder of the user, or in the folder that BENCH_SHARD_INDEX names; beside the shards, in
`.bench-shards/`, only where somebody asks for it. It is of the shards by their names, sizes and times of modification:
one that looks otherwise is listed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from bench.data.shards.scan import Problem, Scanned, scan
from bench.errors import writing_to
from bench.files import replacing
from bench.progress import Progress

VARIABLE = "BENCH_SHARD_INDEX"
BESIDE = ".bench-shards"  # hidden, so that no layout and no fingerprint has it
FORMAT = 1
THREADS = 8  # a network's disk answers one question at a time


@dataclass(frozen=True)
class Table:
    """The images of a split, in the order of its shards and of each shard.

    `looks` are the shards' sizes and times of modification in nanoseconds, M×2 int64. `numbers` (int32) say which shard
    each of the N images lies in, `offsets` and `sizes` (int64) where, `labels` (int64) are −1 where there is none.
    """

    shards: tuple[str, ...]
    looks: np.ndarray
    names: list[str]
    numbers: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    problems: list[Problem]


def read_table(root: Path, split: str, shards: Sequence[str], *, beside: bool = False) -> Table:
    """Return the index of a split's shards: as it was kept, where the shards look as they did, else from them.

    Args:
        shards: relative to the root.
        beside: whether to keep it beside the shards, too.

    Raises OSError for a shard that cannot be opened, and BadInput where it is to be kept beside and cannot.
    """
    looks = np.array([_look(root / shard) for shard in shards], np.int64).reshape(-1, 2)
    places = [root / BESIDE / f"{split}.npz", _cache(root, split)]
    kept: Table | None = None
    whole = False
    for place in places:  # the first that is of these shards; one beside them may be of their copies elsewhere
        if not whole and (found := _read(place)) is not None:
            whole = found.shards == tuple(shards) and np.array_equal(found.looks, looks)
            kept = found if whole or kept is None else kept
    table = kept if whole and kept is not None else _from_shards(root, split, shards, looks, kept)
    if not whole:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, and nothing else
            places[1].parent.mkdir(parents=True, exist_ok=True)
            _write(places[1], table)
    if beside:
        with writing_to(places[0].parent, "--data-root"):
            places[0].parent.mkdir(exist_ok=True)
            _write(places[0], table)
    return table


def _look(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _cache(root: Path, split: str) -> Path:
    given = os.environ.get(VARIABLE)
    folder = Path(given).expanduser() if given else user_cache_path("bench") / "shards"
    return folder / f"{hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:16]}-{split}.npz"


def _from_shards(root: Path, split: str, shards: Sequence[str], looks: np.ndarray, kept: Table | None) -> Table:
    """List the shards; those that look as they did when `kept` was made are taken from it."""
    known = {} if kept is None else {shard: place for place, shard in enumerate(kept.shards)}
    same = [
        kept is not None and shard in known and np.array_equal(kept.looks[known[shard]], look)
        for shard, look in zip(shards, looks, strict=True)
    ]
    new = [shard for shard, is_same in zip(shards, same, strict=True) if not is_same]
    shown = Progress(f"listing {split}", len(new), "shards", stream=sys.stderr)  # what a plan prints may be JSON
    scanned: dict[str, Scanned] = {}
    with ThreadPoolExecutor(THREADS) as pool, shown as progress:
        for shard, one in zip(new, pool.map(lambda shard: scan(root, shard), new), strict=True):
            scanned[shard] = one
            progress.update(1)
    parts = [
        _part(kept, known[shard]) if is_same and kept is not None else scanned[shard]
        for shard, is_same in zip(shards, same, strict=True)
    ]
    return Table(
        tuple(shards),
        looks,
        [name for part in parts for name in part.names],
        np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.names) for part in parts]),
        np.array([offset for part in parts for offset in part.offsets], np.int64),
        np.array([size for part in parts for size in part.sizes], np.int64),
        np.array([label for part in parts for label in part.labels], np.int64),
        [problem for part in parts for problem in part.problems],
    )


def _part(table: Table, place: int) -> Scanned:
    """What a table has of one of its shards."""
    start, end = np.searchsorted(table.numbers, [place, place + 1])
    shard = table.shards[place]
    return Scanned(
        table.names[start:end],
        table.offsets[start:end].tolist(),
        table.sizes[start:end].tolist(),
        table.labels[start:end].tolist(),
        [problem for problem in table.problems if problem[0] == shard or problem[0].startswith(f"{shard}/")],
    )


def _write(file: Path, table: Table) -> None:
    about = {"format": FORMAT, "shards": table.shards, "problems": table.problems}
    names = zlib.compress(b"\0".join(map(os.fsencode, table.names)), 1)
    with replacing(file) as temporary, temporary.open("wb") as opened:
        np.savez(
            opened,
            allow_pickle=False,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            names=np.frombuffer(names, np.uint8),
            looks=table.looks,
            numbers=table.numbers,
            offsets=table.offsets,
            sizes=table.sizes,
            labels=table.labels,
        )


def _read(file: Path) -> Table | None:
    """Return an index that was kept; None where there is none, or none that this version can read."""
    try:
        with np.load(file, allow_pickle=False) as content:
            about = json.loads(content["about"].tobytes())
            packed = zlib.decompress(content["names"].tobytes())
            names = [*map(os.fsdecode, packed.split(b"\0"))] if packed else []
            numbers, offsets, sizes, labels = (content[key] for key in ("numbers", "offsets", "sizes", "labels"))
            problems = [(str(where), str(why)) for where, why in about["problems"]]
            shards, looks = tuple(map(str, about["shards"])), content["looks"]
            of_this_version = about["format"] == FORMAT
    except Exception:  # numpy, zipfile, zlib and json each have their own for a damaged file: it is made anew
        return None
    lengths = {len(one) for one in (names, numbers, offsets, sizes, labels)}
    if not of_this_version or looks.shape != (len(shards), 2) or len(lengths) > 1:
        return None
    return Table(shards, looks, names, numbers, offsets, sizes, labels, problems)
