"""Two gloo processes with half of the batch each compute what one process does with all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("two_ranks.py")
RIGHT = ("gather", "norm of vectors", "norm of maps", "norm with cumulative statistics")
WRONG = ("gather without gradient", "norm not converted", "norm with a raw all_reduce")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What (world 1), (world 2, rank 0) and (world 2, rank 1) computed."""
    folder = tmp_path_factory.mktemp("ranks")
    jobs = [(0, 1), (0, 2), (1, 2)]
    processes = [
        subprocess.Popen([sys.executable, SCRIPT, str(rank), str(world), folder], stderr=subprocess.PIPE, text=True)
        for rank, world in jobs
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    return [torch.load(folder / f"world_{world}_rank_{rank}.pt") for rank, world in jobs]


@pytest.mark.parametrize("case", RIGHT)
def test_gradients_and_statistics_equal_those_of_one_process(found, case):
    alone, *ranks = found
    for rank in ranks:
        torch.testing.assert_close(rank[case], alone[case], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", WRONG)
def test_the_comparison_can_fail(found, case):
    alone, first, _ = found
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(first[case], alone[case], rtol=1e-3, atol=1e-6)


def test_gathered_rows_come_in_the_order_of_ranks_and_at_full_width(found):
    for rank in found[1:]:
        assert rank["bf16"]["gathered"].dtype == torch.float32
        assert rank["bf16"]["gathered"].tolist() == [[0.0, 0.0], [1.0, 1.0]]
        assert rank["sum"]["sum"].tolist() == [3.0]


def test_batches_of_different_size(found):
    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    expected = torch.nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(torch.cat([rank["uneven"]["y"] for rank in found[1:]]), expected)
