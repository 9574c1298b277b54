"""Stages that are forks of one process: their exit codes, how they are stopped, and what becomes of a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from bench.errors import BadInput, StageFailed
from bench.execute import local, stage_server
from bench.execute.grid import plan_grid
from bench.execute.request import Request
from bench.execute.stage_file import write_stage
from bench.execute.stage_server import NVIDIA_DRIVER, StageServer, can_fork


@pytest.fixture
def server() -> Iterator[StageServer]:
    with StageServer([], os.environ) as started:
        yield started


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Path]:
    """The folder of a stage that waits for ever, since this process holds it."""
    grid = plan_grid(Request(pretrain=["random_init"], profile="smoke", work_dir=tmp_path), act=False)
    folder = write_stage(grid.stages[0], tmp_path, {}, tmp_path, "fail")
    with FileLock(folder / "lock"):
        yield folder


@pytest.mark.slow
def test_each_stage_has_its_exit_code(server: StageServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        stage = server.start(tmp_path / name, 1)
        assert stage.wait() == BadInput.exit_code
        assert stage.wait() == BadInput.exit_code  # asked again, it remembers


# Python ends by the signal itself where Ctrl-C came while it ran code that a string holds, as dataclasses do.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "codes"), [(signal.SIGINT, {130, -signal.SIGINT}), (signal.SIGKILL, {-signal.SIGKILL})]
)
def test_a_stage_that_is_killed_leaves_the_server_alive(
    server: StageServer, waiting: Path, number: signal.Signals, codes: set[int]
) -> None:
    stage = server.start(waiting, 1)
    with pytest.raises(subprocess.TimeoutExpired):
        stage.wait(0.01)
    holder = Path(f"/proc/{stage.pid}/wchan")
    while holder.is_file() and "fork" in holder.read_text():
        time.sleep(0.01)
    os.killpg(stage.pid, number)
    assert stage.wait() in codes
    assert server.start(waiting.parent / "none", 1).wait() == BadInput.exit_code


def test_a_stage_that_was_being_started_is_stopped_at_the_end(waiting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the server imports leaves no stage behind; without a signal, this one would wait for ever."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with StageServer([], os.environ) as server:
        monkeypatch.setattr(server, "answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.start(waiting, 1)
    assert server._process.returncode == 0


def test_a_server_that_has_ended_is_said_in_a_sentence(server: StageServer, tmp_path: Path) -> None:
    server.start(tmp_path, 1).wait()
    os.kill(server._process.pid, signal.SIGKILL)
    server._process.wait()
    with pytest.raises(StageFailed, match=r"process that starts stages has ended \(exit code -9\); run the command"):
        server.start(tmp_path, 1)


def test_the_server_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Also when that one is killed, so that nothing is left behind."""
    script = (
        "import os, time; from bench.execute.stage_server import StageServer\n"
        "server = StageServer([], os.environ); print(server._process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:3]:
        time.sleep(0.05)


def test_stages_are_fresh_processes_beside_a_gpu_and_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    grid = plan_grid(Request(pretrain=["random_init", "coco"], profile="smoke", work_dir=tmp_path), act=False)
    monkeypatch.setattr(stage_server, "NVIDIA_DRIVER", tmp_path)  # it exists
    assert not can_fork()
    with local._starter(grid.stages) as start:
        assert start is local.start_fresh
    monkeypatch.setattr(stage_server, "NVIDIA_DRIVER", tmp_path / "none")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not can_fork()
    assert NVIDIA_DRIVER.is_absolute()


def test_the_server_imports_what_the_stages_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    class Noted(StageServer):
        def __init__(self, modules: list[str], environ: dict[str, str]) -> None:
            asked.append(modules)
            super().__init__([], environ)

    monkeypatch.setattr(local, "StageServer", Noted)
    monkeypatch.setattr(local, "can_fork", lambda: True)
    grid = plan_grid(
        Request(pretrain=["random_init"], downstream=["imagenet_knn"], profile="smoke", work_dir=tmp_path), act=False
    )
    with local._starter(grid.stages) as start:
        assert start != local.start_fresh
    assert asked == [["bench.stages.convert", "bench.stages.knn", "bench.stages.pretrain"]]
    with local._starter(grid.stages[:1]) as start:  # one stage: importing twice would only cost
        assert start is local.start_fresh
