"""Results of benchmarks that were never run, with figures that one can follow by hand."""

from __future__ import annotations

from typing import Any

TAKEN = {
    "date": "2026-01-02T03:04:05+00:00",
    "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
    "hardware": {"cpu": "A CPU", "cores": 2, "memory_gib": 8.0, "gpus": [], "bf16": "avx2"},
    "versions": {"bench": "0", "python": "3.11.1", "torch": "2.0", "mmcv": None},
    "peer_versions": {"lightly": "1.6.0"},
}


def contender(*seconds: float, peer: bool = False, units: float = 12, **more: Any) -> dict[str, Any]:
    return {
        "about": "",
        "peer": peer,
        "arguments": {},
        "threads": 1,
        "samples": [{"seconds": s, "units": units} for s in seconds],
        "ready_seconds": 1.25,
        "peak_mib": 1234.5,
        **more,
    }


def comparison(name: str = "views", **more: Any) -> dict[str, Any]:
    """Rates: shipped 2, 3, 4; tuned 4, 6, 6; ours 12, 12, 12; so ours is 6, 4, 3 × shipped and 3, 2, 2 × tuned."""
    return {
        "benchmark": name,
        "title": f"Title of {name}",
        "unit": "images",
        "baseline": "shipped",
        "goals": {"ours": 3.5},
        "notes": ["A note | with a bar."],
        "taken": TAKEN,
        "contenders": {
            "shipped": contender(6, 4, 3, peer=True, peak_mib=2469.0),
            "tuned": contender(3, 2, 2, peer=True, peak_mib=1000.0),
            "ours": contender(1, 1, 1, about="What it is."),
        },
        **more,
    }


def curve(name: str = "pack_growth", y: str = "seconds", **more: Any) -> dict[str, Any]:
    """A straight line and a square, of three sizes."""

    def points(power: float) -> list[dict[str, Any]]:
        return [{"x": x, "samples": [{"seconds": 0.5 * x**power, "units": x}]} for x in (10, 100, 1000)]

    series = {"linear": points(1), "square": points(2)}
    return {
        "benchmark": name,
        "title": f"Title of {name}",
        "notes": [],
        "taken": TAKEN,
        "curve": {"x": "images", "y": y, "series": series},
        **more,
    }
