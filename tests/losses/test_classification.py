from __future__ import annotations

import pytest
import torch

from bench.losses.classification import cross_entropy, top1_percent


def test_cross_entropy_equals_the_formula(draw, same):
    logits, labels = draw(5, 3), torch.tensor([0, 2, 1, 1, 0])

    def naive(x):
        rows = [torch.log(sum(torch.exp(x[i, c]) for c in range(3))) - x[i, labels[i]] for i in range(5)]
        return sum(rows) / 5

    same(lambda x: cross_entropy(x, labels), naive, logits)


def test_top1_is_in_percent():
    logits = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 1.0]], requires_grad=True)
    share = top1_percent(logits, torch.tensor([1, 0, 0, 0]))
    assert share.item() == pytest.approx(75.0)
    assert not share.requires_grad
