"""What an objective's constructor takes, read from its source without importing torch.

The constructor is the one place that names an objective's settings and gives the paper's defaults. A plan
needs both (to catch a mistyped key or value, and to fingerprint the defaults), but must not wait for torch.

An objective is named by its key in OBJECTIVES, by an entry point of the group `bench.objectives`, as
`package.module:Class`, or as `path/to/file.py:Class`. Nothing of it is imported here: its source is found and read.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from bench import settings as ranges
from bench.errors import BadInput, nearest
from bench.settings import Within

FOLDER = Path(__file__).parent / "objectives"
GROUP = "bench.objectives"  # of the entry points by which an installed package names its objectives

# Arguments that every objective gets from the recipe, not from its own settings.
GIVEN = frozenset({"self", "encoder", "num_classes", "num_images"})

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "None": (type(None),),
}


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
    found = _module_file(place)
    if found is None:
        raise BadInput(
            f"objective.name{where} names the module {place}, which cannot be found; install its package, or give "
            "path/to/file.py:Class."
        )
    return Source(found, name, place, False)


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


def class_of(objective: str, config: Path | None = None) -> ast.ClassDef:
    """Return the syntax tree of the class that implements `objective`.

    Raises BadInput when its file is no Python, or has no such class.
    """
    return _class(locate(objective, config))


def _tree(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise BadInput(f"{file} is no readable Python ({error}); mend it.") from error


_our_tree = cache(_tree)  # of files that don't change while we run


def _module(source: Source) -> ast.Module:
    return (_our_tree if source.ours else _tree)(source.file)


def _class(source: Source) -> ast.ClassDef:
    tree = _module(source)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if source.class_name not in classes:
        hint = nearest(source.class_name, classes) or f"; it has {', '.join(classes) or 'none'}."
        raise BadInput(f"{source.file} has no class {source.class_name}{hint}")
    return classes[source.class_name]


def portable(objective: Mapping[str, Any]) -> dict[str, Any]:
    """Return an objective's settings as they are fingerprinted and recorded.

    One that is not ours has no path of this machine in its name, and says what its source file holds: an edit of that
    file (not of what it imports) makes another pretraining.
    """
    name = str(objective["name"])
    if name in objectives() or (":" not in name and name not in plugins()):
        return dict(objective)
    source = locate(name)
    name = f"{source.module or source.file.name}:{source.class_name}"
    return {**objective, "name": name, "source": source.hash}


def parameters(objective: str, config: Path | None = None) -> dict[str, tuple[str, Any]]:
    """Return {parameter: (annotation, default)} of the constructor, in order; BadInput for a default that must run."""
    found = class_of(objective, config)
    init = _init(found)
    if init is None:
        return {}
    try:
        return _parameters(init)
    except ValueError as error:
        raise BadInput(f"A default of {found.name}.__init__ is no literal; write its value out.") from error


def _init(found: ast.ClassDef) -> ast.FunctionDef | None:
    return next((n for n in found.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)


def _parameters(init: ast.FunctionDef) -> dict[str, tuple[str, Any]]:
    arguments = [*init.args.args, *init.args.kwonlyargs]
    defaults: list[ast.expr | None] = [None] * (len(init.args.args) - len(init.args.defaults))
    defaults += [*init.args.defaults, *init.args.kw_defaults]
    return {
        argument.arg: (ast.unparse(argument.annotation) if argument.annotation else "", ast.literal_eval(default))
        for argument, default in zip(arguments, defaults, strict=True)
        if argument.arg not in GIVEN and default is not None
    }


@cache
def later(objective: str) -> tuple[str, ...]:
    """Return the settings that its class says were added later: at their defaults they are in no fingerprint."""
    for node in class_of(objective).body:
        if isinstance(node, ast.AnnAssign) and node.value is not None and ast.unparse(node.target) == "later":
            return tuple(ast.literal_eval(node.value))
    return ()


def without_later(objective: Mapping[str, Any]) -> dict[str, Any]:
    """Return an objective's settings without those that were added later and are at their defaults."""
    name = str(objective["name"])
    if name not in objectives():  # the source of one that is not ours is in its fingerprint as a whole
        return dict(objective)
    defaults = {key: parameters(name)[key][1] for key in later(name)}
    return {k: v for k, v in objective.items() if k not in defaults or _plain(v) != _plain(defaults[k])}


def _plain(value: Any) -> Any:
    """A setting as it compares whether it was written as a tuple or as a list."""
    return list(value) if isinstance(value, tuple) else value


