"""Two gloo processes with half of the batch each compute what one process does with all of it."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.slow

RIGHT = ("gather", "norm of vectors", "norm of maps", "norm with cumulative statistics")
WRONG = ("gather without gradient", "norm not converted", "norm with a raw all_reduce")


@pytest.mark.slow
@pytest.mark.parametrize("case", RIGHT)
def test_gradients_and_statistics_equal_those_of_one_process(ranks, case):
    alone, *both = ranks
    for rank in both:
        torch.testing.assert_close(rank[case], alone[case], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("case", WRONG)
def test_the_comparison_can_fail(ranks, case):
    alone, first, _ = ranks
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(first[case], alone[case], rtol=1e-3, atol=1e-6)


def test_gathered_rows_come_in_the_order_of_ranks_and_at_full_width(ranks):
    for rank in ranks[1:]:
        assert rank["bf16"]["gathered"].dtype == torch.float32
        assert rank["bf16"]["gathered"].tolist() == [[0.0, 0.0], [1.0, 1.0]]
        assert rank["sum"]["sum"].tolist() == [3.0]


def test_batches_of_different_size(ranks):
    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    expected = torch.nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(torch.cat([rank["uneven"]["y"] for rank in ranks[1:]]), expected)
