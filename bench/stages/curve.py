"""Scores that a stage takes on its way, at some of its steps: `curve.json` in its folder, which its record gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.files import read_json, write_text
from bench.trackers import track

FILE = "curve.json"


class Curve:
    """Points of a stage in the order of their steps, kept in its folder at once, so that one that goes on has them.

    Args:
        folder: of the stage.
        active: whether this process writes; the others keep nothing.
    """

    def __init__(self, folder: Path, active: bool = True) -> None:
        self.file, self.active = folder / FILE, active
        self.points: list[dict[str, float]] = []

    def start(self, step: int) -> None:
        """Keep of what an earlier process left the points up to `step`, after which this one goes on."""
        self.points = [point for point in points_of(self.file.parent) if point["step"] <= step]

    def add(self, step: int, scores: Mapping[str, float]) -> None:
        """Add the scores after a step, in place of those that the same step had."""
        if not self.active:
            return
        self.points = [point for point in self.points if point["step"] < step]
        self.points.append({"step": step, **scores})
        write_text(self.file, json.dumps({"points": self.points}) + "\n")
        track(int(step), {f"validation/{name}": value for name, value in scores.items()})


def points_of(folder: Path) -> list[dict[str, float]]:
    """Return the points that a stage left in its folder, [{"step": …, "miou_percent": …}, …]; [] where it has none."""
    points = read_json(folder / FILE).get("points", [])
    return [point for point in points if isinstance(point, dict) and "step" in point]
