"""`metrics.jsonl` in a pretraining's folder, one JSON object per log step: what it is called, and what a line says."""

from __future__ import annotations

import json
from typing import Any

FILE = "metrics.jsonl"
MOST = 2**63  # of whole numbers: Python reads longer ones, which no float may hold


def values_of(line: bytes) -> dict[str, Any] | None:
    """Return what a whole line says, {"step": number of the step, key: number}; None for anything else.

    A line that a killed process was writing has no end.
    """
    try:
        values = json.loads(line.decode()) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not all(type(value) in (int, float) for value in values.values()):
        return None
    if any(type(value) is int and abs(value) > MOST for value in values.values()):
        return None
    step = values.get("step")
    return values if isinstance(step, int) and step >= 0 else None
