"""Holds the measurements of a run against the ranges that were recorded. This module does not import torch.

Training amplifies rounding: the same objective with the same seed gives another loss curve on another processor. So
the ranges are made from several runs that differ in kernels, threads and a small change of the initial weights
(`cases.CONDITIONS`). How far each network moved tells of one that is missing, frozen, or follows in another way than
it should, which the loss hardly shows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from math import nan
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bench.canary.cases import CONDITIONS, Canary

FILE = Path(__file__).with_name("expected.json")
SPREAD = 4.0  # half width of a range, in the recorded runs' largest deviation from their mean
LOSS_SHARE = 0.02  # plus this share of the curve's largest absolute value
MOVED_SHARE = 0.1  # the same for how far a network moved
SHARE_LEFT = 0.5  # of the least recorded gain, rank and spread
LEAST_GAIN = 6.0  # points of accuracy; 288 images cannot tell half of a smaller gain from noise, so it is not checked


@dataclass(frozen=True)
class Measurements:
    """What a run is judged by; of a run that was stopped early, only the losses.

    Args:
        losses: means over equal parts of the run.
        knn_percent: top-1 of 5 nearest neighbours by the cosine of the pooled feature.
        knn_random_percent: the same before the first step.
        std: mean over dimensions of the standard deviation of the unit features, times √D: 1 when they fill the
            sphere, 0 when collapsed; the smaller of the pooled feature's and the projection's.
        rank: effective rank of the pooled feature (exp of the entropy of singular values).
        moved: by network, the root mean square of how far its weights went from where they started; networks are the
            objective's children, and what has no weights is not among them.
        told_percent: how often the objective's own task was solved on clips that were held out, in eval mode and
            with all answers mixed in a batch; only of those in `cases.TOLD`.
        told_random_percent: the same before the first step.
        seconds: of the whole run.
        capability: torch's name of the vector instructions that it used, such as AVX2.
        raised: the error that ended it.
    """

    losses: tuple[float, ...]
    knn_percent: float = nan
    knn_random_percent: float = nan
    std: float = nan
    rank: float = nan
    moved: dict[str, float] = field(default_factory=dict)
    told_percent: float = nan
    told_random_percent: float = nan
    seconds: float = nan
    capability: str = ""
    raised: str = ""

    @property
    def gain(self) -> float:
        """Points of accuracy above random weights."""
        return self.knn_percent - self.knn_random_percent

    @property
    def told(self) -> float:
        """Points by which the own task is solved more often than with random weights."""
        return self.told_percent - self.told_random_percent


@dataclass(frozen=True)
class Expected:
    """What was recorded of one objective."""

    case: str  # digest of how it is trained and recorded
    capabilities: tuple[str, ...]  # torch's names of the vector instructions of the runs that the ranges are made from
    low: tuple[float, ...]
    high: tuple[float, ...]
    gain: float | None  # least gain of neighbours over random weights, in points; None: not checked
    std: float
    rank: float
    moved: dict[str, tuple[float, float]]  # network: the least and the most that its weights move
    told: float | None = None  # least gain of the own task over random weights, in points; None: not checked


def digest(case: Canary) -> str:
    """Return 12 hex digits of how an objective is trained, and under which conditions it is recorded."""
    trained = {key: value for key, value in asdict(case).items() if value is not None}  # as before there was such a key
    described = json.dumps([trained, *map(asdict, CONDITIONS)], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def expect(case: Canary, runs: Sequence[Measurements]) -> Expected:
    """Return what later runs are held against, from runs under different conditions."""
    scale = max(abs(loss) for run in runs for loss in run.losses)
    ranges = _ranges(list(zip(*(run.losses for run in runs), strict=True)), LOSS_SHARE * scale)
    distances = {network: [run.moved[network] for run in runs] for network in runs[0].moved}
    gain, told = (SHARE_LEFT * min(gains) for gains in zip(*((run.gain, run.told) for run in runs), strict=True))
    return Expected(
        case=digest(case),
        capabilities=tuple(run.capability for run in runs),
        low=tuple(low for low, _ in ranges),
        high=tuple(high for _, high in ranges),
        gain=round(gain, 2) if gain >= SHARE_LEFT * LEAST_GAIN else None,
        std=round(SHARE_LEFT * min(run.std for run in runs), 4),
        rank=round(SHARE_LEFT * min(run.rank for run in runs), 2),
        moved={network: _ranges([values], MOVED_SHARE * max(values))[0] for network, values in distances.items()},
        told=round(told, 2) if told >= SHARE_LEFT * LEAST_GAIN else None,
    )


def _ranges(parts: Sequence[Sequence[float]], margin: float) -> list[tuple[float, float]]:
    """Return the range of each part from its values in several runs.

    The largest deviation until then counts: runs drift apart with time, so a part in which the few of them happen to
    be close to each other says little.
    """
    means = [sum(values) / len(values) for values in parts]
    deviations = [max(abs(value - mean) for value in values) for values, mean in zip(parts, means, strict=True)]
    halves = [SPREAD * deviation + margin for deviation in accumulate(deviations, max)]
    return [(round(mean - half, 5), round(mean + half, 5)) for mean, half in zip(means, halves, strict=True)]


def complaints(run: Measurements, expected: Expected) -> list[str]:
    """Return what is wrong with a run, a clause each; nothing if it is as recorded."""
    if run.raised:
        return [f"raises {run.raised}"]
    whole, parts = len(run.losses) == len(expected.low), len(expected.low)
    wrong = [
        f"loss {loss:.4g} in part {part} of {parts}, recorded {low:.4g} to {high:.4g}"
        for part, (loss, low, high) in enumerate(zip(run.losses, expected.low, expected.high, strict=whole), start=1)
        if not low <= loss <= high  # also when it is not a number
    ][:1]
    if not whole:
        return wrong
    if expected.gain is not None and not run.gain >= expected.gain:
        wrong.append(
            f"neighbours gained {run.gain:.1f} points on random weights, at least {expected.gain:.1f} were due"
        )
    if expected.told is not None and not run.told >= expected.told:
        wrong.append(
            f"its own task was solved {run.told:.1f} points more often than with random weights, at least "
            f"{expected.told:.1f} were due"
        )
    if not run.std >= expected.std:
        wrong.append(f"features spread by {run.std:.2g} of a sphere's, at least {expected.std:.2g} was due")
    if not run.rank >= expected.rank:
        wrong.append(f"effective rank {run.rank:.1f}, at least {expected.rank:.1f} was due")
    wrong += [
        f"{network} is there, and was not when recorded" for network in run.moved if network not in expected.moved
    ]
    for network, (low, high) in expected.moved.items():
        if network not in run.moved:
            wrong.append(f"{network} has no weights")
        elif not low <= run.moved[network] <= high:
            wrong.append(f"{network} moved by {run.moved[network]:.2g}, recorded {low:.2g} to {high:.2g}")
    return wrong


def read_expected(file: Path = FILE) -> dict[str, Expected]:
    """Return {objective: what was recorded}; what another version recorded in another form is not there."""
    recorded = json.loads(file.read_text(encoding="utf-8")).get("objectives", {}) if file.is_file() else {}
    expected = {}
    for name, values in recorded.items():
        with contextlib.suppress(ValidationError):
            expected[name] = TypeAdapter(Expected).validate_python(values)
    return expected


def write_expected(expected: Mapping[str, Expected], file: Path = FILE) -> None:
    """Write the conditions of recording, then {objective: what was recorded} sorted by name."""
    conditions = ",\n".join(json.dumps(asdict(each)) for each in CONDITIONS)
    objectives = ",\n".join(f'"{name}": {json.dumps(asdict(expected[name]))}' for name in sorted(expected))
    file.write_text(f'{{"conditions": [\n{conditions}\n], "objectives": {{\n{objectives}\n}}}}\n', encoding="utf-8")
