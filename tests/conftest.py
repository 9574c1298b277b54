"""What several tests need: rendered data, made once, and the command line as a process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from forked import Forks

from bench.synthetic.render import render

# Set before torch is imported. One thread a test process: tests run side by side, and networks as small as theirs only
# lose by more. No spinning in the processes that they start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell starts what runs in its background with SIGINT ignored, and who is started inherits that: tests that interrupt
# processes would wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny coco, imagenet and cityscapes sets. Tests must not write to it.

    Processes that share the tests share it, too: who comes second waits, and finds it rendered.
    """
    shared = "PYTEST_XDIST_WORKER" in os.environ
    root = tmp_path_factory.getbasetemp().parent / "rendered" if shared else tmp_path_factory.mktemp("rendered")
    render(root)
    return root


@pytest.fixture(scope="session")
def render_into(rendered: Path) -> Callable[[Path], Path]:
    """Return render_into(work): puts the scenes of a smoke run into a work folder and returns it.

    A smoke run leaves scenes that are there as they are; to render them takes it 5 s.
    """

    def copy(work: Path) -> Path:
        shutil.copytree(rendered, work / "rendered")
        return work

    return copy


@pytest.fixture(scope="session")
def on_ranks(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Callable[..., list[dict[str, Any]]]:
    """Return on_ranks(script, *words): what it saved as (world 1), (world 2, rank 0) and (world 2, rank 1).

    Runs `script RANK WORLD FOLDER WORDS` as three processes side by side, or those of other `worlds`; each saves
    FOLDER/world_WORLD_rank_RANK.pt.
    """

    def run(script: Path, *words: object, worlds: Sequence[int] = (1, 2)) -> list[dict[str, Any]]:
        import torch

        folder, jobs = tmp_path_factory.mktemp("ranks"), [(rank, world) for world in worlds for rank in range(world)]
        with contextlib.ExitStack() as stack:
            errors = [stack.enter_context((folder / f"{world}-{rank}.txt").open("w+")) for rank, world in jobs]
            processes = []
            try:
                for (rank, world), error in zip(jobs, errors, strict=True):
                    command = [script, rank, world, folder, *words]
                    processes.append(forks.start(command, Path.cwd(), os.environ, error, error))
                codes = [process.wait() for process in processes]
            finally:
                for process in processes:
                    process.kill()
        assert not any(codes), [(folder / f"{world}-{rank}.txt").read_text() for rank, world in jobs]
        return [torch.load(folder / f"world_{world}_rank_{rank}.pt", weights_only=False) for rank, world in jobs]

    return run


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Programs as forks of a process that has imported libraries."""
    with Forks() as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path, forks: Forks) -> Run:
    """Run `bench WORDS` as a process in an empty folder; returns its exit code and output."""

    def run(*words: object, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        return forks.run(["-m", "bench", *words], cwd or tmp_path, _without_ours() | environ)

    return run


@pytest.fixture
def fresh_bench(tmp_path: Path) -> Run:
    """Do as `bench` does, but in a process that imports all anew, as a user's does."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=_without_ours(), capture_output=True, text=True, check=False)

    return run


def _without_ours() -> dict[str, str]:
    """The environment without settings of `bench`."""
    return {k: v for k, v in os.environ.items() if not k.startswith("BENCH_")}


@pytest.fixture
def bench_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Do as `bench` does, but in the process of the test, which has imported everything: for what runs no stage."""
    from bench.cli import run as command

    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BENCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")  # whatever an earlier test has left

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        code = command([str(word) for word in words])
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return run
