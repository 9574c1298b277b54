"""Holds a song against how the same objective sang when it was recorded. This module does not import torch.

Recorded are the loss curve of seed 0, with the corridor that three runs leave whose initial weights differ by a
ten-thousandth (as much as another machine's rounding would make of it, and more), and half of what the neighbours
gained, the rank and the spread were; and how far each network moved, which tells of one that is missing, or frozen, or
does not follow as it should, where the loss hardly shows it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.canary.cases import Canary

FILE = Path(__file__).with_name("expected.json")
WIDTH = 4.0  # corridor's half width in the largest deviations of the runs from their mean
SHARE = 0.02  # and this share of the curve's largest absolute value
MOVED_SHARE = 0.1  # as SHARE, of how far a network moved
LEFT = 0.5  # share of the recorded gain, rank and spread that must be left
LEAST_GAIN = 4.0  # points of accuracy; a smaller gain is within the noise of 288 images, and is not held against


@dataclass(frozen=True)
class Expected:
    """What was recorded of one objective."""

    case: str  # digest of how it is trained
    low: tuple[float, ...]
    high: tuple[float, ...]
    gain: float | None  # least gain of neighbours over random weights, in points; None: they are not checked
    std: float
    rank: float
    moved: dict[str, tuple[float, float]]  # network: the least and the most that its weights move


def digest(case: Canary) -> str:
    """Return 12 hex digits of how an objective is trained."""
    return hashlib.sha256(json.dumps(asdict(case), sort_keys=True).encode()).hexdigest()[:12]


def expect(case: Canary, songs: Sequence[Mapping[str, Any]]) -> Expected:
    """Return what later runs are held against, from several songs (`Song.values()`) of slightly different weights."""
    curves = [song["losses"] for song in songs]
    scale = max(abs(value) for curve in curves for value in curve)
    corridor = [_around(values, SHARE * scale) for values in zip(*curves, strict=True)]
    distances = {network: [song["moved"][network] for song in songs] for network in songs[0]["moved"]}
    gain = LEFT * min(song["knn_percent"] - song["knn_random_percent"] for song in songs)
    return Expected(
        case=digest(case),
        low=tuple(low for low, _ in corridor),
        high=tuple(high for _, high in corridor),
        gain=round(gain, 2) if gain >= LEFT * LEAST_GAIN else None,
        std=round(LEFT * min(song["std"] for song in songs), 4),
        rank=round(LEFT * min(song["rank"] for song in songs), 2),
        moved={network: _around(values, MOVED_SHARE * max(values)) for network, values in distances.items()},
    )


def _around(values: Sequence[float], least: float) -> tuple[float, float]:
    """Return the corridor around the mean of several runs' values."""
    mean = sum(values) / len(values)
    half = WIDTH * max(abs(value - mean) for value in values) + least
    return round(mean - half, 5), round(mean + half, 5)


def complaints(song: Mapping[str, Any], expected: Expected) -> list[str]:
    """Return what is wrong with a song, a clause each; nothing if it is as recorded.

    Of a song that was stopped early, only the losses are looked at.
    """
    found = []
    whole = len(song["losses"]) == len(expected.low)
    outside = [
        (number, loss, low, high)
        for number, (loss, low, high) in enumerate(
            zip(song["losses"], expected.low, expected.high, strict=whole), start=1
        )
        if not low <= loss <= high  # also when it is not a number
    ]
    if outside:
        number, loss, low, high = outside[0]
        found.append(f"loss {loss:.4g} in part {number} of {len(expected.low)}, recorded {low:.4g} to {high:.4g}")
    if not whole:
        return found
    gain = song["knn_percent"] - song["knn_random_percent"]
    if expected.gain is not None and not gain >= expected.gain:
        found.append(f"neighbours gained {gain:.1f} points on random weights, at least {expected.gain:.1f} were due")
    if not song["std"] >= expected.std:
        found.append(f"features spread by {song['std']:.2g} of a sphere's, at least {expected.std:.2g} was due")
    if not song["rank"] >= expected.rank:
        found.append(f"effective rank {song['rank']:.1f}, at least {expected.rank:.1f} was due")
    return found + _moves(song["moved"], expected.moved)


def _moves(moved: Mapping[str, float], expected: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return what is wrong with how far networks moved."""
    found = [f"{network} is there, and was not when recorded" for network in moved if network not in expected]
    for network, (low, high) in expected.items():
        distance = moved.get(network)
        if distance is None:
            found.append(f"{network} has no weights of its own")
        elif not low <= distance <= high:
            found.append(f"{network} moved by {distance:.2g}, recorded {low:.2g} to {high:.2g}")
    return found


def read_expected(file: Path = FILE) -> dict[str, Expected]:
    """Return {objective: what was recorded}; what another version recorded in another form is not there."""
    if not file.is_file():
        return {}
    expected = {}
    for name, values in json.loads(file.read_text(encoding="utf-8")).items():
        with contextlib.suppress(ValidationError):
            expected[name] = TypeAdapter(Expected).validate_python(values)
    return expected


def write_expected(expected: Mapping[str, Expected], file: Path = FILE) -> None:
    """Write {objective: what was recorded}, sorted by name."""
    body = ",\n".join(f'"{name}": {json.dumps(asdict(expected[name]))}' for name in sorted(expected))
    file.write_text("{\n" + body + "\n}\n", encoding="utf-8")
