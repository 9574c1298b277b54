"""Words of `--set`: `key=value`, where the key is dotted and the value a Python literal or a plain string."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from bench.errors import BadInput, shortened

DEEPEST = 20  # dots in a key


def parse_assignments(items: Sequence[str]) -> dict[str, Any]:
    """Return {dotted key: value} of `key=value` words; values are Python literals, else plain strings."""
    values: dict[str, Any] = {}
    for item in items:
        key, separator, text = item.partition("=")
        if not separator or not all(key.split(".")):
            raise BadInput(f"--set takes key=value, not {shortened(item)}.")
        if key.count(".") > DEEPEST:
            raise BadInput(f"--set {shortened(key)} has more dots than any config is deep; correct it.")
        try:
            values[key] = ast.literal_eval(text)
        except (RecursionError, MemoryError) as error:  # of Python's parser, which goes one call deeper a level
            raise BadInput(f"--set {key} is nested too deeply ({shortened(text)}); use fewer brackets.") from error
        except (ValueError, SyntaxError):
            values[key] = {"true": True, "false": False, "none": None}.get(text.lower(), text)
    return values
