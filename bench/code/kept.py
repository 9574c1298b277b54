"""Facts of files, kept by the content of each."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from bench.code.facts import Definition, Facts, facts_of
from bench.errors import BadInput
from bench.files import read_json, write_text

# What is kept is of these sources: an edit of how shapes are written makes all of them anew.
_SOURCES = [Path(__file__).with_name(f"{name}.py") for name in ("facts", "references", "scopes", "shapes")]
FORM = hashlib.sha256(repr(sys.version_info[:2]).encode() + b"".join(map(Path.read_bytes, _SOURCES))).hexdigest()[:16]


MOST = 800  # files of which facts are kept


class Kept:
    """Facts of files by their content, in memory and in a file (None: in memory alone)."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._stored: dict[str, Any] = _read(file) if file is not None else {}
        self._asked: dict[str, Facts] = {}

    def of(self, file: Path, module: str, package: str) -> Facts:
        """Return what a file says, as the module of that name. Raises BadInput where it is no Python."""
        try:
            content = file.read_bytes()
        except OSError as error:
            raise BadInput(f"Cannot read {file}: {error.strerror}; check its permissions.") from error
        key = hashlib.sha256(f"{FORM} {module} {package} ".encode() + content).hexdigest()[:32]
        if key not in _memory:
            _memory[key] = _load(self._stored.get(key)) or facts_of(content, file, package)
        self._asked[key] = _memory[key]
        return _memory[key]

    def save(self) -> None:
        """Write what is new into the file; where that cannot be, it is found anew next time."""
        fresh = [key for key in self._asked if key not in self._stored]
        if self.file is None or not fresh:
            return
        stored = {key: _plain(self._asked[key]) for key in fresh} | self._stored
        self._stored = dict(list(stored.items())[:MOST])
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.file, json.dumps({"form": FORM, "facts": self._stored}))


_memory: dict[str, Facts] = {}


def _read(file: Path) -> dict[str, Any]:
    content = read_json(file)
    facts = content.get("facts") if content.get("form") == FORM else None
    return facts if isinstance(facts, dict) else {}


def _load(content: Any) -> Facts | None:
    """Facts from what was kept; None where they were not, or cannot be read."""
    try:
        some = content["definitions"].items()
        return Facts(**content | {"definitions": {name: Definition(**one) for name, one in some}})
    except (TypeError, KeyError, AttributeError):
        return None


def _plain(facts: Facts) -> dict[str, Any]:
    """Facts to keep: what is empty is left out."""
    some = facts.definitions.items()
    return {**vars(facts), "definitions": {name: {k: v for k, v in vars(one).items() if v} for name, one in some}}
