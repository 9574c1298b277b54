"""What an objective's constructor takes, read from its source without importing torch.

The constructor is the one place that names an objective's settings and gives the paper's defaults. A plan
needs both (to catch a mistyped key, and to fingerprint the defaults), but must not wait for torch.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import BadInput, nearest

FOLDER = Path(__file__).parent / "objectives"

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


@cache
def class_of(objective: str) -> ast.ClassDef:
    """Return the syntax tree of the class that implements `objective`."""
    module, _, name = objectives()[objective].partition(":")
    file = FOLDER / f"{module.rpartition('.')[2]}.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


@cache
def parameters(objective: str) -> dict[str, tuple[str, Any]]:
    """Return {parameter: (annotation, default)} of the constructor, in order."""
    init = next(n for n in class_of(objective).body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
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
    defaults = {key: parameters(name)[key][1] for key in later(name)}
    return {k: v for k, v in objective.items() if k not in defaults or _plain(v) != _plain(defaults[k])}


def _plain(value: Any) -> Any:
    """A setting as it compares whether it was written as a tuple or as a list."""
    return list(value) if isinstance(value, tuple) else value


def check_arguments(objective: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Return the objective's settings with its constructor's defaults filled in.

    Raises BadInput for an unknown objective, an unknown setting (with the nearest) or a wrong type.
    """
    name = objective.get("name")
    if not isinstance(name, str) or name not in objectives():
        hint = nearest(str(name), objectives()) or f"; known: {', '.join(objectives())}."
        raise BadInput(f"Unknown objective {name!r} in {source}{hint}")
    known = parameters(name)
    settings: dict[str, Any] = {"name": name} | {key: default for key, (_, default) in known.items()}
    for key, value in objective.items():
        if key == "name":
            continue
        if key not in known:
            hint = nearest(key, known) or f"; known: {', '.join(known) or 'none'}."
            raise BadInput(f"Unknown key 'objective.{key}' in {source}{hint}")
        annotation = known[key][0]
        if not _fits(value, annotation):
            raise BadInput(f"Key 'objective.{key}' in {source} is {value!r}, but should be {annotation}.")
        settings[key] = value
    return settings


def _fits(value: Any, annotation: str) -> bool:
    """Whether a value is of one of the plain types in an annotation; other annotations admit anything."""
    parts = [part.strip() for part in annotation.split("|")]
    allowed = tuple(kind for part in parts for kind in _TYPES.get(part, ()))
    if any(part not in _TYPES for part in parts):
        return True
    return isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))
