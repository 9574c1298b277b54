"""What a stage's time does not hold, since this process did not do it: steps before it was resumed, kept features."""

from __future__ import annotations

_gaps: list[str] = []


def note_gap(words: str) -> None:
    """Note a part of the stage's work that an earlier process did, e.g. "120 of 400 steps"."""
    if words not in _gaps:
        _gaps.append(words)


def noted_gaps() -> list[str]:
    """Return what was noted in this process; [] where it did all of its stage's work."""
    return list(_gaps)


def forget_gaps() -> None:
    """Start with none, for a stage that begins."""
    _gaps.clear()
