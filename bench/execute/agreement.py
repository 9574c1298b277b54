"""Whether metrics that were computed again are those of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# How far a number may be off where another machine, or other libraries, computed it.
PERCENT = 0.1  # points, or what two images of the evaluated set are worth, if that is more
PART_PERCENT = 1.0  # points, of one class or one learning rate
RELATIVE = 0.01  # of a number that is no percentage


@dataclass(frozen=True)
class Verdict:
    """What came of an evaluation: whether the number stands, and what was seen, in lines for people."""

    stands: bool
    exact: bool  # to the digit
    lines: tuple[str, ...]


def judged(recorded: Mapping[str, Any], now: Mapping[str, Any], differences: Sequence[str]) -> Verdict:
    """Say whether metrics are those of a record.

    To the digit where `differences`, what may move the last digits here, are none; else within the tolerances above.
    """
    points = points_of(recorded)
    names = list(dict.fromkeys([*recorded, *now]))
    unequal = [name for name in names if recorded.get(name) != now.get(name)]
    far = [name for name in unequal if not near(name, recorded.get(name), now.get(name), points)]
    lines = [_line(name, recorded.get(name), now.get(name)) for name in names]
    here = f" Different here: {'; '.join(differences)}." if differences else ""
    if not unequal:
        return Verdict(True, True, (*lines, f"The number stands to the digit.{here}"))
    parts = f"{PART_PERCENT:g} of a class or a learning rate, {RELATIVE:.0%} of what is no percentage"
    tolerance = f"{points:g} percentage points ({parts})"
    if differences and not far:
        return Verdict(True, False, (*lines, f"The number stands within {tolerance}.{here}"))
    if differences:
        words = f"The number does not stand: not within {tolerance} is {', '.join(far)}.{here}"
    else:
        which = ", ".join(unequal)
        words = f"The number does not stand: machine and libraries are those of then, and {which} came out otherwise."
    return Verdict(False, False, (*lines, words))


def points_of(recorded: Mapping[str, Any]) -> float:
    """Return by how many percentage points a metric may be off: PERCENT, or what two of the images are worth."""
    images = recorded.get("validation_images", recorded.get("images"))
    return max(PERCENT, 200.0 / images) if isinstance(images, int) and images > 0 else PERCENT


def near(name: str, then: Any, now: Any, points: float) -> bool:
    """Whether two values of a metric are equal up to what rounding can do; counts must be equal."""
    if isinstance(then, dict) and isinstance(now, dict):
        return all(near(name, then.get(key), now.get(key), max(points, PART_PERCENT)) for key in {*then, *now})
    if name == "trunk_compiled":  # how it was computed, and no result
        return True
    if isinstance(then, float) and isinstance(now, float):
        return abs(then - now) <= (points if "percent" in name else RELATIVE * abs(then))
    return bool(then == now)


def _line(name: str, then: Any, now: Any) -> str:
    if isinstance(then, dict) or isinstance(now, dict):
        return f"  {name:<24} {'as recorded' if then == now else 'not as recorded'}"
    return f"  {name:<24} {now}" + ("" if then == now else f", recorded {then}")
