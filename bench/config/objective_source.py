"""Where an objective's class is, and what its source says: the class, those it derives from, and what annotations mean.

Nothing of it is imported: its file is found and parsed, so that planning needs no torch.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.errors import BadInput, nearest

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


@dataclass(frozen=True)
class Source:
    """Where an objective's class is: a file, and the module that it is, unless it was named by its path."""

    file: Path
    class_name: str
    module: str | None
    ours: bool  # whether it is one of OBJECTIVES

    @property
    def hash(self) -> str:
        """16 hex digits of the file's content."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]


def plugins() -> dict[str, str]:
    """Return {name: "module:Class"} of the entry points of installed packages; ours come first where names collide."""
    return {point.name: point.value for point in entry_points(group=GROUP) if point.name not in objectives()}


def locate(objective: str, config: Path | None = None) -> Source:
    """Return where the objective of that name is, without importing it.

    Args:
        objective: a name of ours, of an entry point, `package.module:Class`, or `file.py:Class`.
        config: the file that names it; a relative path is taken from its folder, or else from the working directory.

    Raises BadInput when there is no such file, module or name.
    """
    where = f" in {config}" if config is not None else ""
    if objective in objectives():
        module, _, name = objectives()[objective].partition(":")
        return Source(FOLDER / f"{module.rpartition('.')[2]}.py", name, module, True)
    place, colon, name = (objective if ":" in objective else plugins().get(objective, "")).rpartition(":")
    if not colon or not place or not name.isidentifier():
        known = [*objectives(), *plugins()]
        hint = nearest(objective, known) or f"; known: {', '.join(known)}, package.module:Class and file.py:Class."
        raise BadInput(f"Unknown objective {objective!r}{where}{hint}")
    if place.endswith(".py"):
        folders = [*([config.parent] if config is not None else []), Path.cwd()]
        file = next((folder / place for folder in folders if (folder / place).is_file()), None)
        if file is None:
            beside = "neither beside the config nor" if config is not None else "not"
            raise BadInput(f"objective.name{where} names {place}, which is {beside} in {Path.cwd()}; mend the path.")
        return Source(file.resolve(), name, None, False)
    module_file = _module_file(place)
    if module_file is None:
        raise BadInput(
            f"objective.name{where} names the module {place}, which cannot be found; install its package, or give "
            "path/to/file.py:Class."
        )
    return Source(module_file, name, place, False)


def _module_file(module: str) -> Path | None:
    """The source file of a module; asked for all of `a.b.c`, find_spec would import the packages above it."""
    parts = module.split(".")
    try:
        spec = find_spec(parts[0])
    except ValueError:  # a name that is no module's
        return None
    for end in range(2, len(parts) + 1):
        if spec is None:
            return None
        spec = PathFinder.find_spec(".".join(parts[:end]), list(spec.submodule_search_locations or []))
    origin = Path(spec.origin) if spec is not None and spec.origin is not None else None
    return origin if origin is not None and origin.suffix == ".py" and origin.is_file() else None


def classes_of(objective: str, config: Path | None = None) -> list[tuple[ast.ClassDef, Path]]:
    """Return the syntax trees of the class that implements `objective` and of those that it derives from, with files.

    Raises BadInput where there is no such objective, its file is no Python, or has no such class.
    """
    source = locate(objective, config)
    classes = {node.name: node for node in _tree(source.file).body if isinstance(node, ast.ClassDef)}
    if source.class_name not in classes:
        hint = nearest(source.class_name, classes) or f"; it has {', '.join(classes) or 'none'}."
        raise BadInput(f"{source.file} has no class {source.class_name}{hint}")
    return list(_with_bases(classes[source.class_name], source.file))


def _with_bases(node: ast.ClassDef, file: Path) -> Iterator[tuple[ast.ClassDef, Path]]:
    yield node, file
    for base in node.bases:
        meaning, place = _meaning(ast.unparse(base), file)
        if isinstance(meaning, ast.ClassDef):
            yield from _with_bases(meaning, place)


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


def _meaning(name: str, file: Path) -> tuple[Any, Path]:
    """What a name, or `module.name`, stands for at the top of a file, and the file that defines it.

    The syntax tree of a class or of what is assigned; an object of _TYPE_MODULES, or one of them; or None.
    """
    name, _, inside = name.partition(".")
    top = _tree(file).body
    for node in [*top, *(inner for each in top if isinstance(each, ast.If) for inner in each.body)]:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node, file
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name in map(ast.unparse, targets):
                return node.value, file
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported = next((alias.name for alias in node.names if (alias.asname or alias.name) == name), None)
            if imported is not None:
                return _imported(node, imported, inside, file)
    return None, file


def _imported(node: ast.Import | ast.ImportFrom, name: str, inside: str, file: Path) -> tuple[Any, Path]:
    """What a file imports by that name, or what `inside` is in the module of that name."""
    if isinstance(node, ast.Import):
        return (import_module(name) if name in _TYPE_MODULES else None), file
    if node.module in _TYPE_MODULES and not node.level:
        return getattr(import_module(node.module), name), file
    module = ".".join(filter(None, (node.module, name if inside else "")))
    origin = _beside(file, node.level, module) if node.level else _module_file(module)
    return (None, file) if origin is None else _meaning(inside or name, origin)


def _beside(file: Path, level: int, module: str) -> Path | None:
    """The file of a module that another file imports relative to itself."""
    base = file.parents[level - 1].joinpath(*module.split("."))
    return next((each for each in (base.with_suffix(".py"), base / "__init__.py") if each.is_file()), None)


def _tree(file: Path) -> ast.Module:
    try:
        return _parsed(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise BadInput(f"{file} is no readable Python ({error}); mend it.") from error


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)
