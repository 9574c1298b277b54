"""One shard from its beginning to its end: where each image lies, and its label. Only headers and labels are read."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bench.errors import one_line

IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "ppm", "pgm", "tif", "tiff"})
LABELS = ("cls", "json")  # the first that a sample has counts
BLOCK = 512
MOST = 1 << 20  # bytes of a label's file
NO_LABEL = -1
Problem = tuple[str, str]  # a shard, or a file in it after a slash; and what is wrong


@dataclass
class Scanned:
    """The images of a shard, in its order: name with ending, offset and size in bytes, label (NO_LABEL: none)."""

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass
class _Sample:
    image: tarfile.TarInfo | None = None
    label: int = NO_LABEL
    label_from: str = ""


def scan(root: Path, shard: str) -> Scanned:
    """List the images of a shard. What is wrong with it, or with a sample, is in `problems`. Raises OSError."""
    found = Scanned()
    samples: dict[str, _Sample] = {}
    with (root / shard).open("rb") as opened:
        if opened.read(2) == b"\x1f\x8b":
            found.problems.append((shard, "is compressed by gzip; uncompress it, so that each image can be read alone"))
            return found
        try:
            for member, end in _members(opened):
                if end is not None:
                    found.problems.append((shard, end))
                elif member is not None and (wrong := _add(samples, member, opened)):
                    found.problems.append((f"{shard}/{member.name}", wrong))
        except (tarfile.TarError, ValueError, EOFError) as error:  # ValueError: of numbers and texts in headers
            found.problems.append((shard, f"is damaged, or no tar ({one_line(error)}); fetch it anew"))
    for key, sample in samples.items():
        if sample.image is None:
            found.problems.append((f"{shard}/{key}", "is a sample without an image; add it, or remove the sample"))
            continue
        found.names.append(sample.image.name.removeprefix("./"))
        found.offsets.append(sample.image.offset_data)
        found.sizes.append(sample.image.size)
        found.labels.append(sample.label)
    return found


def _members(opened: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo | None, str | None]]:
    """Yield the files of a tar, and at last, where it does not end as a tar does, what is wrong with its end.

    Python's reader takes a header that makes no sense, and the end of the file between two members, for the end of the
    tar. So the two blocks of zeros that end one are looked for here.
    """
    size, end = opened.seek(0, 2), 0
    opened.seek(0)
    with tarfile.open(fileobj=opened, mode="r:", errorlevel=2) as tar:
        while True:
            member = tar.next()
            if member is None:
                break
            if member.size < 0 or member.offset < end:
                raise tarfile.ReadError(f"a header at byte {member.offset} makes no sense")
            data = member.size if member.isreg() else 0
            end = member.offset_data + -(-data // BLOCK) * BLOCK
            if member.offset_data + data > size:
                yield None, f"is truncated in {member.name}: it has {size} bytes; fetch it anew"
                return
            yield member, None
    opened.seek(end)
    last = opened.read(2 * BLOCK)
    if len(last) < 2 * BLOCK and not any(last):
        yield None, f"is truncated: it ends at byte {size} without the mark of a tar's end; fetch it anew"
    elif any(last):
        yield None, f"is damaged at byte {end}, where the header of a file should be; fetch it anew"


def _add(samples: dict[str, _Sample], member: tarfile.TarInfo, opened: IO[bytes]) -> str:
    """Add a file of a tar to its sample; return what is wrong with it, or ""."""
    if member.isdir():
        return ""
    name = member.name.removeprefix("./")
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    ending = ending.lower()
    if not stem or "\0" in name:  # hidden files, as some systems add
        return ""
    sample = samples.setdefault(folder + slash + stem, _Sample())
    if not member.isreg():
        return "is a link or no plain file, which no image can be read from; write the shard with plain files"
    if ending in IMAGES:
        if sample.image is not None:
            return "is the second image of its sample; give each image a key (the name before the first dot) alone"
        sample.image = member
    elif ending in LABELS and ending == sample.label_from:
        return "is the second label of its sample; remove one of them"
    elif ending in LABELS and sample.label_from != LABELS[0]:
        if member.size > MOST:
            return f"has {member.size} bytes, too many for a label; correct it"
        opened.seek(member.offset_data)
        content = opened.read(member.size)
        try:
            label = _label(content, ending)
        except (ValueError, RecursionError):
            return "holds no class; write a whole number from 0 on (in json, as label)"
        if label is not None:
            sample.label, sample.label_from = label, ending
    return ""


def _label(content: bytes, ending: str) -> int | None:
    """The class in a file; None in a JSON that has none. Raises ValueError for what is no number from 0 on."""
    if ending == "cls":
        text = content.decode("ascii").strip()
        if not text.isdecimal():
            raise ValueError(text)
        label = int(text[:19])
    else:
        read = json.loads(content)
        given = read.get("label", read.get("cls")) if isinstance(read, dict) else None
        if given is None:
            return None
        if type(given) is not int:
            raise ValueError(given)
        label = given
    if not 0 <= label < 1 << 31:
        raise ValueError(label)
    return label
