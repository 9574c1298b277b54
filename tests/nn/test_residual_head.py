from __future__ import annotations

import torch

from bench.objectives.amdim import ResidualHead


def test_it_is_two_layers_beside_one_normalised_at_the_end_alone():
    torch.manual_seed(0)
    head, x = ResidualHead(5, 3).double(), torch.randn(7, 5, dtype=torch.float64)
    torch.nn.init.normal_(head.out.weight)  # which starts at 0
    w1, w2, straight = head.hidden.weight, head.out.weight, head.straight.weight
    total = torch.stack([w2 @ (w1 @ row).clamp(min=0) + straight @ row for row in x])
    expected = (total - total.mean(0)) / (total.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(head(x), expected)
    assert {name for name, _ in head.named_parameters()} == {
        "hidden.weight",
        "out.weight",
        "straight.weight",
        "out_norm.weight",
        "out_norm.bias",
    }


def test_it_starts_without_its_hidden_layer_and_as_the_identity_where_that_fits():
    """amdim-public, model.py:392-408: conv2 of zeros; the shortcut is 1 on the diagonal, ±0.01 elsewhere."""
    torch.manual_seed(0)
    wide, narrow = ResidualHead(3, 5), ResidualHead(5, 3)
    assert not wide.out.weight.any()
    assert not narrow.out.weight.any()
    assert wide.hidden.weight.any()
    identity = torch.eye(5, 3)
    noise = wide.straight.weight.detach() - identity
    assert not noise[identity.bool()].any()
    assert 0.005 < noise.abs().max() <= 0.01
    assert narrow.straight.weight.abs().max() <= 5**-0.5  # torch's start of a linear layer
    assert narrow.straight.weight.abs().max() > 0.1
