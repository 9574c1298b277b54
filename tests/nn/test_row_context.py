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


def test_blocks_are_those_of_the_listing_in_the_paper_with_a_relu_after_the_last():
    """Hénaff et al. 2020, appendix: 1×1, ReLU, 1×3, a row of zeros above, 2×1, ReLU, 1×1, added; at last a ReLU."""
    torch.manual_seed(0)
    net, z = RowContext(3, 4, 2).double(), torch.randn(1, 3, 4, 5, dtype=torch.float64)
    c = z[0]
    for before, down, after in zip(net.before, net.down, net.after, strict=True):
        first, _, across = before
        hidden = torch.zeros(4, 5, 7, dtype=torch.float64)  # a row above, a column on both sides
        for row in range(4):
            for column in range(5):
                mixed = first.weight[:, :, 0, 0] @ c[:, row, column] + first.bias
                hidden[:, row + 1, column + 1] = mixed.clamp(min=0)
        wide = torch.zeros(4, 5, 5, dtype=torch.float64)
        for row in range(1, 5):
            for column in range(5):
                near = [across.weight[:, :, 0, k] @ hidden[:, row, column + k] for k in range(3)]
                wide[:, row, column] = sum(near) + across.bias
        added = torch.empty_like(c)
        for row in range(4):
            for column in range(5):
                pair = [down.weight[:, :, k, 0] @ wide[:, row + k, column] for k in range(2)]
                deep = (sum(pair) + down.bias).clamp(min=0)
                added[:, row, column] = after.weight[:, :, 0, 0] @ deep + after.bias
        c = c + added
    assert (c < 0).any()  # or the last ReLU would not show
    torch.testing.assert_close(net(z)[0].detach(), c.clamp(min=0).detach())


def test_a_position_sees_columns_on_both_sides():
    net, z = RowContext(4, 6, 3).double(), torch.randn(1, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(z)[0, :, 2, 2].sum(), z)
    assert (gradient[0, :, 2].abs().sum(0) > 0).all()
