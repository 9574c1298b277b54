"""Where an objective's class is, and what its source says: the class, those it derives from, and what annotations mean.

Nothing of it is imported: its file is found and parsed, so that planning needs no torch.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from bench import plugins
from bench.errors import BadInput, nearest
from bench.plugins import Source, module_file

FOLDER = Path(__file__).parents[1] / "objectives"
GROUP = "bench.objectives"  # of the entry points by which an installed package names its objectives

# What annotations are made of. These modules are imported, and no other.
_TYPE_MODULES = ("typing", "pydantic", "annotated_types", "bench.config.setting_types")
_BUILTINS = {kind.__name__: kind for kind in (bool, int, float, str, bytes, tuple, list, dict, set)}


@cache
def objectives() -> dict[str, str]:
    """Return {name: "module:Class"}: the dictionary OBJECTIVES of bench/objectives/__init__.py."""
    tree = ast.parse((FOLDER / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and node.value is not None and ast.unparse(node.target) == "OBJECTIVES":
            return dict(ast.literal_eval(node.value))
    raise AssertionError("bench/objectives/__init__.py has no OBJECTIVES")


def locate(objective: str, config: Path | None = None, giver: str | None = None) -> Source:
    """Return where the objective of that name is, without importing it.

    Args:
        objective: a name of ours, of an entry point, `package.module:Class`, or `file.py:Class`.
        config: the file that names it; a relative path is taken from its folder, or else from the working directory.
        giver: what names it instead of the file, for messages: "--set for coco".

    Raises BadInput when there is no such file, module or name.
    """
    if objective in objectives():
        module, _, name = objectives()[objective].partition(":")
        return Source(FOLDER / f"{module.rpartition('.')[2]}.py", name, module)
    folder, where = (None, "") if config is None else (config.parent, f" in {giver or config}")
    return plugins.locate(objective, GROUP, folder, what="objective", where=where, known=objectives())


def classes_of(objective: str, config: Path | None = None) -> list[tuple[ast.ClassDef, Path]]:
    """Return the syntax trees of the class that implements `objective` and of those that it derives from, with files.

    Raises BadInput where there is no such objective, its file is no Python, or has no such class.
    """
    source = locate(objective, config)
    classes = {node.name: node for node in _tree(source.file).body if isinstance(node, ast.ClassDef)}
    name = source.attribute
    if name not in classes:
        hint = nearest(name, classes) or f"; it has {', '.join(classes) or 'none'}."
        raise BadInput(f"{source.file} has no class {name}{hint}")
    return list(_with_bases(classes[name], source.file))


def _with_bases(
    node: ast.ClassDef, file: Path, derived: tuple[ast.ClassDef, ...] = ()
) -> Iterator[tuple[ast.ClassDef, Path]]:
    """A class and those that it derives from; two files that import each other may go in a circle, which ends it."""
    yield node, file
    for base in node.bases:
        meaning, place = _meaning(ast.unparse(base), file, above=node.lineno)
        if isinstance(meaning, ast.ClassDef) and meaning not in (*derived, node):
            yield from _with_bases(meaning, place, (*derived, node))


def class_attribute(objective: str, name: str) -> tuple[ast.expr, ast.ClassDef] | None:
    """Return what an attribute of an objective's class is assigned, and the class that does so; None if none does.

    Of several classes that assign it the one counts that Python takes.
    """
    # Python looks into a class only after all that derive from it, so that the last place of each counts.
    places = {(node.name, file): node for node, file in reversed(classes_of(objective))}
    for node in reversed(places.values()):
        for each in node.body:
            if isinstance(each, (ast.Assign, ast.AnnAssign)) and each.value is not None:
                targets = each.targets if isinstance(each, ast.Assign) else [each.target]
                if name in map(ast.unparse, targets):
                    return each.value, node
    return None


def definition_of(objective: str) -> int:
    """Return which definition of an objective this code has: a number that grows when its class computes otherwise.

    It is the class attribute `definition`, read from the source: 1 where no class sets it.

    Raises BadInput for an unknown objective, and where it is no whole number from 1 on, written out.
    """
    found = class_attribute(objective, "definition")
    if found is None:
        return 1
    value, node = found
    number = value.value if isinstance(value, ast.Constant) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise BadInput(f"{node.name}.definition is {ast.unparse(value)}; write a whole number there, 1 or more.")
    return number


def class_literal(objective: str, name: str) -> Any:
    """Return the value of an attribute of an objective's class; None where no class sets it, or it is no literal."""
    found = class_attribute(objective, name)
    try:
        return None if found is None else ast.literal_eval(found[0])
    except ValueError:  # code from outside may compute it: what it means is seen when the objective is built
        return None


