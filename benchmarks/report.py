"""What a measurement leaves behind: one JSON file in results/benchmarks/, with all raw samples.

A file: {"benchmark", "title", "unit", "baseline", "goals", "notes", "taken": {date, commit, hardware, versions},
"contenders": {name: {"about", "peer", "arguments", "threads", "samples", "ready_seconds", "peak_mib"}}}; a growth curve
has "curve": {"x": what x is, "y": …, "series": {name: [{"x": …, "samples": [{"seconds", "units"}, …]}, …]}} instead of
contenders. Optional: "peers" (contenders that count as peers though they run in this project's environment),
"goals_best_peer" (contender -> ratio aimed at against the best peer), "device" (of a GPU), "checks" (goals that are no
ratios: [{"what", "found", "goal", "unit", "at_most"}]).

Trial runs (`--quick`) overwrite nothing: their files go to runs/benchmarks/quick. The environment variable
BENCHMARKS_FOLDER sends files elsewhere.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from interleave import PEERS, ROOT, Measured

RESULTS = ROOT / "results" / "benchmarks"
QUICK = ROOT / "runs" / "benchmarks" / "quick"
FOLDER = Path(os.environ.get("BENCHMARKS_FOLDER") or (QUICK if "--quick" in sys.argv else RESULTS))
# Whoever's name begins so is a peer, whichever environment it runs in: mmseg as shipped runs in this project's.
PEER_NAMES = ("lightly", "solo-learn", "mmseg", "mmengine", "torchvision", "timm")
PEER_VERSIONS = (
    "import importlib.metadata as m, json, sys\n"
    "names = {'lightly', 'solo-learn', 'torch', 'torchvision', 'pytorch-lightning', 'pillow', 'numpy'}\n"
    "found = m.distributions(path=[*sys.path, sys.prefix + '/sololearn'])\n"
    "print(json.dumps(dict(sorted((d.name.lower(), d.version) for d in found if d.name.lower() in names))))"
)


def taken() -> dict[str, Any]:
    """Return when, where and with what something was measured."""
    from bench.record import environment  # not for the peers' environment, which reads this module, too

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
    """What decides how fast bf16 runs on this CPU; nothing where the system does not say."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return ""
    return " ".join(name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags)


def write(
    name: str,
    title: str,
    measured: Mapping[str, Measured],
    *,
    unit: str,
    baseline: str,
    goals: Mapping[str, float] | None = None,
    goals_best_peer: Mapping[str, float] | None = None,
    peers: Sequence[str] = (),
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
        goals_best_peer: contender -> the ratio that was aimed at, against the fastest peer.
        peers: contenders that are peers though neither their environment nor their name (PEER_NAMES) says so.
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
        **({"goals_best_peer": dict(goals_best_peer)} if goals_best_peer else {}),
        **({"peers": list(peers)} if peers else {}),
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
    """Write growth curves and print their exponents.

    Args:
        name: of the file.
        title: what grows, for a reader.
        series: name -> [{"x": size, "samples": [{"seconds", "units"}, …]}, …].
        x: what the size is.
        y: "seconds" (a sample's), or a rate such as "images/s" (its units by its seconds), or "seconds per image"
            (the inverse).
        notes: sentences for the reader; what grows faster than the size is explained here.
        extra: further JSON-able facts.
        folder: where to.
    """
    content = {
        "benchmark": name,
        "title": title,
        "notes": list(notes),
        "taken": taken(),
        "curve": {"x": x, "y": y, "series": {key: list(points) for key, points in series.items()}},
        **(extra or {}),
    }
    print(f"\n{title}")
    for key, points in content["curve"]["series"].items():
        heights = [(point["x"], height(point["samples"], y)) for point in points]
        fit = exponent(heights)
        print(f"  {key:<32} {'  '.join(f'{a:g}: {b:.4g}' for a, b in heights)}  {y}; exponent {fit or '-'}")
    return save(name, content, folder)


def save(name: str, content: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write one file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(file)
    return file


# ---------------------------------------------------------------------------------------------- figures


def rates(content: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the rate of each sample, units by seconds, by contender."""
    return {
        name: [sample["units"] / sample["seconds"] for sample in one["samples"]]
        for name, one in content["contenders"].items()
    }


def ratios(content: Mapping[str, Any], to: str) -> dict[str, list[float]]:
    """Return for each contender its rate by that of the contender `to`, round by round."""
    all_rates = rates(content)
    base = all_rates[to]
    return {name: [mine / its for mine, its in zip(own, base, strict=True)] for name, own in all_rates.items()}


def summary(content: Mapping[str, Any]) -> dict[str, tuple[float, float, float, float]]:
    """Return {contender: (median rate, lowest, highest, median over rounds of the ratio to the baseline)}."""
    to_base = ratios(content, content["baseline"])
    return {
        name: (statistics.median(own), min(own), max(own), statistics.median(to_base[name]))
        for name, own in rates(content).items()
    }


def is_peer(content: Mapping[str, Any], name: str) -> bool:
    """Whether a contender is a peer: by its environment, by the file's own word, or by its name."""
    marked = content["contenders"][name]["peer"] or name in content.get("peers", ())
    return bool(marked) or name.lower().startswith(PEER_NAMES)


def best_peer(content: Mapping[str, Any]) -> str | None:
    """Return the peer with the highest median rate; None where no contender is a peer."""
    speed = {name: statistics.median(own) for name, own in rates(content).items() if is_peer(content, name)}
    return max(speed, key=lambda name: speed[name]) if speed else None


class Exponent(NamedTuple):
    """b of y = a·x^b with its standard error (None for two points, which fit exactly), and a."""

    b: float
    error: float | None
    a: float

    def __str__(self) -> str:
        return f"{self.b:.2f}" if self.error is None else f"{self.b:.2f} ± {self.error:.2f}"


def exponent(points: Sequence[tuple[float, float]]) -> Exponent | None:
    """Fit y = a·x^b by least squares on logarithms; None with fewer than two different sizes.

    Points at x = 0, as "0 workers", have no logarithm and are left out.
    """
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len({x for x, _ in logs}) < 2:
        return None
    xs, ys = [x for x, _ in logs], [y for _, y in logs]
    fit = statistics.linear_regression(xs, ys)
    error = None
    if len(logs) > 2:
        residue = sum((y - fit.intercept - fit.slope * x) ** 2 for x, y in logs)
        mean = statistics.fmean(xs)
        error = math.sqrt(residue / (len(logs) - 2) / sum((x - mean) ** 2 for x in xs))
    return Exponent(fit.slope, error, math.exp(fit.intercept))


def height(samples: Sequence[Mapping[str, float]], y: str) -> float:
    """Return the median over a point's samples of what the axis y says: seconds, a rate, or seconds a unit."""
    if y.endswith("/s"):
        return statistics.median(sample["units"] / sample["seconds"] for sample in samples)
    if y.startswith("seconds per "):
        return statistics.median(sample["seconds"] / sample["units"] for sample in samples)
    return statistics.median(sample["seconds"] for sample in samples)
