"""Which names a function, lambda, comprehension or class body binds, by Python's rules, from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass
class Scope:
    """The names that one function (lambda, comprehension) or class body binds."""

    kind: Literal["function", "class"]
    parameters: frozenset[str] = frozenset()
    bound: frozenset[str] = frozenset()  # besides the parameters
    outer: frozenset[str] = frozenset()  # declared global: they are the module's
    imports: dict[str, tuple[str, str]] = field(
        default_factory=dict
    )  # name -> (module, name in it), bound by that alone
    numbers: dict[str, int] = field(default_factory=dict)  # of names as they are met


def of_function(arguments: ast.arguments, body: Iterable[ast.AST], package: str) -> Scope:
    """Return the scope of a function or lambda.

    `package` is what relative imports are relative to.
    """
    parameters = frozenset(each.arg for each in all_arguments(arguments))
    bound: dict[str, int] = {}
    outer: set[str] = set()
    free: set[str] = set()
    imports: dict[str, tuple[str, str]] = {}
    for node in within(body):
        if isinstance(node, ast.Global):
            outer.update(node.names)
        elif isinstance(node, ast.Nonlocal):
            free.update(node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for name, module, inside in imported(node, package):
                imports[name] = (module, inside)
                bound[name] = bound.get(name, 0) + 1
        else:
            for name in _bound_by(node):
                bound[name] = bound.get(name, 0) + 1
    alone = {name: place for name, place in imports.items() if bound[name] == 1 and name not in parameters}
    names = frozenset(bound) - outer - free - parameters
    return Scope("function", parameters, names, frozenset(outer), {n: p for n, p in alone.items() if n in names})


def of_comprehension(node: Comprehension) -> Scope:
    """Return the scope of a comprehension: the names of its targets; what `:=` binds is the function's."""
    bound = {
        each.id
        for generator in node.generators
        for each in ast.walk(generator.target)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }
    return Scope("function", bound=frozenset(bound))


def of_class(body: Iterable[ast.AST]) -> Scope:
    """Return the scope of a class body, whose names are attributes of the class."""
    return Scope("class", bound=frozenset(name for node in within(body) for name in _bound_by(node)))


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    """Return all parameters, in order."""
    some = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    return [each for each in some if each is not None]


def within(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of a body that are evaluated in its own scope; of comprehensions only what `:=` binds counts."""
    for node in body:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner: list[ast.AST] = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            inner += [] if isinstance(node, ast.Lambda) else node.decorator_list
            yield from within(inner)
        elif isinstance(node, ast.ClassDef):
            yield from within([*node.bases, *(each.value for each in node.keywords), *node.decorator_list])
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            yield from (each for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
            yield from within([node.generators[0].iter])
        else:
            yield from within(ast.iter_child_nodes(node))


def _bound_by(node: ast.AST) -> Iterator[str]:
    """The names that a node itself binds."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.NamedExpr):
        yield node.target.id
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        yield from filter(None, [node.name])
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, str, str]]:
    """Yield (name that is bound, module, name in it or "") of an import statement; "*" binds what it can."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname:
                yield alias.asname, alias.name, ""
            else:
                yield alias.name.partition(".")[0], alias.name.partition(".")[0], ""
        return
    module = absolute(node, package)
    for alias in node.names:
        yield alias.asname or alias.name, module, alias.name


def absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the full name of the module that a `from … import` names."""
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def modules_of(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """Return the modules that an import statement may run: of `from a import b` both a and a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    module = absolute(node, package)
    return [module, *(f"{module}.{alias.name}" for alias in node.names if alias.name != "*")]
