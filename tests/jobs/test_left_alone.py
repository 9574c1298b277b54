"""What becomes of stages when their grid loses its terminal or is killed, and grids that go on without a shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from bench.execute.grid import plan_grid
from bench.execute.jobs.cancel import cancel
from bench.execute.jobs.failure import read_failure
from bench.execute.jobs.holder import is_held
from bench.execute.jobs.process import alive, started_at
from bench.execute.jobs.status import Row, rows
from bench.execute.jobs.submission import read_submission
from bench.execute.request import Request
from bench.execute.stage_file import write_stage

WORDS = ("run", "--profile", "smoke", "--pretrain", "coco")
TINY = ("--set", "arch=resnet18", "view_size=32", "pretrain.batch_size=2", "pretrain.subset=4", "log_every=1")
TINY += ("objective.hidden_dim=16", "objective.projection_dim=8", "pretrain.epochs=100000")
TINY += ("pretrain.checkpoint.keep_every_epochs=100000",)  # room is asked for all that are kept
NO_END = 240  # seconds: a net that only catches what would hang
TERMINAL = "import pty, sys; pty.spawn(sys.argv[1:])"


def wait_for(condition: Callable[[], object], why: object = "") -> None:
    end = time.monotonic() + NO_END
    while not condition():
        assert time.monotonic() < end, why
        time.sleep(0.05)


def environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}


def row_of(work_dir: Path, title: str) -> Row:
    (row,) = [row for row in rows(work_dir) if row.title == title]
    return row


def stopped_well(folder: Path) -> None:
    failure = read_failure(folder)
    assert failure is not None
    assert failure.ending == "stopped"
    assert torch.load(folder / "last.ckpt", weights_only=True)["step"] > 0


@pytest.fixture
def work_dir(tmp_path: Path) -> Iterator[Path]:
    """A work folder, where nothing that a test has started is left running."""
    yield tmp_path / "runs"
    for row in rows(tmp_path / "runs"):
        if row.job is not None and alive(int(row.job.id), row.job.process):
            os.kill(int(row.job.id), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["terminal closed", "killed"])
def test_a_stage_whose_grid_is_gone_writes_its_last_checkpoint(work_dir: Path, rendered: Path, how: str) -> None:
    """Two pretrainings: stages are forks of a server where they can be."""
    command = [*WORDS, "random_init", "--data-root", rendered, *TINY]
    terminal = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, sys.executable, "-m", "bench", *map(str, command)],
        cwd=work_dir.parent,
        env=environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: any(work_dir.glob("pretrain/coco-s0-*/metrics.jsonl")))
        (folder,) = work_dir.glob("pretrain/coco-s0-*")
        assert row_of(work_dir, "pretrain coco-s0").state == "running"
        job = read_submission(folder)
        assert job is not None
        if how == "killed":
            os.kill(int(job.id), signal.SIGKILL)
        else:
            terminal.kill()  # whoever holds the other side of a terminal is gone: the system sends SIGHUP
        wait_for(lambda: not is_held(folder), "the stage trains on")
        wait_for(lambda: not alive(int(job.id), job.process))
    finally:
        terminal.kill()
        terminal.wait()
    stopped_well(folder)
    assert row_of(work_dir, "pretrain coco-s0").state == "stopped"
    assert row_of(work_dir, "pretrain random_init-s0").state in {"stopped", "done"}


@pytest.mark.slow
def test_a_detached_grid_is_seen_and_ended_from_elsewhere(work_dir: Path, rendered: Path) -> None:
    command = [sys.executable, "-m", "bench", *WORDS, "--detach", "--data-root", str(rendered), *TINY]
    done = subprocess.run(command, cwd=work_dir.parent, env=environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "How it gets on: bench status\n" in done.stdout
    (log,) = (work_dir / "logs").glob("run-*.txt")
    assert f"log: {log.relative_to(work_dir.parent)}" in done.stdout
    folder = row_of(work_dir, "pretrain coco-s0").folder
    wait_for(lambda: "step " in row_of(work_dir, "pretrain coco-s0").progress, log.read_text)
    job = read_submission(folder)
    assert job is not None
    assert os.getsid(int(job.id)) == int(job.id)  # a session of its own, which no terminal ends
    assert cancel(work_dir, None) == [
        "pretrain coco-s0: was asked to end; it writes its last checkpoint first",
        "convert coco-s0: will not be started",
    ]
    wait_for(lambda: not alive(int(job.id), job.process), log.read_text)
    stopped_well(folder)
    assert not is_held(folder)
    assert "bench: pretrain coco-s0 was interrupted; its last checkpoint stays." in log.read_text()


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Path]:
    """The folder of a stage that waits for ever, since this process holds it."""
    grid = plan_grid(Request(pretrain=["random_init"], profile="smoke", work_dir=tmp_path), act=False)
    folder = write_stage(grid.stages[0], tmp_path, {}, tmp_path, "fail")
    with FileLock(folder / "lock"):
        yield folder


START = """
import os, sys, time
from pathlib import Path
from bench.execute import local, schedule
from bench.execute.stage_server import StageServer
folder, environ = Path(sys.argv[2]), local._environ()
if sys.argv[1] == "forked":
    server = StageServer([], environ)
    process = server.start(folder, 1)
elif sys.argv[1] == "fresh":
    process = local.start_fresh(folder, 1)
else:
    process = schedule.start(folder, 1, environ, 1)
print(process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["forked", "fresh", "side by side"])
def test_a_stage_ends_with_a_grid_that_is_killed_while_it_starts(waiting: Path, how: str) -> None:
    """Before it has a checkpoint to write, and whether or not it has asked the system by then to be told."""
    command = [sys.executable, "-c", START, how, str(waiting)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as grid:
        assert grid.stdout is not None
        pid = int(next(line for line in grid.stdout if line.strip().isdecimal()))
        started = started_at(pid)
        assert started is not None
        grid.kill()
        # What it prints is not read, but can be written: it must not end for that.
        wait_for(lambda: not alive(pid, started), "the stage waits on")
