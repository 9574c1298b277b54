"""Edits that change no result, as a person said: `same.toml`, in which a digest counts as another."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from bench.errors import BadInput, one_line
from bench.files import write_text

FILE = Path(__file__).with_name("same.toml")
HEAD = """# Edits that change no result: a definition with the digest `now` counts as one with the digest `was`.
# `bench code --same "reason"` adds entries.
"""

_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class Entry(BaseModel):
    """One definition whose edit changes no result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    definition: Annotated[str, StringConstraints(min_length=1)]
    was: _Digest
    now: _Digest
    why: Annotated[str, StringConstraints(min_length=3, strip_whitespace=True)]


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    same: list[Entry] = []


def entries(file: Path = FILE) -> list[Entry]:
    """Return what the file says, [] where there is none. Raises BadInput for one that is broken."""
    if not file.is_file():
        return []
    try:
        return _Content.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).same
    except (OSError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else one_line(error)
        raise BadInput(f"{file} is not as bench code --same writes it ({why}); restore it from version control.") from (
            error
        )


@cache
def _mapping(file: Path, _stamp: tuple[int, int] | None) -> Mapping[str, str]:
    return mapping(entries(file))


def mapping(some: Sequence[Entry]) -> dict[str, str]:
    """Return {digest: the one that it counts as}. Raises BadInput where a digest counts as two."""
    found: dict[str, str] = {}
    for entry in some:
        if found.setdefault(entry.now, entry.was) != entry.was:
            raise BadInput(
                f"{FILE.name} says twice what {entry.definition} with the digest {entry.now} counts as; remove one."
            )
    return found


def same(file: Path = FILE) -> Mapping[str, str]:
    """Return {digest: the one that it counts as}, as the file of now says. Raises BadInput as `entries` does."""
    stat = file.stat() if file.is_file() else None
    return _mapping(file, None if stat is None else (stat.st_mtime_ns, stat.st_size))


def write(some: Sequence[Entry], file: Path = FILE) -> None:
    """Write all entries, in their order."""
    blocks = [
        "\n[[same]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in entry.model_dump().items())
        for entry in some
    ]
    write_text(file, HEAD + "".join(blocks))
