"""The committed lock: digests of the code as of the versions that are declared, and what has moved since.

A unit is what has a version of its own: a kind of stage, an objective, a data set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bench.code.digests import Code
from bench.code.used import changed
from bench.errors import BadInput, one_line
from bench.files import write_text

FILE = Path(__file__).with_name("lock.json")


class LockedUnit(BaseModel):
    """The code of one unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int  # of the kind, or the definition of the objective or data set
    digest: str


class LockedDefinition(BaseModel):
    """One definition."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    own: str  # hash of what it says itself
    digest: str = ""  # with all that it reaches; "" of a method, which is part of its class


class Lock(BaseModel):
    """The content of `lock.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    units: dict[str, LockedUnit]
    views: dict[str, int]  # back end of views -> version
    definitions: dict[str, LockedDefinition]
    # unit -> definition -> digest, where private names that something else there mentions, too, make another of it
    otherwise: dict[str, dict[str, str]] = {}

    @property
    def own(self) -> dict[str, str]:
        """{definition: hash of what it says itself}."""
        return {name: each.own for name, each in self.definitions.items()}

    def digest(self, unit: str, definition: str) -> str:
        """Return the digest of a definition within a unit; "" where it was not there."""
        known = self.definitions.get(definition)
        return self.otherwise.get(unit, {}).get(definition, known.digest if known else "")


@dataclass(frozen=True)
class Unit:
    """The code of now of one unit."""

    version: int
    code: Code


@dataclass(frozen=True)
class Moved:
    """A unit whose code is another than the lock says."""

    unit: str
    definitions: tuple[str, ...]  # that changed, of those that it reaches
    accounted: bool  # by a version


def lock_of(units: Mapping[str, Unit], views: Mapping[str, int]) -> Lock:
    """Return the lock of the code of now."""
    definitions: dict[str, LockedDefinition] = {}
    otherwise: dict[str, dict[str, str]] = {}
    for name, unit in units.items():
        for title, own in unit.code.own.items():
            digest = unit.code.each.get(title, "")
            known = definitions.setdefault(title, LockedDefinition(own=own, digest=digest))
            if known.digest != digest:
                otherwise.setdefault(name, {})[title] = digest
    return Lock(
        units={name: LockedUnit(version=unit.version, digest=unit.code.digest) for name, unit in units.items()},
        views=dict(views),
        definitions=dict(sorted(definitions.items())),
        otherwise=otherwise,
    )


def read(file: Path = FILE) -> Lock | None:
    """Return what the file says, None where there is none. Raises BadInput for one that is broken."""
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        parts = {name: each.split() for name, each in content["definitions"].items()}
        content["definitions"] = {k: dict(zip(("own", "digest"), v, strict=False)) for k, v in parts.items()}
        return Lock.model_validate(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{file} is not as bench code --lock writes it ({one_line(error)}); restore it from version control."
        ) from error


def write(lock: Lock, file: Path = FILE) -> None:
    """Write the lock, a line for each unit and definition, so that edits that do not meet merge."""
    content = lock.model_dump(exclude={"definitions", "units"})
    content["definitions"] = {name: f"{each.own} {each.digest}".strip() for name, each in lock.definitions.items()}
    lines = [f"  {json.dumps(name)}: {each.model_dump_json()}" for name, each in lock.units.items()]
    rest = json.dumps(content, indent=1)
    write_text(file, '{\n "units": {\n' + ",\n".join(lines) + "\n }," + rest[1:] + "\n")


def moved(lock: Lock, units: Mapping[str, Unit], views: Mapping[str, int], of_views: Mapping[str, str]) -> list[Moved]:
    """Return the units whose code moved since the lock, with the definitions that changed.

    Args:
        lock: as it was.
        units: as they are.
        views: the versions of the back ends of views.
        of_views: back end -> beginning of the names of its definitions, which its version accounts for.
    """
    found = []
    for name, unit in units.items():
        was = lock.units.get(name)
        if was is None or was.digest == unit.code.digest:
            continue
        own = lock.own
        # Of what is gone it is not known which unit had it: what else changed says enough, if anything did.
        here = changed({k: own[k] for k in own if k in unit.code.own}, unit.code.own)
        here = here or [each for each in changed(own, unit.code.own) if each not in unit.code.own][:10]
        raised = [place for back_end, place in of_views.items() if views.get(back_end, 1) > lock.views.get(back_end, 1)]
        by_views = bool(raised) and all(each.startswith(tuple(raised)) for each in here)
        more = "pretrain" if name.startswith("objective ") else name
        above = more in units and more in lock.units and units[more].version > lock.units[more].version
        found.append(Moved(name, tuple(here), unit.version > was.version or above or by_views))
    return found
