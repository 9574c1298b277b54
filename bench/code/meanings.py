"""What a name means in a module: which definition, which other module, or what outside."""

from __future__ import annotations

import builtins
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.code.facts import Definition
from bench.code.left_out import LEFT_OUT
from bench.code.modules import Module, Modules

ALL = "*"  # the definition that stands for all of a module


def hashed(*parts: object) -> str:
    """Return 32 hex digits of plain values."""
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(eq=False)
class Node:
    """A definition in the graph."""

    module: Module
    name: str
    definition: Definition
    own: str = ""  # hash of the shape and of what it refers to outside
    targets: list[Node] = field(default_factory=list)  # in the order in which it refers to them
    more: list[Node] = field(default_factory=list)  # that it may use, in no order
    externals: set[str] = field(default_factory=set)  # dotted names outside
    modules: list[Module] = field(default_factory=list)  # that are imported with it
    open: frozenset[str] = frozenset()  # private names that nobody outside the graph knows of
    mentioned: frozenset[str] = frozenset()  # private names

    @property
    def title(self) -> str:
        """`bench.train.optim:build_optimizer`."""
        return f"{self.module.shown}:{self.name}"

    @property
    def tells(self) -> frozenset[str]:
        """What its digest depends on besides: private names, and its own, where others are like it."""
        return self.open | {f"={self.title}"} if self.definition.identity else self.open


Found = Node | Module | str  # a definition, a whole module, or a dotted name outside


class Meanings(ABC):
    """Finds what names mean."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self._imported: dict[Module, list[Module]] = {}

    @abstractmethod
    def node(self, module: Module, name: str) -> Node:
        """Return a definition of a module."""

    def root(self, module: Module, name: str) -> Node | None:
        """Return the definition of that name in a module, or where it was imported from; None where there is none."""
        found = self._follow(module, name, ())
        return found[0] if isinstance(found[0], Node) and not found[1] else None

    def resolve(self, module: Module, kind: str, what: str) -> tuple[Found, str] | None:
        """Return what a reference means, and the attributes of it that follow; None for what is plain text."""
        if kind == "text":
            place, _, name = what.partition(":")
            found = self.modules.find(place, module)
            if found is None or (name not in found.facts.binds and not found.facts.stars):
                return None
            return self._follow(found, name, ())
        if kind == "import":
            place, _, name = what.partition(":")
            inside, *rest = name.split(".") if name else [""]
            return self._import(module, place, inside, tuple(rest))
        first, *rest = what.split(".")
        if kind == "maybe" and first not in module.facts.binds:
            return None
        return self._follow(module, first, tuple(rest))

    def _import(
        self, module: Module, place: str, name: str, rest: tuple[str, ...], seen: frozenset[object] = frozenset()
    ) -> tuple[Found, str]:
        found = self.modules.find(place, module)
        if found is None:
            return ".".join(filter(None, (place, name, *rest))), ""
        if not name:
            return self._attribute(found, rest, seen) if rest else (found, "")
        return self._follow(found, name, rest, seen)

    def _attribute(
        self, module: Module, rest: tuple[str, ...], seen: frozenset[object] = frozenset()
    ) -> tuple[Found, str]:
        return self._follow(module, rest[0], rest[1:], seen)

    def _follow(
        self, module: Module, name: str, rest: tuple[str, ...], seen: frozenset[object] = frozenset()
    ) -> tuple[Found, str]:
        """What a name means in a module: what it binds, a submodule, what a star brings, a builtin, in this order."""
        if module.ours and (why := self._left_out(module, name)):
            return why, ".".join(rest)
        if (module, name) in seen:
            return module, ".".join((name, *rest))
        seen = seen | {(module, name)}
        facts = module.facts
        if name in facts.binds:
            place = facts.binds[name]
            if place is None:
                return self.node(module, name), ".".join(rest)
            return self._import(module, place[0], place[1], rest, seen)
        below = self.modules.find(f"{module.name}.{name}", module) if "/" not in module.name else None
        if below is not None:
            return self._attribute(below, rest, seen) if rest else (below, "")
        for star in facts.stars:
            found = self.modules.find(star, module)
            if found is not None and (name in found.facts.binds or found.facts.stars):
                return self._follow(found, name, rest, seen)
        if hasattr(builtins, name):
            return ".".join(("builtins", name, *rest)), ""
        outside = [star for star in facts.stars if self.modules.find(star, module) is None]
        if outside:
            return ".".join((outside[-1], name, *rest)), ""
        if name in {"__file__", "__name__", "__doc__", "__path__", "__package__", "__spec__"}:
            return f"the module's {name}", ".".join(rest)
        return module, ".".join((name, *rest))

    def _left_out(self, module: Module, name: str) -> str:
        if module.name in LEFT_OUT or f"{module.name}:{name}" in LEFT_OUT:
            return f"left out {name}"
        return ""

    def found(self, names: Iterable[str], seen_from: Module) -> list[Module]:
        """Return modules of the graph by name, with the packages above them."""
        found: dict[Module, None] = {}
        for name in names:
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                module = self.modules.find(".".join(parts[:end]), seen_from)
                if module is not None and not (module.ours and module.name in LEFT_OUT):
                    found[module] = None
        return list(found)

    def imported_by(self, module: Module) -> list[Module]:
        """Return the modules of the graph that importing a module imports, first hand."""
        if module not in self._imported:
            above = [] if "/" in module.name else [module.name.rpartition(".")[0]]
            self._imported[module] = self.found([*above, *module.facts.imports], module)
        return self._imported[module]

    def package(self, module: Module) -> list[Module]:
        """Return all modules of the package that code from outside belongs to; itself, where it is a single file."""
        if "/" in module.name or "." not in module.name:
            return [module]
        folder = module.file.parents[module.name.count(".") - (module.file.name != "__init__.py")]
        top = module.name.partition(".")[0]
        names = [".".join((top, *file.relative_to(folder).with_suffix("").parts)) for file in folder.rglob("*.py")]
        return self.found([name.removesuffix(".__init__") for name in sorted(names)], module)
