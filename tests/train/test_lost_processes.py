"""torch's errors for a process that is gone, in words."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from forked import Forks
from torch.utils.data import DataLoader, Dataset

from bench.errors import PeerLost, StageFailed
from bench.train.lost_processes import in_words


class Fatal(Dataset[int]):
    """A data set whose reader dies at its second item."""

    def __getitem__(self, index: int) -> int:
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return index

    def __len__(self) -> int:
        return 4


def test_a_killed_reader_is_named_as_such() -> None:
    with pytest.raises(RuntimeError) as raised:
        list(DataLoader(Fatal(), num_workers=1))
    said = in_words(raised.value, "pretrain x")
    assert type(said) is StageFailed  # and no PeerLost: it would be killed again
    assert str(said).startswith("pretrain x: a process that reads data ")
    assert "lower workers" in str(said)


@pytest.mark.parametrize(
    ("words", "how"),
    [
        ("DataLoader worker (pid 27) is killed by signal: Killed. ", "was ended by SIGKILL;"),
        ("DataLoader worker (pid 27) is killed by signal: Bus error. It is possible that …", "was ended by SIGBUS;"),
        ("DataLoader worker (pid(s) 27, 28) exited unexpectedly", "ended unexpectedly;"),
    ],
)
def test_how_a_reader_ended(words: str, how: str) -> None:
    assert how in str(in_words(RuntimeError(words), "x"))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Connection closed by peer"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    assert in_words(error, "x") is None


NCCL = "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=3, OpType=ALLREDUCE) ran for 600000 milliseconds"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"[Rank 0] {NCCL} before timing out. ProcessGroupNCCL", "another rank did not answer for 30 minutes"),
        ("NCCL communicator was aborted on rank 0.", "another rank has ended"),
    ],
)
def test_nccl_says_it_in_other_words(words: str, said: str) -> None:
    assert said in str(in_words(torch.distributed.DistBackendError(words), "x"))


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Path:
    folder = tmp_path_factory.mktemp("lost")
    done = forks.run([Path(__file__).with_name("lost_ranks.py"), folder], Path.cwd(), os.environ)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("killed in a sum", "another rank has ended ("),
        ("killed in a backward pass", "another rank has ended ("),
        ("stopped in a sum", "another rank did not answer for 0.25 minutes (BENCH_COLLECTIVE_MINUTES)"),
        ("ended before the start", "another rank"),
    ],
)
def test_gloo_tells_the_other_rank(lost: Path, case: str, words: str) -> None:
    assert (lost / case).read_text().startswith(f"{PeerLost.__name__}: pretrain x: {words}")
