"""What a tracker is told of a stage, and what it must be able to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Status = Literal["finished", "failed", "interrupted"]  # how a sitting of a stage ended
RESULTS = "final/"  # the prefix of what a stage returns at its end
DEFAULT_PROJECT = "bench"


@dataclass(frozen=True)
class Run:
    """One stage, as a tracker's run; a stage that is resumed goes on in the same one."""

    id: str  # the start of the stage's fingerprint
    name: str  # its label, such as coco--imagenet_knn-s0
    group: str  # its pretraining: all stages with the same one are a group
    project: str = DEFAULT_PROJECT
    tags: Mapping[str, str] = field(default_factory=dict)  # kind, profile, arch, seed
    config: Mapping[str, str | float] = field(default_factory=dict)  # its settings, flat: {"pretrain.epochs": 200, …}


class Tracker(Protocol):
    """What an adapter does. It is called in a process of its own, where it may raise and take its time."""

    def start(self, run: Run, store: Path, known: str) -> str:
        """Begin a run, or go on with one.

        Args:
            run: the stage.
            store: a folder for what a tracker keeps on this machine, shared by the stages of a work folder; it may not
                be there yet.
            known: what an earlier sitting of this stage was given back here; "" in the first one.

        Returns what the next sitting is to be given. Where it raises, it is called again later.
        """

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log values after so many steps. Where it raises, the same values come again later."""

    def end(self, status: Status) -> None:
        """End the sitting; what was logged must be where it belongs when this returns."""


def flat(values: Mapping[str, Any], prefix: str = "", separator: str = "/") -> dict[str, Any]:
    """Return nested mappings as one: {"iou_percent": {"road": 97.0}} as {"iou_percent/road": 97.0}."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}{separator}", separator)
        else:
            result[f"{prefix}{name}"] = value
    return result


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested mappings, flat. Texts, switches and what is not finite is left out."""
    return {
        name: value
        for name, value in flat(values, prefix).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def settings(values: Mapping[str, Any], prefix: str) -> dict[str, str | float]:
    """Return a config as trackers take it: flat, with numbers and texts alone; lists are texts."""
    return {
        name: value if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
        for name, value in flat(values, prefix, ".").items()
    }
