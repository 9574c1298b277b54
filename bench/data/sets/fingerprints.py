"""What a data set is by content: a hash of its files, kept as long as nothing changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.sets.data_set import DataSet
from bench.data.sets.kept import Kept, kept_file, look, read_kept
from bench.data.sets.listing import asking, listed, splits_of
from bench.data.sets.manifests import (
    Problem,
    changed_files,
    digests_of,
    problems_of,
    read_manifest,
    write_manifest,
)
from bench.data.sets.sharded import Sharded, laid_out
from bench.errors import BadInput, writing_to
from bench.files import read_json, write_text

SAMPLED = 1024  # files whose contents a fingerprint reads
TICK = 20_000_000  # nanoseconds: two changes within a kernel's tick have the same time
LOOKS = 3  # at files that change meanwhile


@dataclass(frozen=True)
class Identity:
    """What a data set is, and what is to be said of its files."""

    fingerprint: str  # 16 hex digits
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Listing:
    """All files of a data set, and how they look. `files` and `sampled` may name a file twice."""

    files: list[str]  # that count for the fingerprint
    sampled: list[str]
    folders: int
    names: list[str]  # folders first, each once
    looks: np.ndarray
    settled: bool  # whether nothing changed while it was looked at
    shards: Sharded | None = None  # that the files lie in; `files` and `sampled` are then empty

    @property
    def distinct(self) -> list[str]:
        """The files, each once."""
        return self.names[self.folders :]


def content_hash(
    name: str,
    data_set: DataSet | None,
    root: Path,
    cache: Path | None = None,
    before: Callable[[], None] = lambda: None,
) -> str:
    """Return 16 hex digits of a data set's content; see `identify`."""
    return identify(name, data_set, root, cache, before).fingerprint


def identify(
    called: str,
    data_set: DataSet | None,
    root: Path,
    cache: Path | None = None,
    before: Callable[[], None] = lambda: None,
    *,
    keep: bool = True,
) -> Identity:
    """Return a data set's fingerprint (see `bench.data.sets.fingerprint`), and what is to be said of its files.

    `before` is called before files are looked at, which is not done where the cache knows the result. `keep` says
    whether the result is kept in it.

    Raises BadInput as its reader does, ChangedFiles where files are not as the manifest beside the cache has them, and
    OSError.
    """
    name, head = _head(called, data_set)
    place = None if cache is None else kept_file(cache, name, root)
    kept = None if place is None else read_kept(place, head)
    manifest = None if place is None else manifest_file(place)
    there = manifest is not None and manifest.is_file()
    looks = tuple(look(manifest.parent, [manifest.name])[0].tolist()) if there and manifest is not None else ()
    command = "" if cache is None else check_command(called, name, root, cache)
    if kept is not None and (not there or kept.manifest_looks == looks) and kept.unchanged(root):
        return Identity(kept.fingerprint, _notes(name, kept, manifest, there, command))
    before()
    listing = _look_around(called, data_set, root)
    fingerprint = _hash(head, listing, root)
    first, digest, notes = listing.looks, "", list[str]()
    if there and manifest is not None:
        digests, digest = read_manifest(manifest)
        held = kept is not None and kept.manifest == digest
        unverified = kept.differing(listing.names, listing.looks) if held and kept is not None else listing.distinct
        problems = problems_of(root, listing.distinct, digests, unverified, f"verifying {name}")
        if problems:
            raise changed_files(root, manifest, problems, command)
    elif kept is not None and kept.fingerprint == fingerprint:
        first = kept.first_of(listing.names, listing.looks, {*listing.sampled})
    elif kept is not None:
        notes.append(_changed(name, root, kept, listing, fingerprint))
    now = Kept(head, fingerprint, listing.folders, listing.names, first, listing.looks, digest, looks)
    if cache is not None and keep and listing.settled:
        _keep(cache, f"{head}:{root.absolute()}", now, kept_file(cache, name, root))
    return Identity(fingerprint, (*notes, *_notes(name, now, manifest, there, command)))


def take_manifest(
    called: str, data_set: DataSet | None, root: Path, cache: Path, file: Path | None
) -> tuple[str, Path, list[Problem]]:
    """Read all files of a data set: write their manifest or, where there is one, compare them with it.

    Args:
        cache: later runs that keep what they know there are held to the manifest.
        file: where the manifest is, or is to be; None: beside the cache.

    Returns what was done, in words, where the manifest is, and what differs. Raises BadInput and OSError.
    """
    name, head = _head(called, data_set)
    place = kept_file(cache, name, root)
    found = manifest_file(place)
    chosen = (file or found).absolute()
    if found.is_file() and not (found.is_symlink() or chosen.resolve() == found.resolve()):
        raise BadInput(f"{found} is there already, as the manifest of {name}; leave out --manifest, or remove it.")
    listing = _look_around(called, data_set, root)
    fingerprint = _hash(head, listing, root)
    names = listing.distinct
    if chosen.is_file():
        digests, digest = read_manifest(chosen)
        problems = problems_of(root, names, digests, names, f"verifying {name}")
        if problems:
            return "files differ", chosen, problems
        done = f"as the files are ({len(names)})"
    else:
        with writing_to(chosen.parent, "--manifest"):  # before an hour of reading
            chosen.parent.mkdir(parents=True, exist_ok=True)
            write_manifest(chosen, {})
            chosen.unlink()
        digests = digests_of(root, names, f"reading {name}")
        with writing_to(chosen.parent, "--manifest"):
            write_manifest(chosen, digests)
        done = f"written ({len(names)} files)" if len(names) != 1 else "written (1 file)"
        _, digest = read_manifest(chosen)
    with writing_to(found.parent, "--work-dir"):
        found.parent.mkdir(parents=True, exist_ok=True)
        if chosen != found.absolute() and chosen != found.resolve():
            found.unlink(missing_ok=True)
            found.symlink_to(chosen)
    looks = tuple(look(found.parent, [found.name])[0].tolist())
    now = Kept(head, fingerprint, listing.folders, listing.names, listing.looks, listing.looks, digest, looks)
    _keep(cache, f"{head}:{root.absolute()}", now, place)
    return done, chosen, []


