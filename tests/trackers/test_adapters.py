from __future__ import annotations

from pathlib import Path
from typing import Any

import fakes
import pytest
from sittings import RUN, two_sittings

VALUES = [{"loss": 1 / step, "iou/traffic light": 2.0 * step} for step in (1, 2, 3)]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine whose user set nothing and has no key; what adapters set in their process is undone."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "MLFLOW_TRACKING_URI", "AIM_REPO", "SWANLAB_MODE", "SWANLAB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("TRACKIO_DIR", "MLFLOW_DISABLE_TELEMETRY", "AIM_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fakes.wandb(monkeypatch)
    two_sittings("wandb", tmp_path)
    (_, first), (_, second) = calls.of("wandb.init")
    assert first == second  # the same run
    assert (first["project"], first["group"], first["name"], first["id"]) == ("grid", "coco", RUN.name, RUN.id)
    assert first["resume"] == "allow"
    assert first["mode"] == "offline"
    assert first["tags"] == ["kind=task:knn", "profile=mini", "arch=resnet18", "seed=0"]
    assert first["job_type"] == "task:knn"
    assert first["config"] == RUN.config
    assert [more or words[0] for words, more in calls.of("wandb.Run.log")] == [
        {"step": step, **values} for step, values in zip((1, 2, 3), VALUES, strict=True)
    ]
    assert [more for _, more in calls.of("wandb.Run.finish")] == [{"exit_code": 1}, {"exit_code": 0}]


def test_wandb_connects_where_there_is_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mode() -> Any:
        calls = fakes.wandb(monkeypatch)
        two_sittings("wandb", tmp_path / "store")
        return calls.of("wandb.init")[0][1]["mode"]

    keys = tmp_path / "keys"
    monkeypatch.setenv("NETRC", str(keys))
    keys.write_text("machine other.example login user password secret\n")
    assert mode() == "offline"
    keys.write_text("machine api.wandb.ai login user password secret\n")
    assert mode() is None  # W&B's own choice
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    assert mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert mode() is None
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert mode() is None


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fakes.mlflow(monkeypatch)
    two_sittings("mlflow", tmp_path / "store")
    client = "mlflow.tracking.MlflowClient"
    assert calls.of(client)[0][1]["tracking_uri"] == f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}"
    ((words, more),) = calls.of(f"{client}.create_run")  # one in two sittings
    assert (words, more["run_name"]) == (("7",), RUN.name)
    assert more["tags"] == {"group": "coco", "fingerprint": RUN.id, **RUN.tags}
    assert calls.of(f"{client}.update_run") == [(("abc",), {"status": "RUNNING"})]
    batches = [more for _, more in calls.of(f"{client}.log_batch")]
    assert batches[0]["params"][:2] == [("pretrain.epochs", "2"), ("pretrain.objective.name", "byol")]
    assert len(batches[0]["params"][2][1]) == 500
    expected = [
        [("loss", v["loss"], s), ("iou/traffic light", v["iou/traffic light"], s)] for s, v in enumerate(VALUES, 1)
    ]
    assert [batch["metrics"] for batch in batches[1:]] == expected
    assert [words for words, _ in calls.of(f"{client}.set_terminated")] == [("abc", "KILLED"), ("abc", "FINISHED")]


def test_mlflow_gets_names_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.trackers.to_mlflow import _name

    assert _name("loss/1e-05 (ö)") == "loss/1e-05 ___"


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fakes.trackio(monkeypatch)
    two_sittings("trackio", tmp_path)
    (_, first), (_, second) = calls.of("trackio.init")
    assert first == second
    assert (first["project"], first["group"], first["name"]) == ("grid", "coco", f"{RUN.name}-012345")
    assert first["resume"] == "allow"
    assert first["config"] == {**RUN.tags, **RUN.config}
    assert [(words[0], more["step"]) for words, more in calls.of("trackio.Run.log")] == list(
        zip(VALUES, (1, 2, 3), strict=True)
    )
    assert len(calls.of("trackio.Run.finish")) == 2


def test_aim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fakes.aim(monkeypatch)
    two_sittings("aim", tmp_path)
    (_, first), (_, second) = calls.of("aim.Run")
    assert (first["run_hash"], second["run_hash"]) == (None, "f00d")
    assert (first["repo"], first["experiment"]) == (str(tmp_path), "grid")
    assert [words[0] for words, _ in calls.of("aim.Run.add_tag")] == [f"{k}={v}" for k, v in RUN.tags.items()]
    tracked = [(words[0], more["name"], more["step"]) for words, more in calls.of("aim.Run.track")]
    assert tracked == [(v, name, step) for step, each in enumerate(VALUES, 1) for name, v in each.items()]
    assert [words for words, _ in calls.of("aim.Run[]")] == [
        ("group", "coco"),
        ("config", RUN.config),
        ("status", "interrupted"),
        ("status", "finished"),
    ]


def test_swanlab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fakes.swanlab(monkeypatch)
    two_sittings("swanlab", tmp_path)
    first = calls.of("swanlab.init")[0][1]
    assert (first["project"], first["group"], first["name"], first["mode"]) == ("grid", "coco", RUN.name, "offline")
    assert "id" not in first  # which it takes in its cloud alone
    assert [(words[0], more["step"]) for words, more in calls.of("swanlab.log")] == list(
        zip(VALUES, (1, 2, 3), strict=True)
    )
    assert [more for _, more in calls.of("swanlab.finish")] == [{"state": "aborted"}, {"state": "success"}]
    monkeypatch.setenv("SWANLAB_API_KEY", "k")
    two_sittings("swanlab", tmp_path)
    online = calls.of("swanlab.init")[-1][1]
    assert (online["mode"], online["id"], online["resume"]) == ("online", RUN.id, "allow")
