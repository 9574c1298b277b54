"""Where a source does not say what it means: names that are computed, and namespaces that are looked at as a whole."""

from __future__ import annotations

import ast
from collections.abc import Iterable

INSIGHT = frozenset({"locals", "vars", "eval", "exec", "dir"})  # names of local variables may count
OF_MODULE = frozenset({"globals", "eval", "exec"})  # any definition of the module may be meant
OF_MODULES = frozenset({"__subclasses__", "__globals__"})  # as attributes
OF_OBJECT = frozenset({"vars", "__dict__"})
BY_NAME = frozenset({"getattr", "setattr", "hasattr", "delattr"})  # of what is first given to them
GETTERS = frozenset({"attrgetter", "methodcaller"})


def looks_inside(body: Iterable[ast.AST]) -> bool:
    """Return whether a function may read the names of its local variables."""
    return any(isinstance(node, ast.Name) and node.id in INSIGHT for each in body for node in ast.walk(each))


def whole_module(name: str, attributes: Iterable[str]) -> bool:
    """Return whether a name with these attributes may lead to any definition of its module."""
    some = list(attributes)
    return name in OF_MODULE or [name, *some[:1]] == ["sys", "modules"] or not OF_MODULES.isdisjoint(some)


def any_attribute(function: str, arguments: list[ast.expr]) -> bool:
    """Return whether a call may get or set an attribute that its source does not name."""
    if function in BY_NAME:
        arguments = arguments[1:]
    elif function not in GETTERS:
        return False
    return not (arguments and isinstance(arguments[0], ast.Constant))
