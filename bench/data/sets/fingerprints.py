"""What a data set is by content: a hash of its files, kept as long as nothing changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.data.sets.data_set import DataSet
from bench.data.sets.listing import asking, listed, splits_of
from bench.errors import BadInput
from bench.files import read_json, write_text

SAMPLED = 1024  # files whose contents a fingerprint reads


def content_hash(
    name: str,
    data_set: DataSet | None,
    root: Path,
    cache: Path | None = None,
    before: Callable[[], None] = lambda: None,
) -> str:
    """Return 16 hex digits of a data set's content; see `bench.data.sets.fingerprint`.

    `before` is called before files are looked at, which is not done where the cache knows the result.

    Raises BadInput as its reader does, and OSError.
    """
    head = name
    if data_set is not None and data_set.source is not None:  # one file may define several, and one derive from another
        head += f":{data_set.source.attribute}:{data_set.source.hash}"
    key = f"{head}:{root.absolute()}"
    known = {} if cache is None else read_json(cache)
    entry = known.get(key)
    try:
        if entry is not None and _stamps(root, entry["stamps"]) == entry["stamps"]:
            return entry["fingerprint"]
    except (KeyError, TypeError, AttributeError):
        pass  # written by another version, or by hand
    before()
    files = _all_files(name, data_set, root)
    chosen = [files[i * len(files) // SAMPLED] for i in range(SAMPLED)] if len(files) > SAMPLED else [*files]
    lists = () if data_set is None else data_set.list_files(root)
    files += lists
    chosen += lists
    folders = {file.rpartition("/")[0] for file in files}  # first, as there may be a million files
    above = folders | {parent.as_posix() for folder in folders for parent in Path(folder, "file").parents}
    stamps = _stamps(root, [*sorted(above - {""}), *chosen])  # before reading: what changes meanwhile is read again
    total = hashlib.sha256(f"{head}\n".encode())
    for file in files:
        total.update(f"{file}\0{(root / file).stat().st_size}\n".encode("utf-8", "surrogateescape"))
    for file in chosen:
        with (root / file).open("rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    result = total.hexdigest()[:16]
    if cache is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, and nothing else
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_text(cache, json.dumps(known | {key: {"fingerprint": result, "stamps": stamps}}))
    return result


def _all_files(name: str, data_set: DataSet | None, root: Path) -> list[str]:
    if data_set is None:
        if not root.is_dir():
            raise BadInput(f"{root} is no folder; give --data-root {name}=DIR.")
        below = (path for path in sorted(root.rglob("[!.]*")) if path.is_file())
        return [path.relative_to(root).as_posix() for path in below]
    files: list[str] = []
    for split in splits_of(data_set, root) or ("train",):  # with neither, let the reader say what it looked for
        index = listed(data_set, root, split)
        with asking(data_set, "files"):
            files += data_set.files(index)
    with asking(data_set, "more_files"):
        return [*files, *data_set.more_files(root)]


def _stamps(root: Path, paths: Iterable[str]) -> dict[str, list[int] | None]:
    """Return {path: [time of change, size]}, None for what is not there. A folder's size says nothing: 0."""
    stamps: dict[str, list[int] | None] = {}
    for path in paths:
        try:
            now = os.stat(root / path)  # noqa: PTH116 - one call for all that is asked
        except OSError:
            stamps[path] = None
        else:
            stamps[path] = [now.st_mtime_ns, 0 if stat.S_ISDIR(now.st_mode) else now.st_size]
    return stamps
