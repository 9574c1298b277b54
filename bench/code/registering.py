"""Whether defining something does more than that: it registers itself, or is a statement that is run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.code.graph import Graph
    from bench.code.modules import Module

# Decorators that only change what they decorate.
PURE = (
    *("builtins.", "functools.", "contextlib.", "dataclasses.", "abc.", "typing.", "enum.", "numba.", "pydantic."),
    *("torch.no_grad", "torch.inference_mode", "torch.enable_grad", "torch.jit.", "torch.compile", "torch.autograd."),
)
_MM = ("mmengine", "mmcv", "mmseg")  # they register by decorators
# Packages whose classes keep no list of those that derive from them.
QUIET = frozenset({"torch", "torchvision", "numpy", "PIL", "pydantic", "timm", *_MM}) | sys.stdlib_module_names


def registers(graph: Graph, module: Module, name: str) -> bool:
    """Return whether a definition of a module changes something besides, when the module is imported."""
    definition = module.facts.definitions[name]
    if definition.kind == "effect":
        return True
    if definition.kind == "constant":
        return any(_acts(graph, module, call) for call in definition.calls)
    if any(_acts(graph, module, each, decorates=True) for each in definition.decorators):
        return True
    if definition.kind == "function" or graph.is_settings(module, name):
        return False
    for found in graph.ancestors(graph.node(module, name)):
        if isinstance(found, str) and found.partition(".")[0] not in QUIET and not found.startswith("left out "):
            return True
        if not isinstance(found, str) and "__init_subclass__" in getattr(found, "definition", definition).methods:
            return not graph.is_settings(found.module, found.name)  # type: ignore[union-attr]
    return False


def _acts(graph: Graph, module: Module, name: str, decorates: bool = False) -> bool:
    """Whether calling something of that name may change what a module holds."""
    first, *rest = name.split(".")
    if not first.isidentifier():
        return decorates and "(" not in name
    if decorates and rest and rest[-1] in {"setter", "getter", "deleter"}:
        return False
    found = graph.resolve(module, "name", name)
    if found is None:
        return False
    target = found[0]
    if isinstance(target, str):
        if decorates:
            return not target.startswith((*PURE, "left out "))
        last = target.rpartition(".")[2]
        return "regist" in last or last.startswith("set_")
    definition = getattr(target, "definition", None)
    if definition is None:  # a whole module: what it is cannot be said
        return decorates
    return bool(definition.mutates) or (bool(rest) and "regist" in rest[-1])
