"""What one file says: the names that its module binds, and the shape of each definition.

All of it comes from the file alone. What its references mean is found by the graph, which knows the other files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.code.references import Shape
from bench.code.scopes import imported, modules_of, within
from bench.code.shapes import Writer
from bench.errors import BadInput

# Decorators and bases under which annotations change nothing.
PLAIN_DECORATORS = ("no_grad", "inference_mode", "staticmethod", "classmethod", "property", "cache", "contextmanager")


@dataclass
class Definition:
    """A definition: a function, class, constant or statement of a module; of a class, each method has one, too."""

    kind: str  # function, class, constant, effect
    shape: str  # hash
    refs: list[tuple[str, str]] = field(default_factory=list)
    occurrences: list[int] = field(default_factory=list)
    privates: list[str] = field(default_factory=list)
    defines: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    dynamic: bool = False
    bases: list[str] = field(default_factory=list)  # dotted, as written
    decorators: list[str] = field(default_factory=list)  # dotted, of a class also those of its methods
    own_decorators: int = 0  # how many of them are its own
    methods: list[str] = field(default_factory=list)
    annotated: str = ""  # hash of the shape with annotations, where they may count
    annotated_refs: list[tuple[str, str]] = field(default_factory=list)
    mutates: bool = False  # it changes what a module holds
    calls: list[str] = field(default_factory=list)  # of a constant: dotted names that its value calls
    identity: bool = False  # another one of the same shape is not the same: a class, a list, what a call returns


@dataclass
class Facts:
    """What one file says."""

    # name -> (module, name in it) of an import; None: see `definitions`
    binds: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)  # modules that it imports all names of
    imports: list[str] = field(default_factory=list)  # modules that it imports when it is imported
    definitions: dict[str, Definition] = field(default_factory=dict)


def facts_of(content: bytes, file: Path, package: str) -> Facts:
    """Return what a file says. Raises BadInput where it is no Python."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        raise BadInput(f"{file} is no readable Python ({error}); correct it.") from error
    facts = Facts()
    statements: dict[str, list[ast.stmt]] = {}
    imports: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            _note_import(node, facts, package)
            imports |= {name: node for name, *_ in imported(node, package)}
        elif isinstance(node, ast.If) and _skipped(node):
            for each in node.body:
                if isinstance(each, ast.Import | ast.ImportFrom):
                    _note_import(each, facts, package, runs=False)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        else:
            owner = _changed(node)
            names = _names(node) or ([owner] if owner in statements else [f"<statement {len(statements)}>"])
            for name in names:
                statements.setdefault(name, []).append(node)
    for name, some in statements.items():
        some = [imports[name], *some] if name in imports else some
        facts.binds[name] = None
        facts.definitions[name] = _definition(name, some, package)
        if isinstance(some[0], ast.ClassDef) and len(some) == 1:
            methods: dict[str, list[ast.stmt]] = {}
            for each in some[0].body:
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                    methods.setdefault(each.name, []).append(each)  # of a property several
            facts.definitions[name].methods = list(methods)
            for method, parts in methods.items():
                facts.definitions[f"{name}.{method}"] = _definition(method, parts, package)
    for node in tree.body:
        facts.imports += [] if isinstance(node, ast.If) and _skipped(node) else _imports_below(node, package)
    return facts


