"""What trackers are told of a stage."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.execute.stage_file import StageFile
from bench.hashing import recorded_settings
from bench.trackers import Run, tracked
from bench.trackers.choice import project_of
from bench.trackers.run import settings

UNTRACKED = ("convert",)  # it computes nothing that a run could show

RunsStage = Callable[[Path, StageFile, bool], None]  # runs the stage in a folder


def with_trackers(run: RunsStage) -> RunsStage:
    """Let the code of stages that `run` runs reach their trackers, which end after all that a stage leaves is written.

    The first rank alone has trackers.
    """

    @functools.wraps(run)
    def running(folder: Path, stage: StageFile, keep: bool = False) -> None:
        if stage.kind in UNTRACKED or os.environ.get("RANK", "0") != "0":
            run(folder, stage, keep)
            return
        with tracked(partial(run_of, stage), folder, logs_itself=stage.kind == "pretrain"):
            run(folder, stage, keep)

    return running


def run_of(stage: StageFile) -> Run:
    """Return a stage as a tracker's run: its pretraining is the group, its fingerprint the id."""
    config: dict[str, str | float] = {"fingerprint": stage.fingerprint, "seed": stage.seed}
    if stage.trunk_seed is not None:
        config["trunk_seed"] = stage.trunk_seed
    if stage.protocol is not None:
        config["protocol"] = stage.protocol
    for role, settled in (("pretrain", stage.recipe), ("downstream", stage.task)):
        if settled is not None:
            config |= settings({"name": settled.name, **recorded_settings(settled)}, f"{role}.")
    return Run(
        id=stage.fingerprint[:12],  # as in the name of its folder; some trackers take no more than 64
        name=stage.label,
        group=stage.recipe.name,
        project=project_of(),
        tags={
            "kind": stage.kind,
            "profile": (stage.task or stage.recipe).profile,
            "arch": stage.recipe.arch,
            "seed": str(stage.seed),
        },
        config=config,
    )
