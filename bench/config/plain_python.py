"""The part of Python that is data: what a config file in mmengine's dialect may say to be read without running it.

Assignments of literals, `dict()`, `list()`, `tuple()` and `range()`, sums and the like of numbers, names assigned
above, and lists made by one `for` over such a list. The syntax tree is read, and nothing is compiled or run.
"""

from __future__ import annotations

import ast
import copy
import operator
from collections.abc import Callable, Mapping
from typing import Any

from bench.config.plain_limits import MOST_VALUES, Counter, NotPlain, checked_number

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def parse_python(text: str) -> tuple[dict[str, Any], str]:
    """Return (values by name, docstring) of a config in Python. Raises NotPlain, with the line, for what is no data."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise NotPlain(f"it is no Python ({error.msg})", error.lineno) from error
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nested deeper than the parser goes
        raise NotPlain("it is no Python, or nested too deep to be parsed") from error
    reader = _Reader()
    for statement in tree.body:
        reader.statement(statement)
    values = {name: value for name, value in reader.names.items() if not name.startswith("__")}
    return values, ast.get_docstring(tree) or ""


class _Reader:
    """Reads statements one after another, and knows the names that they assign."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.counter = Counter()

    def statement(self, node: ast.stmt) -> None:
        """Read an assignment to one name; a string by itself is a comment."""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return
        if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
            raise NotPlain(f"{_shown(node)} is no assignment of data to a name", node.lineno)
        name = node.targets[0].id
        if name in self.names:
            raise NotPlain(f"{name!r} is assigned twice", node.lineno)
        self.names[name] = self.value(node.value, 1)

    def value(self, node: ast.expr, depth: int) -> Any:
        """Return what an expression says, itself `depth` levels deep."""
        self.counter.add(node.lineno, depth)
        match node:
            case ast.Constant(value=bool() | str() | None):
                return self._text(node)
            case ast.Constant(value=int() | float() as number):
                return checked_number(number, node.lineno)
            case ast.List():
                return [self.value(each, depth + 1) for each in node.elts]
            case ast.Tuple():
                return tuple(self.value(each, depth + 1) for each in node.elts)
            case ast.Dict():
                return self._dictionary(node, depth)
            case ast.Name():
                return self._named(node, depth)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                operand = self._number(node.operand, depth)
                return -operand if isinstance(node.op, ast.USub) else operand
            case ast.BinOp() if type(node.op) in _OPERATORS:
                return self._calculated(node, depth)
            case ast.ListComp():
                return self._for_each(node, depth)
            case ast.Call(func=ast.Name(id="dict")):
                return self._dict_call(node, depth)
            case ast.Call(func=ast.Name(id="list" | "tuple" | "range")):
                return self._sequence_call(node, depth)
        raise NotPlain(f"{_shown(node)} is no plain data", node.lineno)

    def _text(self, node: ast.Constant) -> Any:
        if isinstance(node.value, str) and "{{" in node.value:  # which mmengine fills in
            raise NotPlain(f"{_shown(node)} is a template", node.lineno)
        return node.value

    def _named(self, node: ast.Name, depth: int) -> Any:
        """A copy of what was assigned to a name above."""
        if node.id not in self.names:
            raise NotPlain(f"the name {node.id!r} is not assigned above", node.lineno)
        count, height = _measured(self.names[node.id])
        self.counter.add(node.lineno, depth + height - 1, count)
        return copy.deepcopy(self.names[node.id])

    def _dictionary(self, node: ast.Dict, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in zip(node.keys, node.values, strict=True):
            if key_node is None:
                raise NotPlain("** is no plain data", value_node.lineno)
            key = self.value(key_node, depth + 1)
            if not isinstance(key, str | int | float | bool | None):
                raise NotPlain(f"{_shown(key_node)} is no key", key_node.lineno)
            if key in values:
                raise NotPlain(f"the key {key!r} is there twice", key_node.lineno)
            values[key] = self.value(value_node, depth + 1)
        return values

    def _dict_call(self, node: ast.Call, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        if node.args:
            start = self.value(node.args[0], depth)
            if len(node.args) > 1 or not isinstance(start, Mapping):
                raise NotPlain(f"{_shown(node)} is no plain data", node.lineno)
            values = dict(start)
        given: set[str] = set()
        for keyword in node.keywords:
            if keyword.arg is None:
                raise NotPlain("** is no plain data", keyword.value.lineno)
            if keyword.arg in given:
                raise NotPlain(f"the key {keyword.arg!r} is there twice", keyword.lineno)
            given.add(keyword.arg)
            values[keyword.arg] = self.value(keyword.value, depth + 1)
        return values

    def _sequence_call(self, node: ast.Call, depth: int) -> Any:
        """`list()`, `tuple()` of at most one list, `range()` of whole numbers (as a list)."""
        assert isinstance(node.func, ast.Name)
        values = [self.value(each, depth) for each in node.args]
        if not node.keywords:
            if node.func.id == "range":
                whole = all(type(each) is int for each in values)
                if whole and 1 <= len(values) <= 3 and 0 not in values[2:]:
                    numbers = range(*values)
                    self.counter.add(node.lineno, depth, len(numbers[: MOST_VALUES + 1]))
                    return list(numbers)
            elif len(values) < 2 and all(isinstance(each, list | tuple) for each in values):
                return (list if node.func.id == "list" else tuple)(*values)
        raise NotPlain(f"{_shown(node)} is no plain data", node.lineno)

    def _number(self, node: ast.expr, depth: int) -> Any:
        value = self.value(node, depth + 1)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NotPlain(f"{_shown(node)} is no number to calculate with", node.lineno)
        return value

    def _calculated(self, node: ast.BinOp, depth: int) -> int | float:
        left, right = self._number(node.left, depth), self._number(node.right, depth)
        try:
            return checked_number(_OPERATORS[type(node.op)](left, right), node.lineno)
        except ArithmeticError as error:
            raise NotPlain(f"{_shown(node)} cannot be calculated ({error})", node.lineno) from error

    def _for_each(self, node: ast.ListComp, depth: int) -> list[Any]:
        """`[VALUE for NAME in LIST]`, without conditions."""
        loop = node.generators[0]
        if len(node.generators) > 1 or loop.ifs or loop.is_async or not isinstance(loop.target, ast.Name):
            raise NotPlain(f"{_shown(node)} is no plain data", node.lineno)
        items = self.value(loop.iter, depth)
        if not isinstance(items, list | tuple):
            raise NotPlain(f"{_shown(loop.iter)} is no list", node.lineno)
        outside = dict(self.names)
        made = []
        for item in items:
            self.names[loop.target.id] = item
            made.append(self.value(node.elt, depth + 1))
        self.names = outside
        return made


def _measured(value: Any) -> tuple[int, int]:
    """How many values there are in one, and on how many levels."""
    inside = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    sizes = [_measured(each) for each in inside]
    return 1 + sum(count for count, _ in sizes), 1 + max((height for _, height in sizes), default=0)


def _shown(node: ast.AST) -> str:
    """An expression as it is written, its beginning if it is long."""
    try:
        words = " ".join(ast.unparse(node).split())
    except RecursionError:
        return type(node).__name__
    return words if len(words) <= 60 else words[:57] + "..."
