"""What stages show to trackers, and what trackers are told of a stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.execute import tracking
from bench.execute.grid import plan_grid
from bench.execute.request import Request
from bench.execute.stage_file import StageFile, read_stage, write_stage
from bench.stages.curve import Curve
from bench.stages.learning_rates import named_by_rate
from bench.trackers import current
from bench.trackers.run import numbers, settings


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[str, float]]]:
    """What is tracked in a test."""
    kept: list[tuple[int, dict[str, float]]] = []

    class Spy:
        def track(self, step: int, values: Mapping[str, float]) -> None:
            kept.append((step, dict(values)))

    monkeypatch.setattr(current, "_current", Spy())
    return kept


def test_scores_on_the_way_are_shown(tmp_path: Path, shown: list[Any]) -> None:
    Curve(tmp_path).add(500, {"miou_percent": 8.5})
    Curve(tmp_path, active=False).add(500, {"miou_percent": 8.5})  # of another rank
    assert shown == [(500, {"validation/miou_percent": 8.5})]


def test_linear_heads_are_named_by_their_rates() -> None:
    assert named_by_rate((0.1, 30.0), loss=[1.5, 2.5], lr=[0.01, 3.0]) == {
        "loss/0.1": 1.5,
        "loss/30": 2.5,
        "lr/0.1": 0.01,
        "lr/30": 3.0,
    }


@pytest.mark.slow
def test_mmengine_shows_losses_and_leaves_scores_to_the_curve(tmp_path: Path, shown: list[Any]) -> None:
    from bench.stages.segmentation.logs import ScoresOnDisk

    disk = ScoresOnDisk(str(tmp_path))
    disk.add_scalars({"loss": 2.5, "lr": 0.01, "iter": 50, "epoch": 1}, 50, "all.json")
    disk.add_scalars({"mIoU": 8.5, "time": 0.1}, 50, "all.json")
    assert shown == [(50, {"loss": 2.5, "lr": 0.01})]
    assert len((tmp_path / "all.json").read_text().splitlines()) == 2  # its file has both


def test_nested_values_are_flat() -> None:
    metrics = {
        "top1_percent": 50,
        "iou": {"road": 97.5, "train": None},
        "by": {"0.1": float("inf")},
        "init": {"a": "x"},
    }
    assert numbers(metrics, "final/") == {"final/top1_percent": 50, "final/iou/road": 97.5}
    assert settings({"epochs": 2, "optimizer": {"lr": 0.1, "betas": [0.9, 0.99]}, "compile": True}, "p.") == {
        "p.epochs": 2,
        "p.optimizer.lr": 0.1,
        "p.optimizer.betas": "[0.9, 0.99]",
        "p.compile": "True",
    }


@pytest.fixture
def stages(tmp_path: Path) -> dict[str, StageFile]:
    request = Request(pretrain=["random_init"], downstream=["imagenet_linear"], seeds=[3], task_seeds=[5], smoke=True)
    grid = plan_grid(request, act=False)
    files = [read_stage(write_stage(stage, tmp_path, {}, tmp_path, "fail")) for stage in grid.stages]
    return {stage.kind: stage for stage in files}


def test_a_grid_is_readable(stages: dict[str, StageFile], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_TRACKER_PROJECT", "grid")
    pretrain, linear = tracking.run_of(stages["pretrain"]), tracking.run_of(stages["linear"])
    assert (pretrain.project, pretrain.group) == (linear.project, linear.group) == ("grid", "random_init")
    assert (pretrain.name, linear.name) == ("random_init-s3", "random_init--imagenet_linear-s3-t5")
    assert stages["linear"].fingerprint.startswith(linear.id)
    assert linear.id != pretrain.id
    assert linear.tags == {"kind": "linear", "profile": "smoke", "arch": "resnet50", "seed": "5"}
    assert linear.config["fingerprint"] == stages["linear"].fingerprint
    assert (linear.config["seed"], linear.config["trunk_seed"]) == (5, 3)
    assert (linear.config["pretrain.name"], linear.config["downstream.name"]) == ("random_init", "imagenet_linear")
    assert linear.config["downstream.learning_rates"] == "[10.0]"
    assert linear.config["protocol"] == stages["linear"].protocol
    assert not any(str(value).startswith("/") for value in linear.config.values())  # no place on this machine


def test_only_the_first_rank_has_trackers(
    stages: dict[str, StageFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    run = tracking.with_trackers(lambda folder, stage, keep: seen.append(current._current is not None))
    run(tmp_path, stages["linear"], False)
    run(tmp_path, stages["convert"], False)
    monkeypatch.setenv("RANK", "1")
    run(tmp_path, stages["linear"], False)
    monkeypatch.setenv("RANK", "0")
    run(tmp_path, stages["linear"], False)
    assert seen == [True, False, False, True]
