from __future__ import annotations

import torch

from bench.objectives.amdim import ResidualHead


def test_it_is_two_layers_beside_one_normalised_at_the_end_alone():
    torch.manual_seed(0)
    head, x = ResidualHead(5, 3).double(), torch.randn(7, 5, dtype=torch.float64)
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
