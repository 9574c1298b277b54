"""Writing shards (`bench data shard`): the files of a data set as they are, in tars that `webdataset` can read, too.

The same images give the same bytes, on any machine.
"""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.data.sets import get, index, splits
from bench.data.sets.data_set import Index
from bench.data.sets.sharded import CLASSES, Sharded, laid_out
from bench.data.shards.names import PARTIAL, holds_shards
from bench.data.shards.scan import BLOCK, IMAGES
from bench.errors import BadInput, writing_to
from bench.files import write_text
from bench.progress import Progress

MB = 1_000_000


@dataclass(frozen=True)
class Written:
    """What was written of a split."""

    split: str
    images: int
    shards: int
    size: int  # bytes

    def words(self, folder: Path) -> str:
        """Return this as a line of text."""
        return f"{self.split}: {self.images} images in {self.shards} shards, {self.size / MB:.0f} MB, in {folder}"


def write_shards(
    dataset: str, root: Path, to: Path, *, split_names: Sequence[str] = (), size: int = 1000, beside: bool = False
) -> list[Written]:
    """Write a data set's images, and its labels where it has some, as shards `train-000000.tar` and so on.

    Images lie in the order of the data set, each followed by its class (`.cls`). A shard has its name only when all are
    whole: what an interruption leaves is no data set.

    Args:
        to: the folder; made, if it is missing.
        split_names: which splits; those that there are, if empty.
        size: of a shard in MB (10⁶ bytes); one image larger than it has a shard of its own.
        beside: whether to keep the index of what is in the shards beside them, too.

    Raises BadInput for data that are not in image files, names that make no keys, a folder that holds shards already
    or cannot be written, and too small a disk.
    """
    data_set = get(dataset)
    if not data_set.shards:
        raise BadInput(f"{dataset} is not read from shards; leave its files as they are.")
    indices = [index(dataset, root, split) for split in split_names or splits(dataset, root) or ("train",)]
    for one in indices:
        _check_names(one)
    with writing_to(to, "--to"):
        to.mkdir(parents=True, exist_ok=True)
        if holds_shards(to):
            raise BadInput(f"{to} holds shards already; give another --to, or remove them.")
        for left in to.glob(f".*.tar{PARTIAL}"):  # by a process that was killed
            left.unlink()
        needed = sum(_tar_bytes(_size(one, place)) for one in indices for place in range(len(one.files)))
        free = shutil.disk_usage(to).free
        if needed > free:
            raise BadInput(
                f"The shards take {needed / 1e9:.1f} GB, and {to} has {free / 1e9:.1f} GB free; give another --to."
            )
        done: list[tuple[Path, Path]] = []  # partial, whole
        try:
            written = [_write_split(one, to, size * MB, done) for one in indices]
        except BaseException:
            for partial, _ in done:
                with suppress(OSError):
                    partial.unlink()
            raise
        if indices[0].classes:
            write_text(to / CLASSES, "".join(f"{name}\n" for name in indices[0].classes))
        for partial, whole in reversed(done):  # as long as one lacks its name, no reader takes the others
            partial.replace(whole)
    there = laid_out(data_set, to)
    assert isinstance(there, Sharded)
    for one in indices:
        there.table(one.split, beside=beside)
    return written


def _check_names(listed: Index) -> None:
    """Refuse images whose names make no keys of their own."""
    seen: dict[str, str] = {}
    for file in listed.files:
        folder, slash, name = file.rpartition("/")
        stem, _, ending = name.partition(".")
        if ending.lower() not in IMAGES:
            raise BadInput(
                f"{file} at {listed.root} has a dot in the middle of its name, where readers of shards end the key of "
                "a sample; rename it."
            )
        other = seen.setdefault(folder + slash + stem, file)
        if other != file:
            raise BadInput(f"{other} and {file} at {listed.root} would be one sample; rename one of them.")


def _size(listed: Index, place: int) -> int:
    return listed.file(place).stat().st_size if listed.members is None else int(listed.members.sizes[place])


def _tar_bytes(size: int) -> int:
    """What a file takes in a tar, with its label: two headers, and whole blocks."""
    return 2 * BLOCK + -(-size // BLOCK) * BLOCK + BLOCK


def _write_split(listed: Index, to: Path, most: int, done: list[tuple[Path, Path]]) -> Written:
    first, total = len(done), 0
    with Progress(f"sharding {listed.split}", len(listed.files), "images", stream=sys.stderr) as progress:
        for number, places in enumerate(_groups(listed, most)):
            whole = to / f"{listed.split}-{number:06d}.tar"
            partial = whole.with_name(f".{whole.name}{PARTIAL}")
            done.append((partial, whole))
            with tarfile.open(
                partial, "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
            ) as tar:
                for place in places:
                    _add(tar, listed, place)
                    progress.update(1)
            total += partial.stat().st_size
    return Written(listed.split, len(listed.files), len(done) - first, total)


def _groups(listed: Index, most: int) -> Iterator[list[int]]:
    """Yield the positions of the images of each shard."""
    places: list[int] = []
    size = 0
    for place in range(len(listed.files)):
        takes = _tar_bytes(_size(listed, place))
        if places and size + takes > most:
            yield places
            places, size = [], 0
        places.append(place)
        size += takes
    yield places


def _add(tar: tarfile.TarFile, listed: Index, place: int) -> None:
    name = listed.files[place]
    content = listed.file(place).read_bytes() if listed.members is None else listed.members.read(place)
    _add_file(tar, name, content)
    if listed.labels is not None:
        folder, slash, file = name.rpartition("/")
        _add_file(tar, f"{folder}{slash}{file.partition('.')[0]}.cls", str(listed.labels[place]).encode())


def _add_file(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)  # its times and owners are 0: the same images give the same bytes
    about.size = len(content)
    tar.addfile(about, io.BytesIO(content))