def check_arguments(objective: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Return the objective's settings with its constructor's defaults filled in.

    Raises BadInput for an unknown objective, an unknown setting (with the nearest), a wrong type, and a value that its
    annotation does not admit.
    """
    name = objective.get("name")
    if not isinstance(name, str):
        raise BadInput(f"Unknown objective {name!r} in {source}; known: {', '.join(objectives())}.")
    found = locate(name, source)
    known, admitted = parameters(name, source), domains(name, source)
    if found.module is None:  # a process in another folder must find it, too
        name = f"{found.file}:{found.class_name}"
    settings: dict[str, Any] = {"name": name} | {key: default for key, (_, default) in known.items()}
    for key, value in objective.items():
        if key == "name":
            continue
        if key not in known:
            hint = nearest(key, known) or f"; known: {', '.join(known) or 'none'}."
            raise BadInput(f"Unknown key 'objective.{key}' in {source}{hint}")
        _check_value(key, value, admitted[key], source)
        settings[key] = value
    return settings


@dataclass(frozen=True)
class Domain:
    """What one part of an annotation admits: `float | None` has two.

    Args:
        type: its text, without what is said beside it.
        choices: the only values; of a tuple's elements, if the type is a tuple. None: any.
        within: the range of a number, or None.
    """

    type: str
    choices: tuple[Any, ...] | None = None
    within: Within | None = None


def domains(objective: str, config: Path | None = None) -> dict[str, tuple[Domain, ...]]:
    """Return {parameter: what it may be} of the constructor, from its annotations (see `bench.settings`)."""
    source = locate(objective, config)
    return _our_domains(source) if source.ours else _domains(source)


def _domains(source: Source) -> dict[str, tuple[Domain, ...]]:
    init = _init(_class(source))
    if init is None:
        return {}
    tree = _module(source)
    imports = _imports(tree)
    return {
        argument.arg: _admitted(argument.annotation, tree, imports) if argument.annotation else (Domain(""),)
        for argument in [*init.args.args, *init.args.kwonlyargs]
        if argument.arg not in GIVEN
    }


_our_domains = cache(_domains)


def _admitted(node: ast.expr, tree: ast.Module, imports: Mapping[str, tuple[str, str]]) -> tuple[Domain, ...]:
    """What an annotation in a module admits; one that cannot be read admits anything."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return (*_admitted(node.left, tree, imports), *_admitted(node.right, tree, imports))
    if isinstance(node, ast.Name) and imports.get(node.id, ("",))[0] == ranges.__name__:
        kind, *beside = get_args(getattr(ranges, imports[node.id][1], None)) or (None,)
        return (Domain(getattr(kind, "__name__", ""), within=next((w for w in beside if isinstance(w, Within)), None)),)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
        text, choices, within = ast.unparse(node.slice.elts[0]), None, None
        for said in node.slice.elts[1:]:
            if isinstance(said, ast.Name):
                choices = _constant(said.id, tree)
            elif isinstance(said, ast.Call) and ast.unparse(said.func) == Within.__name__:
                within = _range(said)
        return (Domain(text, choices, within),)
    return (Domain(ast.unparse(node)),)


def _range(call: ast.Call) -> Within | None:
    """The range that `Within(…)` makes of literals; None if it cannot be read."""
    try:
        named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
        return Within(*map(ast.literal_eval, call.args), **named)
    except (TypeError, ValueError):
        return None


def _imports(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Return {name: (module, its name there)} of what the top of a module takes from others."""
    nodes = [inner for node in tree.body for inner in (node.body if isinstance(node, ast.If) else [node])]
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }


def _constant(name: str, tree: ast.Module) -> tuple[Any, ...] | None:
    """Return a tuple of literals that a module has or imports by that name; None where there is none to be read."""
    for node in tree.body:
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        pairs: list[tuple[ast.expr, ast.expr]] = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=False))
        for own, literal in pairs:
            if isinstance(own, ast.Name) and own.id == name:
                try:
                    return tuple(ast.literal_eval(literal))
                except (TypeError, ValueError):
                    return None
    module, there = _imports(tree).get(name, ("", ""))
    file = _module_file(module) if module else None
    return _constant(there, _tree(file)) if file is not None else None


def _check_value(key: str, value: Any, admitted: tuple[Domain, ...], source: Path) -> None:
    """Refuse a value of the wrong type, of none of the choices, or out of range. Raises BadInput."""
    typed = [domain for domain in admitted if _fits(value, domain.type)]
    if not typed:
        wanted = " | ".join(domain.type for domain in admitted)
        raise BadInput(f"Key 'objective.{key}' in {source} is {value!r}, but should be {wanted}.")
    domain = typed[0]
    if domain.choices is not None:
        for one in value if isinstance(value, (tuple, list)) else (value,):
            if one not in domain.choices:
                known = [str(choice) for choice in domain.choices]
                hint = (nearest(one, known) if isinstance(one, str) else "") or f"; known: {', '.join(known)}."
                raise BadInput(f"Unknown objective.{key} {one!r} in {source}{hint}")
    if domain.within is not None and value not in domain.within:
        raise BadInput(f"objective.{key} in {source} is {value}; set it {domain.within}.")


def _fits(value: Any, kind: str) -> bool:
    """Whether a value is of a plain type, or a sequence of them as `tuple[…]` says; other types admit anything."""
    if kind.startswith("tuple[") and kind.endswith("]"):
        parts = [part.strip() for part in kind.removeprefix("tuple[").removesuffix("]").split(",")]
        if not isinstance(value, (tuple, list)):
            return False
        if parts[-1] == "...":
            return all(_fits(one, parts[0]) for one in value)
        return len(value) == len(parts) and all(map(_fits, value, parts))
    if kind not in _TYPES:
        return True
    return isinstance(value, _TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))
