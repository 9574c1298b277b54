"""Pretext tasks, and what predicts patches from patches."""

from __future__ import annotations

from cases import Case

RIGHT = frozenset({"loss", "top1_percent"})

CASES = {
    "rotation": Case({"name": "rotation"}, (32,), RIGHT),
}
