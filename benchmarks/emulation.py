"""Comparisons for a machine that emulates bf16: in the place of each contender in bf16 stands the same in float32.

There a product of matrices takes up to 600 times as long in bf16 (bench/train/precision.py), and nobody is at their
best in it: `auto` is float32, and that is what a peer's users would choose. A contender in bf16 would only take the
time that the others need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from comparisons import Comparison, Goal
from engine import Contender

FLOAT32: dict[str, Any] = {"bf16": False, "precision": "float32", "search": "float32"}  # in the place of bf16


def emulates_bf16(device: str) -> bool:
    """Whether this machine has no hardware that multiplies bf16."""
    import torch

    from bench.train.precision import native_bf16

    return not native_bf16(torch.device(device))


def in_bf16(contender: Contender) -> bool:
    """Whether a contender computes in bf16 by its arguments; one that leaves that to `auto` does not."""
    return any(contender.arguments.get(name) in (True, "bf16") for name in FLOAT32)


def without_bf16(comparison: Comparison) -> Comparison:
    """Return the comparison with all in float32: contenders, their goals, and a note that says so.

    A contender that was the same in float32 already is measured once, under the name that may have a goal.
    """
    asked = [one for one in comparison.contenders if in_bf16(one)]
    if not asked:
        return replace(comparison, contenders=tuple(map(_words, comparison.contenders)))
    plain = [one for one in comparison.contenders if not in_bf16(one)]
    now: dict[str, Contender] = {one.name: _words(one) for one in comparison.contenders}
    names = {name: one.name for name, one in now.items()}
    for one in asked:
        arguments = {name: FLOAT32.get(name, value) for name, value in one.arguments.items()}
        twin = next((other for other in plain if (other.target, other.arguments) == (one.target, arguments)), None)
        now[one.name] = replace(_words(one), arguments=arguments, about=twin.about if twin else _words(one).about)
        if twin is not None:
            names[twin.name] = names[one.name]
            now.pop(twin.name, None)
    note = f"Nothing was measured in bf16, which this machine emulates: {', '.join(one.name for one in asked)} "
    note += "stand here in float32." if len(asked) > 1 else "stands here in float32."
    goals = tuple(replace(goal, value=_renamed(goal, names)) for goal in comparison.goals)
    return replace(comparison, contenders=tuple(now.values()), goals=goals, notes=(*comparison.notes, note))


def _words(contender: Contender) -> Contender:
    """The contender with the words for float32."""
    name, about = (text.replace("bf16", "float32") for text in (contender.name, contender.about))
    return replace(contender, name=name, about=about)


def _renamed(goal: Goal, names: Mapping[str, str]) -> Any:
    """The value of a goal that knows contenders by the names that they had."""
    return lambda rates: goal.value({old: rates[new] for old, new in names.items() if new in rates})
