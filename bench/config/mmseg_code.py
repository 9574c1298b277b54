"""What an mmseg config may not say in safe mode: it is data, but mmengine imports and unpickles what it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.safe_mode import NotSafe, is_safe, remedy

# Modules are imported for the first and the third; the others write files anywhere.
KEYS = ("custom_imports", "custom_hooks", "_scope_", "out_dir")
# How these are initialised does not matter: the trunk takes the place of it.
_LOADS = ("pretrained", "init_cfg")
REPLACED = frozenset((*place, key) for place in (("model",), ("model", "backbone")) for key in _LOADS)


def check_for_code(values: Mapping[str, Any], file: Path) -> None:
    """Raise NotSafe, in safe mode, where mmengine would run code, unpickle weights or write files for a config."""
    if not is_safe():
        return
    for said in _said(values, ()):
        raise NotSafe(f"mmseg config {file} has {said}, for which code would be run; take it out, or {remedy()}")


def _said(node: Any, place: tuple[str, ...]) -> Iterator[str]:
    """Yield what is said below a place that code would be run for."""
    if isinstance(node, list | tuple):
        for each in node:
            yield from _said(each, (*place, "[]"))
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if (*place, key) in REPLACED:
                continue
            if (key in KEYS or key == "pretrained") and value:
                yield str(key)
            # A dot is in the full name of anything that Python can import.
            if key == "type" and (value == "Pretrained" or "." in str(value)):
                yield f"type={value!r}"
            yield from _said(value, (*place, str(key)))
