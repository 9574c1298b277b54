"""What names in a definition mean: local variables, private attributes, and references to what is elsewhere."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.code.scopes import Scope

STRING_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+:[A-Za-z_]\w*")  # package.module:name
FILE_NAME = re.compile(r"[\w\-]+(/[\w\-.]+)*\.\w+")
SAYING = {"print", "warnings.warn", "warn"}
INSIGHT = {"locals", "vars", "eval", "exec", "dir"}  # with these, names of local variables may count
_SKIPPED = frozenset({"ctx", "kind", "type_comment", "type_ignores", "annotation", "returns", "lineno"})


@dataclass
class Shape:
    """What is known of a definition from its own source."""

    text: str = ""
    refs: list[tuple[str, str]] = field(default_factory=list)  # distinct, see `Writer`
    occurrences: list[int] = field(default_factory=list)  # which of `refs` each R is
    privates: list[str] = field(default_factory=list)  # by number
    defines: set[str] = field(default_factory=set)  # those of them that it defines itself
    attributes: set[str] = field(default_factory=set)  # that it mentions
    files: set[str] = field(default_factory=set)  # texts that may name a file beside it
    imports: list[str] = field(default_factory=list)  # modules that it imports when it runs
    dynamic: bool = False  # it imports what its source does not say

    @property
    def hash(self) -> str:
        """32 hex digits of the text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def private(name: str) -> bool:
    """Whether a name is private by convention: `_x`, but neither `_` nor `__x__`."""
    return name.startswith("_") and name.strip("_") != "" and not name.endswith("__")


