from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.nn.autoregressive import MaskedConv2d, PixelNetwork, RowLSTM, colour_of

kinds = pytest.mark.parametrize("kind", ["cnn", "row_lstm"])


def network(kind, depth=2, condition_dim=0):
    torch.manual_seed(0)
    return PixelNetwork(kind, depth, 9, condition_dim).double()


def dependence(function, shape, order):
    """Whether output i depends on input j, both counted as `order` (channels last or not) has them: a square matrix."""
    torch.manual_seed(1)
    x = torch.randn(1, *shape, dtype=torch.float64, requires_grad=True)
    y = order(function(x)).flatten(0, -2)  # values × what is said of each
    weight = torch.randn_like(y[0])
    rows = [torch.autograd.grad((row * weight).sum(), x, retain_graph=True)[0] for row in y]
    return torch.stack([order(row.unsqueeze(1)).flatten() for row in rows]) != 0


def raster(values):
    """1×L×C×H×W in the order rows, columns, colours: H×W×C×L."""
    return values[0].permute(2, 3, 1, 0)


@kinds
def test_no_value_depends_on_itself_or_a_later_one_and_each_depends_on_all_earlier_ones(kind):
    """Exhaustive, on 4×4 pixels of three colours: 48 outputs by 48 inputs."""
    depends = dependence(network(kind), (3, 4, 4), raster)
    assert depends.shape == (48, 48)
    assert torch.equal(depends, torch.ones(48, 48, dtype=torch.bool).tril(-1))


@kinds
def test_masks_hold_with_a_condition_and_the_condition_reaches_every_value(kind):
    net, h = network(kind, condition_dim=5), torch.randn(1, 5, dtype=torch.float64, requires_grad=True)
    depends = dependence(lambda x: net(x, h), (3, 4, 4), raster)
    assert not depends.triu().any()
    logits = raster(net(torch.zeros(1, 3, 4, 4, dtype=torch.float64), h)).flatten(0, -2)
    for value in logits:
        assert torch.autograd.grad(value.square().sum(), h, retain_graph=True)[0].any()


@kinds
def test_images_of_a_batch_do_not_depend_on_each_other(kind):
    net, x = network(kind), torch.randn(3, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), rtol=1e-12, atol=1e-12)


@kinds
def test_there_is_no_batch_norm(kind):
    assert not any(isinstance(m, nn.modules.batchnorm._NormBase | nn.LayerNorm) for m in network(kind).modules())


@pytest.mark.parametrize("swap", ["first", "others"])
def test_the_dependence_test_sees_swapped_masks(swap):
    net = network("cnn")
    for name, module in net.named_modules():
        if isinstance(module, MaskedConv2d) and (name == "first") == (swap == "first"):
            row, column = (side // 2 for side in module.kernel_size)
            written, seen = colour_of(module.out_channels)[:, None], colour_of(module.in_channels)[None]
            module.mask[:, :, row, column] = (seen <= written if swap == "first" else seen < written).double()
    depends = dependence(net, (3, 4, 4), raster)
    expected = torch.ones(48, 48, dtype=torch.bool).tril(-1)
    assert depends.diagonal().any() if swap == "first" else not torch.equal(depends, expected)


def test_masks_of_a_small_kernel_are_those_written_by_hand():
    written = {"A": [[0, 0, 0], [1, 0, 0], [1, 1, 0]], "B": [[1, 0, 0], [1, 1, 0], [1, 1, 1]]}
    for kind, centre in written.items():
        mask = MaskedConv2d(3, 3, (3, 3), kind).mask
        assert mask[:, :, 1, 1].tolist() == centre
        assert (mask[:, :, 0] == 1).all()
        assert (mask[:, :, 1, 0] == 1).all()
        assert not mask[:, :, 1, 2].any()
        assert not mask[:, :, 2].any()
    assert colour_of(8).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    gates = MaskedConv2d(3, 12, (1, 3), "B", gates=4).mask
    assert torch.equal(gates[:3], gates[9:])  # each gate has all three colours


def test_row_lstm_is_the_recurrence_written_pixel_by_pixel():
    torch.manual_seed(0)
    layer, x = RowLSTM(3, 0).double(), torch.randn(1, 6, 3, 4, dtype=torch.float64)
    along = (layer.input_to_state.weight * layer.input_to_state.mask)[:, :, 0]  # 12×6×3
    above, zero = layer.state_to_state.weight, torch.zeros(3, dtype=torch.float64)
    hidden, cell = {}, {}
    for r in range(3):
        for c in range(4):
            gates = layer.input_to_state.bias.clone()
            for k in (-1, 0, 1):
                if 0 <= c + k < 4:
                    gates = gates + along[:, :, k + 1] @ x[0, :, r, c + k]
                gates = gates + above[:, :, k + 1] @ hidden.get((r - 1, c + k), zero)
            o, f, i, g = gates.split(3)
            cell[r, c] = f.sigmoid() * cell.get((r - 1, c), zero) + i.sigmoid() * g.tanh()
            hidden[r, c] = o.sigmoid() * cell[r, c].tanh()
    maps = torch.stack([torch.stack([hidden[r, c] for c in range(4)], 1) for r in range(3)], 1)[None]
    torch.testing.assert_close(layer(x, None), x + layer.expand(maps), rtol=1e-10, atol=1e-12)
