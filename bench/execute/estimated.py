"""What a plan was estimated to take: each stage, all of them together, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.execute.machine import Machine
from bench.execute.words import duration, size
from bench.peak_memory import memory_words
from bench.plan import Stage
from bench.stages.costs import Amount, total


@dataclass(frozen=True)
class StageEstimate:
    """What is known of one stage; None and {} where it is not."""

    stage: Stage
    state: str  # as the plan has it
    source: str  # where the numbers come from, or why there are none
    seconds: Amount | None = None
    memory_mib: Mapping[str, float] = field(default_factory=dict)
    disk_bytes: int | None = None
    features: Mapping[str, int] = field(default_factory=dict)  # that it adds to those that stages share

    @property
    def to_do(self) -> bool:
        """Whether it will run."""
        return self.state == "to do"


@dataclass(frozen=True)
class GridEstimate:
    """What is known of all stages, and of them together."""

    machine: Machine
    stages: list[StageEstimate]
    packs_bytes: int = 0  # that are read, and lie there already
    features_most: int | None = None  # bytes that features may take

    @property
    def unknown(self) -> list[StageEstimate]:
        """The stages to do whose time is not known."""
        return [one for one in self.stages if one.to_do and one.seconds is None]

    @property
    def seconds(self) -> Amount:
        """The sum over the stages to do that are known: one runs after another."""
        return total(one.seconds for one in self.stages if one.to_do and one.seconds is not None)

    @property
    def memory_mib(self) -> dict[str, float]:
        """The most that any stage holds at once."""
        most: dict[str, float] = {}
        for one in self.stages:
            for name, value in one.memory_mib.items():
                most[name] = max(most.get(name, 0.0), value)
        return most

    @property
    def disk_bytes(self) -> int:
        """What all stages to do leave, as far as it is known; equal features count once."""
        features: dict[str, int] = {}
        for one in self.stages:
            features |= one.features
        shared = sum(features.values())
        if self.features_most is not None:
            shared = min(shared, self.features_most)
        return sum(one.disk_bytes or 0 for one in self.stages) + shared

    def lines(self) -> list[str]:
        """Return the estimate for people."""
        rows = [("stage", "time", "(from – to)", "memory", "disk", "source")]
        for one in self.stages:
            if not one.to_do:
                rows.append((one.stage.title, one.state, "", "", "", ""))
                continue
            time, interval = _time(one.seconds)
            disk = "" if one.disk_bytes is None else size(one.disk_bytes + sum(one.features.values()))
            rows.append((one.stage.title, time, interval, memory_words(one.memory_mib), disk, one.source))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [f"estimate for {self.machine.words}"]
        lines += ["  ".join([*map(str.ljust, row[:5], widths), row[5]]).rstrip() for row in rows]
        time, interval = _time(self.seconds)
        unknown = len(self.unknown)
        parts = [f"all {sum(one.to_do for one in self.stages)} stages to do, one after another: {time} {interval}"]
        if unknown:
            parts[0] = (
                f"{sum(one.to_do for one in self.stages) - unknown} stages to do, one after another: {time} {interval}"
            )
            parts.append(f"without {unknown} whose time is not known")
        parts += [f"at most {memory_words(self.memory_mib)} of memory"] if self.memory_mib else []
        parts.append(f"{size(self.disk_bytes)} of disk")
        parts += [f"packs of {size(self.packs_bytes)} are there"] if self.packs_bytes else []
        return [*lines, "; ".join(parts)]

    def content(self) -> dict[str, Any]:
        """Return the estimate as JSON-able values: seconds, MiB and bytes; null where something is not known."""
        return {
            "machine": {"cpu": self.machine.cpu, "cores": self.machine.cores, "gpus": list(self.machine.gpus)},
            "stages": [
                {
                    "stage": one.stage.title,
                    "fingerprint": one.stage.fingerprint,
                    "state": one.state,
                    "seconds": _numbers(one.seconds),
                    "peak_memory_mib": dict(one.memory_mib),
                    "disk_bytes": one.disk_bytes,
                    "features_bytes": sum(one.features.values()),
                    "source": one.source,
                }
                for one in self.stages
            ],
            "total": {
                "seconds": _numbers(self.seconds),
                "peak_memory_mib": self.memory_mib,
                "disk_bytes": self.disk_bytes,
                "packs_bytes": self.packs_bytes,
                "not_known": len(self.unknown),
            },
        }


def _numbers(amount: Amount | None) -> dict[str, float] | None:
    if amount is None:
        return None
    return {"from": round(amount.low, 1), "about": round(amount.middle, 1), "to": round(amount.high, 1)}


def _time(amount: Amount | None) -> tuple[str, str]:
    if amount is None:
        return "not known", ""
    return duration(amount.middle), f"({duration(amount.low)} – {duration(amount.high)})"