class Names:
    """Writes names, constants and plain nodes. A reference is ("name", "F.normalize"), ("maybe", "name"),
    ("import", "module:dotted"), or ("text", "module:name").

    Args:
        package: what relative imports are relative to.
        annotated: whether annotations count, as where a decorator may read them.
    """

    def __init__(self, package: str, annotated: bool = False) -> None:
        self.package, self.annotated = package, annotated
        self.shape = Shape()
        self._tokens: list[str] = []
        self._scopes: list[Scope] = []
        self._locals = 0
        self._saying = 0
        self._numbered: dict[str, int] = {}
        self._known: dict[tuple[str, str], int] = {}
        self._plain = False
        self._targets: dict[str, int] = {}  # names of the module that the statement at hand binds
        self._fields = False  # whether annotations without a value make fields

    def finished(self) -> Shape:
        """Return the shape of all that was written."""
        self.shape.text = "\x1f".join(self._tokens)
        self.shape.privates = list(self._numbered)
        return self.shape

    def binds(self, names: Sequence[str], which: int) -> None:
        """Say which names of a module the statement that follows binds, and which of them is meant."""
        self._targets = {name: number for number, name in enumerate(names)}
        self._put(f"number {which} of {len(names)}")

    def write(self, node: Any) -> None:
        """Write one node, list or plain value."""
        if isinstance(node, list):
            self._put("[")
            for each in node:
                if not idle(each):
                    self.write(each)
            self._put("]")
        elif isinstance(node, ast.AST):
            special = getattr(self, f"_{type(node).__name__}", None)
            if special is None:
                self._generic(node)
            else:
                special(node)
        else:
            self._put(f"{type(node).__name__}:{node!r}")

    def _put(self, *tokens: str) -> None:
        self._tokens.extend(tokens)

    def _generic(self, node: ast.AST, *without: str) -> None:
        self._put("(" + type(node).__name__)
        for name in node._fields:
            if name not in _SKIPPED and name not in without:
                self.write(getattr(node, name, None))
        self._put(")")

    # What refers to something.

    def _Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load) and not self._scopes and node.id in self._targets:
            self._put(f"bound:{self._targets[node.id]}")
            return
        self._name(node.id, "", isinstance(node.ctx, ast.Load))

    def _name(self, name: str, rest: str, read: bool = False) -> None:
        """A name, with the attributes that follow it: a reference, or a local variable and attributes of it.

        What a class body reads may be the module's as long as the class has not bound it.
        """
        number = self._scope_of(name)
        if number is None:
            self._refer("name", name + rest)
            return
        scope = self._scopes[number]
        if (place := scope.imports.get(name)) is not None:
            module, inside = place
            self._refer("import", f"{module}:{inside}{rest if inside else rest.removeprefix('.')}")
            return
        if scope.kind == "class":
            self._private_or(name, "class:")
            if read:
                self._refer("maybe", name)
        elif name in scope.parameters or self._plain:
            self._put(f"parameter:{name}")
        else:
            if name not in scope.numbers:
                scope.numbers[name] = self._locals
                self._locals += 1
            self._put(f"local:{scope.numbers[name]}")
        for attribute in rest.split(".")[1:]:
            self._put(".")
            self._attribute(attribute)

    def _scope_of(self, name: str) -> int | None:
        for number in range(len(self._scopes) - 1, -1, -1):
            scope = self._scopes[number]
            if name in scope.outer:
                return None
            if scope.kind == "class" and number != len(self._scopes) - 1:
                continue
            if name in scope.parameters or name in scope.bound:
                return number
        return None

    def _refer(self, kind: str, what: str) -> None:
        known = self._known.setdefault((kind, what), len(self._known))
        if known == len(self.shape.refs):
            self.shape.refs.append((kind, what))
        self.shape.occurrences.append(known)
        self.shape.attributes.update(what.rpartition(":")[2].split("."))
        self._put("R")

    def _Attribute(self, node: ast.Attribute) -> None:
        names, base = [node.attr], node.value
        while isinstance(base, ast.Attribute):
            names.append(base.attr)
            base = base.value
        names.reverse()
        if isinstance(base, ast.Name):
            self.shape.attributes.update(names)
            if isinstance(node.ctx, ast.Store) and base.id in {"self", "cls"} and len(names) == 1:
                self.shape.defines.update(filter(private, names))
            self._name(base.id, "".join(f".{name}" for name in names), True)
            return
        self._put("(.")
        self.write(base)
        for name in names:
            self.shape.attributes.add(name)
            self._attribute(name)
        self._put(")")

    def _attribute(self, name: str) -> None:
        self._private_or(name, "")

    def _private_or(self, name: str, prefix: str) -> None:
        if private(name):
            self._put(f"{prefix}private:{self._numbered.setdefault(name, len(self._numbered))}")
        else:
            self._put(prefix + name)

    def _Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, str):
            if self._saying:
                self._put("words")
                return
            if STRING_REFERENCE.fullmatch(value):
                self._refer("text", value)
                return
            if private(value) and value.isidentifier():  # for getattr
                self._put("text")
                self._private_or(value, "")
                return
            if FILE_NAME.fullmatch(value):
                self.shape.files.add(value)
            if value.isidentifier():
                self.shape.attributes.add(value)
        self._put(f"{type(value).__name__}:{value!r}")

    def _Call(self, node: ast.Call) -> None:
        name = dotted(node.func)
        if name.rpartition(".")[2] in {"import_module", "__import__"}:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and not first.value.startswith("."):
                self.shape.imports.append(first.value)
                self._refer("import", f"{first.value}:")
            else:
                self.shape.dynamic = True
        if name in SAYING:
            with self._words():
                self._generic(node)
        else:
            self._generic(node)

    # Messages.

    @contextmanager
    def _words(self) -> Iterator[None]:
        self._saying += 1
        try:
            yield
        finally:
            self._saying -= 1

    def _Raise(self, node: ast.Raise) -> None:
        with self._words():
            self._generic(node)

    def _Assert(self, node: ast.Assert) -> None:
        self._put("(Assert")
        self.write(node.test)
        with self._words():
            self.write(node.msg)
        self._put(")")

    def _JoinedStr(self, node: ast.JoinedStr) -> None:
        if not self._saying:
            self._generic(node)
            return
        self._put("words")
        for each in node.values:
            if isinstance(each, ast.FormattedValue):
                self.write(each.value)


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` of a name with attributes, "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def idle(node: Any) -> bool:
    """Return whether a statement does nothing: a docstring, `pass`, `...`."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def looks_inside(body: Iterable[ast.AST]) -> bool:
    """Return whether a function may read the names of its local variables."""
    return any(isinstance(node, ast.Name) and node.id in INSIGHT for each in body for node in ast.walk(each))
