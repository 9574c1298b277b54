"""One-line mistakes that people make, as changes of a source text: `mutants(file, text)` lists all of them.

What no mistake could show itself in is left out: docstrings, annotations, messages (strings and f-strings), imports,
what only guards (`strict`, `frozen`) or only a GPU knows (`device`), and a config's `profiles`, which are
demonstrations and no recipes.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

BINARY = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
}
BINARY |= {ast.Mod: ("%", "*"), ast.Pow: ("**", "*")}
COMPARISONS: dict[type, tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
SWAPPED = {"min": "max", "minimum": "maximum", "amin": "amax", "argmin": "argmax", "any": "all", "floor": "ceil"}
SWAPPED |= {"sum": "mean", "sin": "cos", "zeros": "ones", "zeros_like": "ones_like", "std": "var"}
SWAPPED |= {new: old for old, new in SWAPPED.items()} | {"square": "abs", "log_softmax": "softmax", "sqrt": "square"}
UNSEEN = ("strict", "frozen", "slots", "device", "non_blocking", "pin_memory", "daemon", "name")
NOT_SWAPPED = ("isinstance", "issubclass", "getattr", "hasattr", "zip")  # fails at once, or changes nothing
NO_STATEMENT = ("warn", "info", "debug", "print")  # calls that only tell


@dataclass(frozen=True)
class Mutant:
    """One line of a file, changed.

    Attributes:
        file: relative to the project.
        line: its number, from 1 on, when the mutant was made.
        operator: the kind of mistake.
        before, after: the line, without its indentation.
        nth: which of the lines of the file that read `before`, from 0 on.
    """

    file: str
    line: int
    operator: str
    before: str
    after: str
    nth: int = 0

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What stays the same when the file grows above it."""
        return self.file, self.before, self.after, self.nth

    def applied(self, text: str) -> str | None:
        """The file's text with the mistake in it; None where the line is gone, or could not be read so."""
        lines = text.splitlines(keepends=True)
        places = [number for number, line in enumerate(lines) if line.strip() == self.before]
        if self.nth >= len(places):
            return None
        old = lines[places[self.nth]]
        lines[places[self.nth]] = old.replace(self.before, self.after)
        try:
            ast.parse("".join(lines))
        except SyntaxError:
            return None
        return "".join(lines)


def mutants(file: str, text: str, words: Mapping[str, set[str]] | None = None) -> list[Mutant]:
    """All mutants of a file, in the order of their lines.

    `words` are the alternatives of settings that take one of several words, for configs.
    """
    tree, lines = ast.parse(text), text.splitlines()
    seen: Counter[str] = Counter()
    nth: list[int] = []
    for line in lines:
        nth.append(seen[line.strip()])
        seen[line.strip()] += 1
    found: dict[tuple[str, str, str, int], Mutant] = {}
    edits = _config_edits(tree, words) if words is not None else _edits(tree)
    for operator, number, start, end, new in edits:
        raw = lines[number - 1].encode()
        after = (raw[:start] + new.encode() + raw[end:]).decode()
        one = Mutant(file, number, operator, lines[number - 1].strip(), after.strip(), nth[number - 1])
        found.setdefault(one.key, one)
    return sorted(found.values(), key=lambda one: (one.line, one.operator, one.after))


Edit = tuple[str, int, int, int, str]  # operator, line, first and last column in bytes, what stands there instead


def _edit(operator: str, node: ast.expr | ast.stmt, new: str) -> Iterator[Edit]:
    """Replace a node that stands on one line."""
    if node.lineno == node.end_lineno and node.end_col_offset is not None:
        yield operator, node.lineno, node.col_offset, node.end_col_offset, new


def _between(operator: str, left: ast.expr, right: ast.expr, old: str, new: str, text: str) -> Iterator[Edit]:
    """Replace the sign between two nodes of one line."""
    if left.end_lineno == right.lineno and left.end_col_offset is not None:
        gap = text.encode()[left.end_col_offset : right.col_offset].decode()
        if old in gap:
            start = left.end_col_offset + len(gap[: gap.index(old)].encode())
            yield operator, right.lineno, start, start + len(old), new


