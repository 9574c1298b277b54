"""What a stage keeps of the code that it ran with, and how that differs from another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from bench.code.digests import Code
from bench.code.libraries import versions_of
from bench.code.meanings import hashed
from bench.code.modules import OURS
from bench.errors import writing_to
from bench.files import read_json, write_text

FOLDER = "code"  # in the work folder: which definitions each stage ran with

Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]


class CodeUsed(BaseModel):
    """The code that one sitting of a stage ran with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: Hex
    libraries: dict[str, str] = {}  # package -> version
    table: Hex | None = None  # names the file of its definitions in FOLDER

    def same_as(self, other: CodeUsed) -> bool:
        """Whether nothing that counts differs."""
        return not (self.digest != other.digest or library_changes(self.libraries, other.libraries))


@dataclass(frozen=True)
class Current:
    """The code of now of one stage."""

    code: Code

    @property
    def used(self) -> CodeUsed:
        """What a stage that starts now keeps."""
        table = hashed(sorted(self.code.own.items()))[:16]
        return CodeUsed(digest=self.code.digest, libraries=versions_of(self.code.libraries), table=table)

    def write_table(self, work_dir: Path) -> None:
        """Write the definitions into the work folder, unless they are there. Raises BadInput where that fails."""
        table = self.used.table
        file = work_dir / FOLDER / f"{table}.json"
        if not file.is_file():
            with writing_to(work_dir, "--work-dir"):
                file.parent.mkdir(parents=True, exist_ok=True)
                write_text(file, json.dumps(dict(sorted(self.code.own.items())), indent=0) + "\n")

    def changes(self, used: CodeUsed, work_dir: Path) -> list[str]:
        """Return what differs from what was used: "bench/train/optim.py (build_optimizer)", "torch 2.1 -> 2.2"."""
        now = self.used
        words: list[str] = []
        if used.digest != now.digest:
            then = read_json(work_dir / FOLDER / f"{used.table}.json")
            words += by_file(changed(then, self.code.own)) if then else []
            words = words or ["code, of which it is not kept what it was"]
        return words + library_changes(used.libraries, now.libraries)


def library_changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return which versions differ, in words: "torch 2.11.0 -> 2.15.0"; of what only one side uses nothing is said."""
    return [f"{name} {then[name]} -> {now[name]}" for name in sorted({*then} & {*now}) if then[name] != now[name]]


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the definitions that two tables do not share as they are; of a class its methods, if these are known.

    One that was only moved, or only renamed, has the same hash under another name, and is left out. Where private names
    alone differ, those with other names are returned.
    """
    plain = [{name: own.partition(".")[0] for name, own in table.items()} for table in (then, now)]
    return _changed(*plain) or _changed(then, now)


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    differing = {name for name in {*then, *now} if then.get(name) != now.get(name)}
    gone = {then[name] for name in differing if name in then and name not in now}
    come = {now[name] for name in differing if name in now and name not in then}
    moved = {name for name in differing if name not in now and then[name] in come}
    moved |= {name for name in differing if name not in then and now[name] in gone}
    differing -= moved
    return sorted(name for name in differing if not any(other.startswith(f"{name}.") for other in differing))


def by_file(definitions: Iterable[str]) -> list[str]:
    """Return definitions, file by file: "bench/train/optim.py (Lars.step, set_rates)"."""
    files: dict[str, list[str]] = {}
    for each in definitions:
        module, _, name = each.partition(":")
        place = module.replace(".", "/")
        end = "/__init__.py" if (OURS.parent / place).is_dir() else ".py"
        file = module if module.endswith(".py") else place + end
        files.setdefault(file, []).append("a statement" if name.startswith("<") else name)
    return [f"{file} ({', '.join(dict.fromkeys(names))})" for file, names in files.items()]