def _imports_below(node: ast.stmt, package: str) -> list[str]:
    """What a statement such as `try` imports when it runs."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
        return []
    found = [each for each in within([node]) if isinstance(each, ast.Import | ast.ImportFrom)]
    return [module for each in found for module in modules_of(each, package)]


def _note_import(node: ast.Import | ast.ImportFrom, facts: Facts, package: str, *, runs: bool = True) -> None:
    if runs:
        facts.imports += modules_of(node, package)
    for name, module, inside in imported(node, package):
        if name == "*":
            facts.stars.append(module)
        elif inside or not isinstance(node, ast.Import) or any(alias.asname == name for alias in node.names):
            facts.binds[name] = (module, inside)
        else:
            facts.binds[name] = (name, "")


def _skipped(node: ast.If) -> bool:
    """Whether what is below an `if` runs neither when the module is imported: TYPE_CHECKING, __main__."""
    test = ast.unparse(node.test)
    return not node.orelse and (test.rpartition(".")[2] == "TYPE_CHECKING" or test == "__name__ == '__main__'")


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    names: dict[str, None] = {}
    for each in within([node]):
        if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load):
            names[each.id] = None
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[each.name] = None
        elif isinstance(each, ast.Import | ast.ImportFrom):
            names |= dict.fromkeys(alias.asname or alias.name.partition(".")[0] for alias in each.names)
    return list(names)


def _changed(node: ast.stmt) -> str:
    """The name whose value a statement of a module changes and does no more: `NAME[0] = 1`, `NAME.append(1)`; or ""."""
    base: ast.expr | None = None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        base = node.targets[0]
    elif isinstance(node, ast.AugAssign):
        base = node.target
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        base = node.value.func
    while isinstance(base, ast.Attribute | ast.Subscript):
        base = base.value
    return base.id if isinstance(base, ast.Name) else ""


_ASSIGNMENT = ast.Assign | ast.AnnAssign | ast.AugAssign


def _definition(name: str, statements: Sequence[ast.stmt], package: str) -> Definition:
    """A definition by all statements that bind its name, in their order."""
    shape, first = _shape(name, statements, package), statements[0]
    kind = "effect"
    if isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef):
        kind = "function"
    elif isinstance(first, ast.ClassDef):
        kind = "class"
    elif _names(first) and all(isinstance(each, _ASSIGNMENT) or _changed(each) for each in statements):
        kind = "constant"
    decorators = [each for one in statements for each in _decorators(one)]
    bases = [*first.bases, *(each.value for each in first.keywords)] if isinstance(first, ast.ClassDef) else []
    annotated = None
    if kind == "class" or (kind == "function" and any(_last(d) not in PLAIN_DECORATORS for d in decorators)):
        annotated = _shape(name, statements, package, annotated=True)
    values = [getattr(each, "value", None) for each in statements]
    calls = [ast.unparse(e.func) for value in values if value for e in within([value]) if isinstance(e, ast.Call)]
    return Definition(
        kind=kind,
        shape=shape.hash,
        refs=shape.refs,
        occurrences=shape.occurrences,
        privates=shape.privates,
        defines=sorted(shape.defines),
        attributes=sorted(shape.attributes),
        files=sorted(shape.files),
        imports=shape.imports,
        dynamic=shape.dynamic,
        bases=[_dotted(each) for each in bases],
        decorators=[_dotted(each) for each in decorators],
        own_decorators=sum(len(getattr(each, "decorator_list", ())) for each in statements),
        annotated="" if annotated is None else annotated.hash,
        annotated_refs=[] if annotated is None else [ref for ref in annotated.refs if ref not in shape.refs],
        mutates=kind == "function" and _mutates(first),
        calls=calls if kind == "constant" else [],
        identity=kind == "class" or (kind == "constant" and any(map(_has_identity, values))),
    )


def _shape(name: str, statements: Sequence[ast.stmt], package: str, annotated: bool = False) -> Shape:
    """The shape of what a name stands for, without that name; of several that one statement binds, which it is."""
    writer = Writer(package, annotated)
    for each in statements:
        if isinstance(each, ast.Assign | ast.AnnAssign) and _plain_target(each):
            writer.write(each.value)
        else:
            bound = _names(each)
            writer.binds(bound, bound.index(name) if len(bound) > 1 and name in bound else 0)
            writer.write(each)
    return writer.finished()


def _has_identity(value: ast.expr | None) -> bool:
    kinds = (ast.Call, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)
    return value is not None and any(isinstance(each, kinds) for each in ast.walk(value))


def _plain_target(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return len(targets) == 1 and isinstance(targets[0], ast.Name)


def _decorators(node: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield from node.decorator_list
    if isinstance(node, ast.ClassDef):
        for each in node.body:
            yield from _decorators(each)


def _dotted(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).partition("[")[0]


def _last(node: ast.expr) -> str:
    return _dotted(node).rpartition(".")[2]


def _mutates(node: ast.AST) -> bool:
    """Whether a function may change what a module holds: it stores into, or calls a method of, what it did not make."""
    parameters = {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
    own = parameters | {e.id for e in ast.walk(node) if isinstance(e, ast.Name) and isinstance(e.ctx, ast.Store)}
    for each in ast.walk(node):
        if isinstance(each, ast.Global):
            return True
        if isinstance(each, ast.Attribute | ast.Subscript) and not isinstance(each.ctx, ast.Load):
            base: ast.expr = each
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            if not (isinstance(base, ast.Name) and base.id in own):
                return True
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):
            name = each.func.attr
            base = each.func.value
            if name in {"append", "add", "update", "setdefault", "insert", "extend", "register"} and not (
                isinstance(base, ast.Name) and base.id in own
            ):
                return True
    return False
