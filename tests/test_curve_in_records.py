"""What a record takes of a curve, and of a pretraining that measured its norms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.config.load import load_recipe, load_task
from bench.execute.recording import record_of
from bench.execute.stage_file import Done, read_stage, write_stage
from bench.plan import Planner
from bench.record import Record, read_file, write


def recorded(place: Path, curve: list[dict[str, float]], trained: dict[str, Any]) -> Record:
    """The record of a segmentation that never ran."""
    tasks = [load_task("cityscapes_pspnet", "smoke")]
    *_, stage = Planner(str).grid([load_recipe("random_init_norms", "smoke", {"arch": "resnet18"})], tasks, [0])
    file = read_stage(write_stage(stage, place / "work", {}, place, "fail"))
    done = Done(
        fingerprint=stage.fingerprint, metrics={"miou_percent": 9.0}, wall_seconds=1.0, finished="", curve=curve
    )
    trunk = done.model_copy(update={"metrics": {"trunk_hash": "f" * 64}, "curve": []})
    pretrain = trunk.model_copy(update={"metrics": trained})
    return record_of(file, done, {"pretrain": pretrain, "convert": trunk})


def test_a_curve_of_several_points_is_kept_and_a_single_one_is_not(tmp_path: Path) -> None:
    points = [{"step": 2.0, "miou_percent": 5.0}, {"step": 4.0, "miou_percent": 9.0}]
    record = recorded(tmp_path, points, {})
    assert list(record.curve) == points
    assert read_file(write(record, tmp_path / "records")) == record
    single = recorded(tmp_path, points[1:], {})
    assert single.curve == ()
    assert '"curve"' not in single.model_dump_json()


def test_how_many_images_norms_were_measured_on_is_no_loss(tmp_path: Path) -> None:
    trained = {"steps": 0, "epochs": 0, "norm_images": 8, "images_skipped": 1, "loss": 0.5, "init": {}}
    record = recorded(tmp_path, [], trained)
    assert record.pretrain_metrics == {"loss": 0.5}
    assert record.images_skipped == 1
