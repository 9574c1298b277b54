"""A manifest: the SHA-256 of every file of a data set, in the form of `sha256sum`, compressed.

`zcat FILE | (cd ROOT && sha256sum --check --quiet)` verifies one without this package.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.errors import BadInput
from bench.files import replacing
from bench.machine import cores
from bench.progress import Progress

LINE = re.compile(r"(\\?)([0-9a-f]{64})  (.+)")
MISSING, NEW, OTHER = "is missing", "is new", "has another content"
Problem = tuple[str, str]  # a file relative to the root, and one of these


class ChangedFiles(BadInput):
    """Files of a data set are not as its manifest has them."""


def write_manifest(file: Path, digests: Mapping[str, str]) -> None:
    """Write a manifest of {file relative to the root: SHA-256 in hex}. Raises OSError.

    The same content gives the same bytes. Names with a backslash or a line's end are written as sha256sum does.
    """
    lines: list[str] = []
    for name, digest in digests.items():
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append(f"{chr(92) if escaped != name else ''}{digest}  {escaped}\n")
    content = "".join(lines).encode("utf-8", "surrogateescape")
    with replacing(file, durable=True) as temporary:
        temporary.write_bytes(gzip.compress(content, 6, mtime=0))


def read_manifest(file: Path) -> tuple[dict[str, str], str]:
    """Return a manifest's {file: SHA-256}, and the SHA-256 of itself. Raises BadInput for what is none."""
    remedy = "put it back from a copy, or remove it and write another with bench data check --full"
    try:
        if not (packed := file.read_bytes()):  # which gzip takes for nothing, packed
            raise EOFError("it is empty")
        lines = gzip.decompress(packed).decode("utf-8", "surrogateescape").split("\n")
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{file} cannot be read as a manifest ({error}); {remedy}.") from error
    digests: dict[str, str] = {}
    for number, line in enumerate(lines[:-1] if not lines[-1] else lines, 1):
        found = LINE.fullmatch(line)
        if found is None:
            raise BadInput(f"Line {number} of {file} is no checksum and name of a file; {remedy}.")
        digests[_plain(found[3]) if found[1] else found[3]] = found[2]
    return digests, hashlib.sha256(packed).hexdigest()


def _plain(escaped: str) -> str:
    return re.sub(r"\\(.)", lambda one: {"n": "\n", "r": "\r"}.get(one[1], one[1]), escaped)


def digests_of(root: Path, names: Sequence[str], title: str) -> dict[str, str]:
    """Return {file: SHA-256 of its content}, with a progress display. Raises OSError."""

    def digest(name: str) -> str:
        with (root / name).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()

    found: dict[str, str] = {}
    shown = Progress(title, len(names), "files", stream=sys.stderr)  # what a plan prints may be JSON
    with ThreadPoolExecutor(2 * cores()) as pool, shown as progress:
        for start in range(0, len(names), 1024):
            part = names[start : start + 1024]
            found.update(zip(part, pool.map(digest, part), strict=True))
            progress.update(len(part))
    return found


def problems_of(
    root: Path, names: Sequence[str], manifest: Mapping[str, str], unverified: Sequence[str], title: str
) -> list[Problem]:
    """Return which files are not as a manifest has them; only the content of `unverified` ones is read."""
    listed = set(names)
    problems = [(name, MISSING) for name in manifest if name not in listed]
    problems += [(name, NEW) for name in names if name not in manifest]
    known = [name for name in unverified if name in manifest and name in listed]
    digests = digests_of(root, known, title) if known else {}
    return problems + [(name, OTHER) for name, digest in digests.items() if digest != manifest[name]]


def changed_files(root: Path, file: Path, problems: Sequence[Problem], command: str) -> ChangedFiles:
    """Return the error that names the first of the files that are not as the manifest has them."""
    name, why = problems[0]
    count = f" ({len(problems)} files differ)" if len(problems) > 1 else ""
    return ChangedFiles(
        f"{root / name} {why}, by the manifest {file}{count}; put the files back as they were or, if the change is "
        f"meant, remove the manifest and write another: {command}"
    )
