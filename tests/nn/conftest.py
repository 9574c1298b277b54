"""What the tests of networks share: one thread, and what two processes computed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors are tiny here: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def ranks(tmp_path_factory):
    """The results of two_ranks.py as (world 1), (world 2, rank 0) and (world 2, rank 1)."""
    script, folder = Path(__file__).with_name("two_ranks.py"), tmp_path_factory.mktemp("ranks")
    jobs = [(0, 1), (0, 2), (1, 2)]
    processes = [
        subprocess.Popen([sys.executable, script, str(rank), str(world), folder], stderr=subprocess.PIPE, text=True)
        for rank, world in jobs
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    return [torch.load(folder / f"world_{world}_rank_{rank}.pt") for rank, world in jobs]
