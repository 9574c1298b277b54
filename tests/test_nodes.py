"""Two launchers on one folder, as two nodes start them: a rank that is killed costs nothing of the result."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from forked import Forks, Started

from bench.execute.grid import Request, plan_grid
from bench.execute.rank_endings import REPORTS
from bench.execute.stage_file import read_done, read_stage, write_stage

TINY = ("arch=resnet18w16", "view_size=32", "pretrain.batch_size=4", "pretrain.subset=8", "pretrain.epochs=3")
TINY += ("objective.hidden_dim=16", "objective.projection_dim=8", "log_every=1", "checkpoint.every_steps=1")
TINY += ("pretrain.workers=0",)


def folder_of(work: Path, data: Path) -> Path:
    request = Request(pretrain=["coco"], profile="smoke", work_dir=work, assignments=TINY)
    return write_stage(plan_grid(request, act=False).stages[0], work, {"coco": str(data / "coco")}, work, "fail")


class Launcher:
    """`bench stage FOLDER WORDS`, and a file with what it prints."""

    def __init__(self, forks: Forks, folder: Path, out: Path, *words: str) -> None:
        environ = os.environ | {"OMP_NUM_THREADS": "1"}  # the last bits depend on it
        self.out = out
        with out.open("w") as file:
            self.process = forks.start(["-m", "bench", "stage", folder, *words], Path.cwd(), environ, file, file)

    def end(self) -> tuple[int, str]:
        """Its exit code and output, once it has ended."""
        return self.process.wait(), self.out.read_text()


def ranks_below(process: Started) -> list[int]:
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            if int(file.read_text().rpartition(")")[2].split()[1]) == process.pid:
                found.append(int(file.parent.name))
    return [pid for pid in found if b"log_writer" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


def steps(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.is_file() else 0


def weights(folder: Path) -> str:
    state = torch.load(folder / "last.ckpt", weights_only=True)["objective"]
    return hashlib.sha256(b"".join(name.encode() + state[name].numpy().tobytes() for name in sorted(state))).hexdigest()


def free_place() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.slow
def test_what_a_rank_of_one_node_refuses_is_said_on_both(tmp_path: Path, rendered: Path) -> None:
    folder, place = folder_of(tmp_path, rendered), free_place()
    command = [sys.executable, str(Path(__file__).with_name("silent_node.py")), str(folder), place]
    words = ("76:x: another rank has ended,2:Give a folder.", "ok,ok")
    nodes = [subprocess.Popen([*command, holder, *words], stdout=subprocess.PIPE, text=True) for holder in "10"]
    try:
        said = [node.communicate(timeout=200)[0].splitlines()[-1] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert sorted(said) == ["BadInput: Give a folder.", "StageFailed: Give a folder."]  # one has its rank
    assert len((folder / "starts").read_text().splitlines()) == 2  # and none started again


@pytest.mark.slow
def test_a_rank_killed_on_one_of_two_nodes_costs_nothing_of_the_result(
    tmp_path: Path, rendered: Path, forks: Forks
) -> None:
    quiet, folder = (folder_of(tmp_path / name, rendered) for name in ("quiet", "nodes"))
    code, out = Launcher(forks, quiet, tmp_path / "quiet.txt", "--gpus", "2").end()
    assert code == 0, out
    assert not (quiet / REPORTS).exists()
    place = free_place()
    words = ("--nodes", "2", "--rendezvous", place)
    nodes = [Launcher(forks, folder, tmp_path / f"node{number}.txt", *words) for number in range(2)]
    try:
        end = time.monotonic() + 200
        while not (folder / "last.ckpt").is_file():
            assert time.monotonic() < end
            assert [node.process.poll() for node in nodes] == [None, None], [node.out.read_text() for node in nodes]
            time.sleep(0.02)
        (killed,) = ranks_below(nodes[1].process)
        os.kill(killed, signal.SIGKILL)
        ends = [node.end() for node in nodes]
    finally:
        for node in nodes:
            node.process.kill()
    assert [code for code, _ in ends] == [0, 0], ends
    both = "".join(out for _, out in ends)
    assert re.search(rf"rank [01] of 2 \(process {killed}\) was ended by SIGKILL; .*\(restart 1 of 3\)", both)
    assert "going on after step" in both
    stage = read_stage(folder)
    assert read_done(folder, stage.fingerprint, stage.stage_kind.outputs) is not None
    assert weights(folder) == weights(quiet)
    assert steps(folder) == steps(quiet) == 6
