"""What a measurement leaves behind: one JSON file in results/benchmarks/, with all raw samples.

A file: {"benchmark", "title", "unit", "baseline", "goals", "notes", "taken": {date, commit, hardware, versions},
"contenders": {name: {"about", "peer", "arguments", "threads", "samples", "ready_seconds", "peak_mib"}}}; a growth curve
has "curve": {"x": what x is, "y": …, "series": {name: [{"x": …, "samples": [{"seconds", "units"}, …]}, …]}} instead of
contenders.
"""

from __future__ import annotations

import datetime
import json
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interleave import PEERS, ROOT, Measured

from bench.record import environment

FOLDER = ROOT / "results" / "benchmarks"
PEER_VERSIONS = (
    "import importlib.metadata as m, json\n"
    "names = ('lightly', 'torch', 'torchvision', 'pytorch-lightning', 'pillow', 'numpy')\n"
    "print(json.dumps({n: m.version(n) for n in names if any(d.name.lower() == n for d in m.distributions())}))"
)


def taken() -> dict[str, Any]:
    """Return when, where and with what something was measured."""
    here = environment()
    peers: dict[str, str] = {}
    if PEERS.exists():
        done = subprocess.run([str(PEERS), "-c", PEER_VERSIONS], capture_output=True, text=True, check=True)
        peers = json.loads(done.stdout)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": here["git"].model_dump(),
        "hardware": here["hardware"].model_dump() | {"bf16": bf16_features()},
        "versions": here["versions"],
        "peer_versions": peers,
    }


def bf16_features() -> str:
    """What decides how fast bf16 runs on this CPU."""
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    return " ".join(name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags)


def write(
    name: str,
    title: str,
    measured: Mapping[str, Measured],
    *,
    unit: str,
    baseline: str,
    goals: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
    folder: Path = FOLDER,
) -> Path:
    """Write one comparison and print its table.

    Args:
        name: of the file.
        title: what is compared, for a reader.
        measured: by contender.
        unit: what a sample counts: rates are in unit/s.
        baseline: the contender that ratios are taken to.
        goals: contender -> the ratio that was aimed at, against the baseline.
        notes: sentences for the reader, e.g. how inputs were made.
        extra: further JSON-able facts.
        folder: where to.
    """
    content = {
        "benchmark": name,
        "title": title,
        "unit": unit,
        "baseline": baseline,
        "goals": dict(goals or {}),
        "notes": list(notes),
        "taken": taken(),
        "contenders": {key: value.plain() for key, value in measured.items()},
        **(extra or {}),
    }
    print(f"\n{title}")
    for key, (rate, low, high, ratio) in summary(content).items():
        print(f"  {key:<44} {rate:10.4g} {unit}/s ({low:.4g} to {high:.4g})  x{ratio:.2f}")
    return save(name, content, folder)


def write_curve(
    name: str,
    title: str,
    series: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    x: str,
    y: str = "seconds",
    notes: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
    folder: Path = FOLDER,
) -> Path:
    """Write growth curves: series -> [{"x": size, "samples": [{"seconds", "units"}, …]}, …]."""
    content = {
        "benchmark": name,
        "title": title,
        "notes": list(notes),
        "taken": taken(),
        "curve": {"x": x, "y": y, "series": {key: list(points) for key, points in series.items()}},
        **(extra or {}),
    }
    return save(name, content, folder)


def save(name: str, content: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write one file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(file)
    return file


def summary(content: Mapping[str, Any]) -> dict[str, tuple[float, float, float, float]]:
    """Return {contender: (median rate, lowest, highest, median over rounds of the ratio to the baseline)}."""
    rates = {
        name: [sample["units"] / sample["seconds"] for sample in one["samples"]]
        for name, one in content["contenders"].items()
    }
    base = rates[content["baseline"]]
    return {
        name: (
            statistics.median(own),
            min(own),
            max(own),
            statistics.median(mine / its for mine, its in zip(own, base, strict=True)),
        )
        for name, own in rates.items()
    }
