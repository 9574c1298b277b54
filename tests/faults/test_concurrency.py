"""Many processes on one folder: a small form of the campaign, and what its counts notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from contender import append
from filelock import FileLock
from shared_folder import NONE_OF, counted

from bench.execute.request import Request
from bench.execute.resolve import resolve
from bench.execute.stage_file import DONE, Done, write_done, write_stage
from bench.files import sha256_of
from bench.plan import Planner, Stage

FOLDER = Path(__file__).resolve().parents[2] / "faults"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_processes_that_are_killed_and_stopped_do_each_stage_once(tmp_path: Path) -> None:
    words = ["--processes", "4", "--trials", "1", "--pretrainings", "1", "--seed", "7"]
    environ = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(
        [sys.executable, FOLDER / "concurrency.py", *words], env=environ, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    total = json.loads(done.stdout.splitlines()[-1])
    assert total["stages"] >= 5
    assert total["begun"] >= total["stages"]
    assert total["killed"] + total["stopped"] >= 1
    assert not any(tmp_path.iterdir())  # what went well is removed


# ------------------------------------------------------------------------------- what the counts notice


@pytest.fixture
def left(tmp_path: Path) -> tuple[Path, list[Stage]]:
    """A shared folder in which a pretraining is done, and its notes; `(folder, stages)`."""
    configs = resolve(Request(pretrain=["random_init"], profile="smoke"))
    stage, *_ = Planner(lambda name: "1" * 16, configs.by_name).grid(configs.recipes, configs.tasks, [0], [])
    folder = write_stage(stage, tmp_path / "runs", {}, tmp_path / "results", "fail")
    (folder / "lock").touch()
    (folder / "last.ckpt").write_bytes(b"weights")
    files = {"last.ckpt": sha256_of(folder / "last.ckpt")}
    done = Done(fingerprint=stage.fingerprint, metrics={"epochs": 0}, wall_seconds=1.0, finished="2026", files=files)
    write_done(folder, done)
    for what in ("begun", "computed", "done"):
        append(tmp_path, {"what": what, "stage": folder.name})
    return tmp_path, [stage]


def counts(left: tuple[Path, list[Stage]]) -> dict[str, int]:
    shared, stages = left
    found = counted(shared, stages, {stages[0].folder: {"epochs": 0}})
    return {name: found[name] for name in NONE_OF if found[name]}


def test_what_is_as_it_should_be_counts_as_nothing(left: tuple[Path, list[Stage]]) -> None:
    assert counts(left) == {}


@pytest.mark.parametrize(
    ("note", "name"), [("done", "double"), ("overlapping", "overlapping"), ("again", "again after the end")]
)
def test_a_stage_that_was_done_twice_is_counted(note: str, name: str, left: tuple[Path, list[Stage]]) -> None:
    append(left[0], {"what": note, "stage": Path(left[1][0].folder).name})
    assert counts(left) == {name: 1}


def test_files_that_are_not_whole_are_counted(left: tuple[Path, list[Stage]]) -> None:
    folder = left[0] / "runs" / left[1][0].folder
    (folder / "last.ckpt").write_bytes(b"weigh")
    (folder / "made.json").write_text('{"a": ', encoding="utf-8")
    assert counts(left) == {"half files": 2}
    (folder / DONE).write_text((folder / DONE).read_text(encoding="utf-8")[:-20], encoding="utf-8")
    found = counts(left)
    assert found["lost"] == 1
    assert found["half files"] >= 2
    records = left[0] / "results" / "records"
    records.mkdir(parents=True)
    (records / "a.json").write_text("{}", encoding="utf-8")
    assert counts(left)["half files"] == found["half files"] + 1
    assert counts(left)["double"] == 1  # a record that nobody asked for


def test_a_lock_that_is_held_is_counted(left: tuple[Path, list[Stage]]) -> None:
    with FileLock(left[0] / "runs" / left[1][0].folder / "lock"):
        assert counts(left) == {"stale locks": 1}


def test_another_result_is_counted(left: tuple[Path, list[Stage]]) -> None:
    found = counted(*left, {left[1][0].folder: {"epochs": 1}})
    assert found["different"] == 1
    assert found["lost"] == 0
