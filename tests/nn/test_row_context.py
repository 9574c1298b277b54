from __future__ import annotations

import torch

from bench.objectives.cpc import RowContext


def test_a_row_depends_on_itself_and_the_rows_above_and_on_none_below():
    torch.manual_seed(0)
    net = RowContext(4, 6, 5).double()
    z = torch.randn(2, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    for row in range(5):
        (gradient,) = torch.autograd.grad(net(z)[0, :, row].square().sum(), z)
        by_row = gradient[0].abs().sum((0, 2))
        assert (by_row[: row + 1] > 0).all()
        assert not by_row[row + 1 :].any()
        assert not gradient[1].any()  # nor on other images


def test_a_position_sees_columns_on_both_sides():
    net, z = RowContext(4, 6, 3).double(), torch.randn(1, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(z)[0, :, 2, 2].sum(), z)
    assert (gradient[0, :, 2].abs().sum(0) > 0).all()
