"""A stage that is begun, stopped and gone on with, as an adapter sees it; the same for fakes and libraries."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

from bench.trackers import Run, Status, Tracker
from bench.trackers.choice import adapter_of

RUN = Run(
    id="0123456789abcdef",
    name="coco--imagenet_knn-s0",
    group="coco",
    project="grid",
    tags={"kind": "task:knn", "profile": "mini", "arch": "resnet18", "seed": "0"},
    config={"pretrain.epochs": 2, "pretrain.objective.name": "byol", "pretrain.long": "x" * 700},
)


def new(name: str) -> Tracker:
    module, _, kind = adapter_of(name).partition(":")
    tracker: Tracker = getattr(importlib.import_module(module), kind)()
    return tracker


def two_sittings(name: str, store: Path) -> None:
    """Log steps 1 and 2 with an adapter, be interrupted, and go on with step 3."""
    first, statuses = new(name), ("interrupted", "finished")
    known = first.start(RUN, store, "")
    begun = int(time.time())
    _sitting(first, (1, 2), statuses[0])
    while int(time.time()) == begun:  # W&B names a sitting's folder by the second, and no stage starts twice in one
        time.sleep(0.01)
    second = new(name)
    assert second.start(RUN, store, known) == known
    _sitting(second, (3,), statuses[1])


def _sitting(tracker: Tracker, steps: tuple[int, ...], status: Status) -> None:
    for step in steps:
        tracker.scalars(step, {"loss": 1 / step, "iou/traffic light": 2.0 * step})
    tracker.end(status)
