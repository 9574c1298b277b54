"""Config files as plain data: YAML, JSON, and the part of Python that is data, with `_base_`; nothing in them is run.

Inheritance is mmengine's: dictionaries are merged unless `_delete_` is in them, all else is replaced, and two bases may
not have a key in common.
"""

from __future__ import annotations

import copy
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.config.plain_limits import MOST_BYTES, NotPlain
from bench.config.plain_python import parse_python
from bench.config.plain_text import parse_json, parse_yaml
from bench.errors import BadInput, one_line, shortened
from bench.safe_mode import NotSafe, is_safe, remedy

DATA_SUFFIXES = (".yaml", ".yml", ".json")  # of files that are read as plain data always
SUFFIXES = (".py", *DATA_SUFFIXES)
BASE, DELETE = "_base_", "_delete_"
MOST_FILES = 100  # that one config inherits, itself included

FindBase = Callable[[str, Path], Path]  # the file that a word in `_base_` of a file means


def read_plain(file: Path, find_base: FindBase) -> tuple[dict[str, Any], str]:
    """Return (values, docstring) of a config without running anything of it or of the files that it inherits.

    Raises BadInput, with the file and the line, for what is no plain data, and for what `find_base` raises.
    """
    return _with_bases(file, find_base, (), [])


def _with_bases(
    file: Path, find_base: FindBase, below: tuple[Path, ...], seen: list[Path]
) -> tuple[dict[str, Any], str]:
    """A file's values over those of its bases. `below` are the files that inherit it; `seen` counts all of them."""
    if file.resolve() in below:
        raise BadInput(f"{file} inherits itself by {BASE}; take it out.")
    seen.append(file)
    if len(seen) > MOST_FILES:
        raise BadInput(f"{below[0]} inherits more than {MOST_FILES} files by {BASE}; take some out.")
    values, docstring = _parsed(file)
    inherited: dict[str, Any] = {}
    for word in _words(values.pop(BASE, []), file):
        try:
            base = find_base(word, file)
            base.resolve()
        except (OSError, ValueError) as error:  # too long for a name; with characters that no path has
            raise BadInput(
                f"{BASE} in {file} is {shortened(word)}, which names no file ({one_line(error)}); correct it."
            ) from error
        below_base = (*below, file.resolve())
        from_base, _ = _with_bases(base, find_base, below_base, seen)
        if common := sorted(inherited.keys() & from_base.keys()):
            raise BadInput(f"{file} inherits the key {common[0]!r} from two files; take one of them out of {BASE}.")
        inherited |= from_base
    try:
        return merged(values, inherited), docstring
    except NotPlain as error:
        raise BadInput(f"{file}: {error}; correct it, or set {DELETE} in the dictionary.") from error


def _words(said: Any, file: Path) -> list[str]:
    words = [said] if isinstance(said, str) else said
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise BadInput(f"{BASE} in {file} is {said!r}, but should be a path or a name, or a list of them; correct it.")
    return words


def _parsed(file: Path) -> tuple[dict[str, Any], str]:
    parsers = {".py": parse_python, ".json": parse_json, ".yaml": parse_yaml, ".yml": parse_yaml}
    if file.suffix not in parsers:
        raise BadInput(f"{file} is no config, which ends in {', '.join(SUFFIXES)}; rename it.")
    text = _text_of(file)
    try:
        return parsers[file.suffix](text)
    except NotPlain as error:
        where = f"{file}, line {error.line}" if error.line is not None else str(file)
        if file.suffix != ".py":
            raise BadInput(f"{where}: {error}; correct it.") from error
        if not is_safe():  # a file in YAML or JSON inherits it
            raise BadInput(f"{where}: {error}, which YAML and JSON cannot inherit; write values alone.") from error
        raise NotSafe(f"{where}: {error}; write values alone, or {remedy()}") from error


def _text_of(file: Path) -> str:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise BadInput(f"{file} is no file; correct the path of the config.")
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise BadInput(f"{file} has more than {MOST_BYTES // 2**10} KiB, which no config has; correct the path.")
        return content.decode("utf-8")
    except OSError as error:
        raise BadInput(f"Cannot read {file} ({error.strerror}); correct the path of the config.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8; save it so.") from error


def merged(values: Mapping[Any, Any], base: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return `values` laid over `base`, as mmengine does it. Raises NotPlain for a dictionary over another value."""
    result = copy.deepcopy(dict(base))
    for key, value in values.items():
        if isinstance(value, dict) and key in result:
            kept = dict(value)
            if kept.pop(DELETE, False):
                result[key] = kept
            elif not isinstance(result[key], dict):
                raise NotPlain(f"{key!r} is a dictionary, but what it inherits there is none")
            else:
                result[key] = merged(kept, result[key])
        else:
            result[key] = value
    return result
