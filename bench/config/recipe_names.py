"""The name of a recipe that values are laid over: `coco[epochs=9]`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bench.errors import BadInput


def in_brackets(values: Mapping[str, Any]) -> str:
    """Return how values laid over a recipe stand in its name, `[epochs=9,temperature=0.1]`; "" for none.

    Keys may be dotted or nested. Of a dotted key the last part is named, or all of it where two end alike.
    Raises BadInput for a value that cannot be part of a file's name.
    """
    flat = dict(_flat(values))
    ends, words = Counter(key.rpartition(".")[2] for key in flat), []
    for key, value in flat.items():
        end, text = key.rpartition(".")[2], value if isinstance(value, str) else repr(value)
        if not re.fullmatch(r"[^\s/\\][^/\\]*", text):
            raise BadInput(f"{key}={text} cannot be part of a name, which is a file's; use --set, or a config.")
        words.append(f"{end if ends[end] == 1 else key}={text.replace(' ', '')}")
    return f"[{','.join(words)}]" if words else ""


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{below}", one) for below, one in _flat(value))
        else:
            yield key, value