def _looked_at(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes in which a mistake would show itself."""
    for name, value in ast.iter_fields(tree):
        unseen = isinstance(tree, ast.keyword) and tree.arg in UNSEEN
        if unseen or name in ("annotation", "returns", "exc", "type_comment", "msg"):
            continue
        for child in value if isinstance(value, list) else [value]:
            skipped = (ast.Import, ast.ImportFrom, ast.JoinedStr)
            if not isinstance(child, ast.AST) or isinstance(child, skipped):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) in ("__all__", "profiles"):
                continue
            yield child
            yield from _looked_at(child)


def _edits(tree: ast.Module) -> Iterator[Edit]:
    source = ast.unparse  # of parts that are moved
    losses = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench.losses")
        for alias in node.names
    }
    axes = {id(node) for parent in ast.walk(tree) for node in _indices(parent)}
    for node in _looked_at(tree):
        match node:
            case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
                old, new = BINARY[type(op)]
                yield from _edit(f"{old} becomes {new}", node, f"{_held(left)} {new} {_held(right)}")
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                old, news = COMPARISONS[type(op)]
                for new in news:
                    yield from _edit(f"{old} becomes {new}", node, f"{_held(left)} {new} {_held(right)}")
            case ast.BoolOp(op=op, values=values):
                new = "or" if isinstance(op, ast.And) else "and"
                yield from _edit("and, or", node, "(" + f" {new} ".join(map(_held, values)) + ")")
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield from _edit("not or minus dropped", node, _held(operand))
            case ast.Constant(value=bool() as value):
                yield from _edit("bool", node, str(not value))
            case ast.Constant(value=int() | float() as value):
                for new in _numbers(value, axis=id(node) in axes):
                    yield from _edit("constant", node, new)
            case ast.If(test=test) | ast.IfExp(test=test):
                yield from _edit("condition negated", test, f"(not ({source(test)}))")
            case ast.Name(id=name, ctx=ast.Load()) if name in SWAPPED:
                yield from _edit("neighbouring function", node, SWAPPED[name])
            case ast.Attribute(value=value, attr=name, ctx=ast.Load()) if name in SWAPPED:
                yield from _edit("neighbouring function", node, f"{source(value)}.{SWAPPED[name]}")
            case ast.Assign(targets=[ast.Attribute()]) | ast.AugAssign():
                yield from _edit("statement removed", node, "pass")
            case ast.Expr(value=ast.Call(func=func)) if not source(func).endswith(NO_STATEMENT):
                yield from _edit("statement removed", node, "pass")
            case ast.With(items=[ast.withitem(context_expr=context)]) if "no_grad" in source(context):
                yield from _edit("no_grad removed", context, "torch.enable_grad()")
            case _:
                pass
        if isinstance(node, ast.Call):
            yield from _calls(node, losses)
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if "no_grad" in source(decorator):
                    yield from _edit("no_grad removed", decorator, "torch.enable_grad()")


def _calls(node: ast.Call, losses: set[str]) -> Iterator[Edit]:
    """A keyword argument dropped, two arguments swapped, a detach removed or added."""
    callee = ast.unparse(node.func)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "detach":
        yield from _edit("detach removed", node, ast.unparse(node.func.value))
    if callee.endswith(("BadInput", "Error", "Field")):
        return
    given = [*map(ast.unparse, node.args), *map(_keyword, node.keywords)]
    for place, keyword in enumerate(node.keywords, len(node.args)):
        if keyword.arg is not None and keyword.arg not in UNSEEN:
            rest = given[:place] + given[place + 1 :]
            yield from _edit("keyword dropped", node, f"{callee}({', '.join(rest)})")
    names = [place for place, one in enumerate(node.args) if isinstance(one, ast.Name | ast.Attribute | ast.Subscript)]
    if names[:2] == [0, 1] and given[0] != given[1] and callee not in NOT_SWAPPED:
        yield from _edit("arguments swapped", node, f"{callee}({', '.join([given[1], given[0], *given[2:]])})")
    if callee in losses and names[:1] == [0]:
        yield from _edit("detach added", node, f"{callee}({', '.join([f'{given[0]}.detach()', *given[1:]])})")


def _keyword(keyword: ast.keyword) -> str:
    value = ast.unparse(keyword.value)
    return f"{keyword.arg}={value}" if keyword.arg is not None else f"**{value}"


def _held(node: ast.expr) -> str:
    """An operand, in brackets where it needs them."""
    text = ast.unparse(node)
    return f"({text})" if isinstance(node, ast.BinOp | ast.BoolOp | ast.Compare | ast.IfExp | ast.Lambda) else text


def _indices(node: ast.AST) -> list[ast.expr]:
    """The parts of a node that may be an axis or an index."""
    match node:
        case ast.Call(args=args, keywords=keywords):
            return [*args, *(one.value for one in keywords if one.arg in ("dim", "axis", "dims"))]
        case ast.Subscript(slice=ast.Tuple(elts=elements)):
            return elements
        case ast.Subscript(slice=index):
            return [index]
        case _:
            return []


def _numbers(value: float, axis: bool) -> list[str]:
    """What people write in place of a number: its neighbour, the other axis, twice as much, .99 for .9."""
    if isinstance(value, int):
        if axis and value in (0, 1):
            return [str(1 - value)]
        return {0: ["1"], 1: ["0", "2"]}.get(value, [str(value + 1)])
    if value == 0:
        return ["1.0"]
    return [repr(round(1 - (1 - value) / 10, 12))] if 0.9 <= value < 1 else [repr(2 * value)]


def _config_edits(tree: ast.Module, words: Mapping[str, set[str]]) -> Iterator[Edit]:
    """A config's numbers times 2 or by 10, bools, words, and settings left out; parts of `dict(…)` likewise."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) not in ("profiles", "_base_"):
            yield from _edit("setting left out", statement, "pass")
            yield from _setting(ast.unparse(statement.targets[0]), statement.value, words)


def _setting(path: str, value: ast.expr, words: Mapping[str, set[str]]) -> Iterator[Edit]:
    match value:
        case ast.Call(func=ast.Name(id="dict"), keywords=keywords):
            for place, keyword in enumerate(keywords):
                rest = ", ".join(_keyword(one) for number, one in enumerate(keywords) if number != place)
                yield from _edit("setting left out", value, f"dict({rest})")
                yield from _setting(f"{path}.{keyword.arg}", keyword.value, words)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            for element in elements:
                yield from _setting(path, element, words)
        case ast.Constant(value=bool() as flag):
            yield from _edit("bool", value, str(not flag))
        case ast.Constant(value=int() | float() as number):
            yield from _edit("number doubled", value, repr(2 * number))
            tenth = number // 10 if isinstance(number, int) and number >= 10 else number / 10
            yield from _edit("number by ten", value, repr(tenth))
        case ast.Constant(value=str() as word):
            for other in sorted(words.get(path, set()) | words.get(path.split(".")[-1], set())):
                if word != other and (word in words.get(path, set()) or word in words.get(path.split(".")[-1], set())):
                    yield from _edit("other word", value, repr(other).replace("'", '"'))
        case ast.UnaryOp(operand=operand):
            yield from _setting(path, operand, words)
        case ast.BinOp(left=left, right=right):
            yield from _setting(path, left, words)
            yield from _setting(path, right, words)
        case _:
            pass
