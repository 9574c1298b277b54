"""Classes that are named from outside of this package: where the source is, without importing it, and the import.

`path/to/file.py:Class`, `package.module:Class`, or the name of an entry point that an installed package has. This
module does not import torch, and `locate` imports nothing of what it looks for.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import BadInput, Interrupted, MoreToDo, StageFailed, nearest, one_line, shortened
from bench.safe_mode import NotSafe, is_safe, remedy


@dataclass(frozen=True)
class Source:
    """Where a class is: a file, and the module that it is (None where it was named by its path)."""

    file: Path
    attribute: str
    module: str | None

    @property
    def hash(self) -> str:
        """16 hex digits of the file's content."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]

    @property
    def portable(self) -> str:
        """The name without a path of this machine."""
        return f"{self.module or self.file.name}:{self.attribute}"

    def __str__(self) -> str:
        return f"{self.module or self.file}:{self.attribute}"


def entries(group: str) -> dict[str, str]:
    """Return {name: "module:Class"} of a group of entry points of installed packages."""
    return {point.name: point.value for point in entry_points(group=group)}


def locate(
    name: str,
    group: str,
    folder: Path | None = None,
    *,
    what: str = "name",
    where: str = "",
    known: Iterable[str] = (),
) -> Source:
    """Return where the class of that name is, without importing it.

    Args:
        name: an entry point of `group`, `package.module:Class`, or `file.py:Class`.
        group: of entry points, such as `bench.datasets`.
        folder: where a relative path is looked for first, as that of the config; else in the working directory.
        what: what it should be, for messages, such as "data set".
        where: what names it, for messages, such as " in my_config.py".
        known: names that the caller knows by itself, for messages.

    Raises BadInput when there is no such file, module or name, and in safe mode for what is no entry point.
    """
    if ":" in name and is_safe() and name not in entries(group).values():
        raise NotSafe(f"The {what} {name!r}{where} is code from outside of bench, which is not run; {remedy()}")
    place, colon, attribute = (name if ":" in name else entries(group).get(name, "")).rpartition(":")
    if not colon or not place or not attribute.isidentifier():
        names = [*known, *entries(group)]
        hint = nearest(name, names) or f"; known: {', '.join([*names, 'package.module:Class and file.py:Class'])}."
        raise BadInput(f"Unknown {what} {shortened(name)}{where}{hint}")
    if place.endswith(".py"):
        folders = [*([folder] if folder is not None else []), Path.cwd()]
        file = next((parent / place for parent in folders if (parent / place).is_file()), None)
        if file is None:
            places = " nor in ".join(str(parent) for parent in dict.fromkeys(folders))
            raise BadInput(
                f"The {what} {shortened(name)}{where} names {place}, which is not in {places}; correct the path."
            )
        return Source(file.resolve(), attribute, None)
    module = module_file(place)
    if module is None:
        raise BadInput(
            f"The {what} {shortened(name)}{where} names the module {place}, which is not installed; install its "
            "package, or give path/to/file.py:Class."
        )
    return Source(module, attribute, place)


def module_file(module: str) -> Path | None:
    """Return the source file of a module, None where there is none.

    Asked for all of `a.b.c`, find_spec would import the packages above it.
    """
    parts = module.split(".")
    try:
        spec = find_spec(parts[0])
    except ValueError:  # not the name of a module
        return None
    for end in range(2, len(parts) + 1):
        if spec is None:
            return None
        spec = PathFinder.find_spec(".".join(parts[:end]), list(spec.submodule_search_locations or []))
    origin = Path(spec.origin) if spec is not None and spec.origin is not None else None
    return origin if origin is not None and origin.suffix == ".py" and origin.is_file() else None


def load(source: Source) -> Any:
    """Import the class of a source. Raises BadInput when its file cannot be run, or has nothing of that name."""
    try:
        module = import_module(source.module) if source.module is not None else _run(source)
    except (Exception, SystemExit) as error:
        raise BadInput(f"{source.file} cannot be imported ({one_line(error, kind=True)}); correct it.") from error
    try:
        return getattr(module, source.attribute)
    except AttributeError as error:
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        hint = nearest(source.attribute, classes) or "; correct the name."
        raise BadInput(f"{source.file} has no class {source.attribute}{hint}") from error


@contextmanager
def running(what: str, *passed: type[Exception]) -> Iterator[None]:
    """Raise BadInput where code from outside of this package raises, or ends the process, while the block runs.

    Args:
        what: that runs, for the message: `Birds.index in /path/birds.py`.
        passed: exceptions that the caller handles. Our own, which have words for people, always pass.
    """
    ours: tuple[type[Exception], ...] = (BadInput, StageFailed, Interrupted, MoreToDo)
    try:
        yield
    except ours + passed:
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(f"{what} raised {one_line(error, kind=True)}; correct it.") from error


def _run(source: Source) -> ModuleType:
    """Run a file as a module of its own name, once for each content."""
    name = f"bench_plugin_{source.file.stem}_{source.hash}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, source.file)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look it up there
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
