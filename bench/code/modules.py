"""Where the source of a module is, found without importing it, and whether it belongs to what is looked at.

That is this package and, for code from outside, its own file or package, what lies beside that file, and other packages
that are not installed, but found by the path. Installed packages and Python's own modules are external: of them the
versions count.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from bench.code.facts import Facts
from bench.code.kept import Kept
from bench.code.left_out import PACKAGE

OURS = Path(__file__).parents[1]
INSTALLED = frozenset({"site-packages", "dist-packages"})


@dataclass(eq=False)
class Module:
    """One file of code."""

    name: str  # dotted; of a file that was named by its path, that path
    file: Path
    facts: Facts
    home: Path | None = None  # of code from outside: the folder where top-level modules beside it lie

    @property
    def ours(self) -> bool:
        """Whether it belongs to this package."""
        return self.home is None

    @property
    def shown(self) -> str:
        """Its name for people and in files, without a path of this machine."""
        return self.name if "/" not in self.name else Path(self.name).name


@dataclass
class Modules:
    """Modules by name, each read once."""

    kept: Kept = field(default_factory=Kept)
    ours: Path = OURS  # the folder of this package
    _found: dict[tuple[str, Path | None], Module | None] = field(default_factory=dict)
    _homes: dict[str, Path | None] = field(default_factory=dict)

    @property
    def met_outside(self) -> bool:
        """Whether code from outside of this package was asked for."""
        return bool(self._homes) or any(home is not None for _, home in self._found)

    def package(self) -> Module:
        """Return this package, as what a name is seen from."""
        module = self._below(PACKAGE, None)
        assert module is not None
        return module

    def file(self, file: Path) -> Module:
        """Return the module of a file of code from outside. Raises BadInput where it is no Python."""
        key = str(file.resolve()), file.resolve().parent
        if key not in self._found:
            self._found[key] = Module(key[0], file, self.kept.of(file, file.stem, ""), key[1])
        module = self._found[key]
        assert module is not None
        return module

    def outside(self, name: str) -> Module | None:
        """Return a module of a package from outside by its name, whether that is installed or not."""
        spec = _spec(name.partition(".")[0])
        return None if spec is None else self._below(name, spec)

    def find(self, name: str, seen_from: Module) -> Module | None:
        """Return the module of that name, as another one imports it; None for one that is external."""
        top = name.partition(".")[0]
        if not top:
            return None
        if top == PACKAGE:
            return self._below(name, None)
        if seen_from.home is None:
            return None
        if INSTALLED & set(seen_from.home.parts):  # of installed packages its own alone
            return self._below(name, seen_from.home) if top == seen_from.name.partition(".")[0] else None
        if _is_there(seen_from.home, top):
            return self._below(name, seen_from.home)
        if top not in self._homes:
            place = None if top in sys.stdlib_module_names else _spec(top)
            self._homes[top] = None if place is None or INSTALLED & set(place.parts) else place
        home = self._homes[top]
        return None if home is None else self._below(name, home)

    def _below(self, name: str, home: Path | None) -> Module | None:
        """The module of a dotted name; `home` is the folder of its top-level package, None for ours."""
        key = name, home
        if key not in self._found:
            self._found[key] = self._read(name, home)
        return self._found[key]

    def _read(self, name: str, home: Path | None) -> Module | None:
        place = (self.ours.parent if home is None else home).joinpath(*name.split("."))
        for file, package in (
            (place / "__init__.py", name),
            (place.with_name(f"{place.name}.py"), name.rpartition(".")[0]),
        ):
            if file.is_file():
                return Module(name, file, self.kept.of(file, name, package), home)
        return Module(name, place, Facts(), home) if home is not None and place.is_dir() else None  # a namespace


def _is_there(home: Path, top: str) -> bool:
    return (home / f"{top}.py").is_file() or (home / top / "__init__.py").is_file()


def _spec(top: str) -> Path | None:
    """The folder that holds a top-level module or package; None where there is none, or it is no source."""
    try:
        spec = find_spec(top)
    except (ValueError, ImportError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return Path(spec.origin).parent if spec.origin and spec.origin.endswith(".py") else None