def manifest_file(kept: Path) -> Path:
    """Return where the manifest of a data set is looked for; it may be a link to another place."""
    return kept.with_suffix(".sha256.gz")


def check_command(called: str, name: str, root: Path, cache: Path) -> str:
    """Return the command that writes or compares a manifest."""
    words = ["bench", "data", "check", called, "--full", "--data-root", f"{name}={root}"]
    return shlex.join([*words, "--work-dir", str(cache.parent)])


def _head(called: str, data_set: DataSet | None) -> tuple[str, str]:
    """A data set's name, and what its fingerprint begins with."""
    if data_set is None:
        return called, called
    if data_set.source is None:
        return data_set.name, data_set.name
    # one file may define several, and one derive from another
    return data_set.name, f"{data_set.name}:{data_set.source.attribute}:{data_set.source.hash}"


def _look_around(called: str, data_set: DataSet | None, root: Path) -> _Listing:
    """List a data set's files and look at each; again where one changes meanwhile, or has just changed.

    A change in the same tick of the clock as the look would leave no trace.
    """
    data_set = None if data_set is None else laid_out(data_set, root)
    shards = data_set if isinstance(data_set, Sharded) else None
    for number in range(LOOKS):
        start = time.time_ns()
        files = _all_files(called, data_set, root) if shards is None else []
        sampled = [files[i * len(files) // SAMPLED] for i in range(SAMPLED)] if len(files) > SAMPLED else [*files]
        lists = () if data_set is None else data_set.list_files(root)
        files += lists
        sampled += lists
        holding = [] if shards is None else shards.holding()
        distinct = [*dict.fromkeys([*files, *holding, *_watched(data_set, root)])]
        inner = {file.rpartition("/")[0] for file in distinct}  # first, as there may be a million files
        folders = inner | {parent.as_posix() for folder in inner for parent in Path(folder, "file").parents}
        above = sorted(folders - {""})
        names = above + distinct
        looks = look(root, names, len(above))
        settled = bool(looks[:, 1].max(initial=0) < start - TICK)
        if settled or number == LOOKS - 1:
            break
        time.sleep(TICK / 1e9)
    return _Listing(files, sampled, len(above), names, looks, settled, shards)


def _hash(head: str, listing: _Listing, root: Path) -> str:
    sizes = dict(zip(listing.distinct, listing.looks[listing.folders :, 2].tolist(), strict=True))
    total = hashlib.sha256(f"{head}\n".encode())
    if listing.shards is not None:
        total.update(listing.shards.content(SAMPLED))
        return total.hexdigest()[:16]
    for file in listing.files:
        size = sizes[file] if sizes[file] >= 0 else (root / file).stat().st_size  # says why it is not there
        total.update(f"{file}\0{size}\n".encode("utf-8", "surrogateescape"))
    for file in listing.sampled:
        with (root / file).open("rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()[:16]


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


def _watched(data_set: DataSet | None, root: Path) -> Sequence[str]:
    if data_set is None:
        return ()
    with asking(data_set, "watched"):
        return data_set.watched(root)


def _keep(cache: Path, key: str, kept: Kept, place: Path) -> None:
    """Keep what is known, and the fingerprint in `cache` for people to read."""
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, and nothing else
        cache.parent.mkdir(parents=True, exist_ok=True)
        kept.write(place)
        entry = {"fingerprint": kept.fingerprint, "files": len(kept.names) - kept.folders, "kept": place.name}
        write_text(cache, json.dumps(read_json(cache) | {key: entry}))


def _notes(name: str, kept: Kept, manifest: Path | None, there: bool, command: str) -> tuple[str, ...]:
    """What is to be said of files whose content is not known any more."""
    notes: list[str] = []
    if manifest is not None and not there and (manifest.is_symlink() or kept.manifest):
        gone = manifest.readlink() if manifest.is_symlink() else manifest
        notes.append(
            f"{gone}, the manifest that {name} was held to, is not there: put it back, or write another: {command}"
        )
    touched = kept.touched()
    if touched:
        notes.append(
            f"{_count(touched)} of {name} may have changed since first seen, by the times, and no fingerprint "
            "reads what is in them; restore what was edited, else write a manifest of all files as they are, to which "
            f"later runs are held: {command}"
        )
    return tuple(notes)


def _changed(name: str, root: Path, kept: Kept, listing: _Listing, fingerprint: str) -> str:
    """Say that a data set is another than it was."""
    there = set(listing.distinct)
    gone = [file for file in kept.names[kept.folders :] if file not in there]
    folders = set(listing.names[: listing.folders])
    changed = [file for file in kept.differing(listing.names, listing.looks) if file not in folders] + gone
    files = f": {_count(changed)} changed, came or went" if changed else ""
    return (
        f"{name} at {root} is not what it was{files}; its fingerprint was {kept.fingerprint} and is {fingerprint}, so "
        "that what was made of it before is not used."
    )


def _count(files: Sequence[str]) -> str:
    """How many files, and the first of them."""
    return f"{len(files)} files (first {files[0]})" if len(files) > 1 else f"1 file ({files[0]})"
