"""How the network that a stage uses saw the trunk: noted where it is proven, kept with what the stage leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_noted: dict[str, Any] = {}


def note_load_proof(content: Mapping[str, Any]) -> None:
    """Note the proof of this process's stage, in the place of an earlier one; JSON-able, with "differences" in it."""
    _noted.clear()
    _noted.update(content)


def noted_load_proof() -> dict[str, Any]:
    """Return what was noted in this process; {} where its stage proved nothing."""
    return dict(_noted)


def forget_load_proof() -> None:
    """Start with none, for a stage that begins."""
    _noted.clear()