def class_says(objective: str, name: str) -> bool:
    """Return whether an attribute of an objective's class is True: False where no class sets it."""
    return class_literal(objective, name) is True


def type_of(annotation: ast.expr | None, file: Path) -> Any:
    """Return what an annotation in a file means; Any where it cannot be read."""
    try:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = ast.parse(annotation.value, mode="eval").body
        if annotation is None:
            return Any
        names = {node.id: _object(node.id, file) for node in ast.walk(annotation) if isinstance(node, ast.Name)}
        return eval(compile(ast.Expression(annotation), str(file), "eval"), {"__builtins__": {}}, names)
    except Exception:  # it may hold anything
        return Any


def _object(name: str, file: Path) -> Any:
    """What a name in an annotation stands for: a type, or an alias that some file assigns."""
    meaning, place = _meaning(name, file)
    if meaning is None:
        return _BUILTINS[name]
    return type_of(meaning, place) if isinstance(meaning, ast.expr) else meaning


def _meaning(
    name: str, file: Path, above: int | None = None, sought: tuple[tuple[str, Path], ...] = ()
) -> tuple[Any, Path]:
    """What a name, or `module.name`, stands for at the top of a file, and the file that defines it.

    The syntax tree of a class or of what is assigned; an object of _TYPE_MODULES, or one of them; or None.

    Args:
        name: as it is written there.
        file: where it is written.
        above: the line that uses it, of a class's base: what stands above it counts, the nearest first, so that the
            base of `class A(A)` is the A that was imported.
        sought: the names and files that led here. Files that import one name from each other end with None.
    """
    name, _, inside = name.partition(".")
    top = _tree(file).body
    nodes = [*top, *(inner for each in top if isinstance(each, ast.If) for inner in each.body)]
    if above is not None:
        nodes = sorted((node for node in nodes if node.lineno < above), key=lambda node: -node.lineno)
    for node in nodes:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node, file
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name in map(ast.unparse, targets):
                return node.value, file
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported = next((alias.name for alias in node.names if (alias.asname or alias.name) == name), None)
            if imported is not None:
                return _imported(node, imported, inside, file, sought)
    return None, file


def _imported(
    node: ast.Import | ast.ImportFrom, name: str, inside: str, file: Path, sought: tuple[tuple[str, Path], ...]
) -> tuple[Any, Path]:
    """What a file imports by that name, or what `inside` is in the module of that name."""
    if isinstance(node, ast.Import):
        return (import_module(name) if name in _TYPE_MODULES else None), file
    if node.module in _TYPE_MODULES and not node.level:
        return getattr(import_module(node.module), name), file
    module = ".".join(filter(None, (node.module, name if inside else "")))
    origin = _beside(file, node.level, module) if node.level else module_file(module)
    if origin is None or (inside or name, origin) in sought:
        return None, file
    return _meaning(inside or name, origin, sought=(*sought, (inside or name, origin)))


def _beside(file: Path, level: int, module: str) -> Path | None:
    """The file of a module that another file imports relative to itself."""
    base = file.parents[level - 1].joinpath(*module.split("."))
    return next((each for each in (base.with_suffix(".py"), base / "__init__.py") if each.is_file()), None)


def _tree(file: Path) -> ast.Module:
    try:
        return _parsed(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise BadInput(f"{file} is no readable Python ({error}); correct it.") from error


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)
