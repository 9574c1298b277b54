"""InfoNCE against a queue, as MoCo has it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss

from bench.losses.contrastive import info_nce


@pytest.fixture
def queue():
    """128×64: the third draw after the two of `oracle_pair`, as D×K."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        torch.randn(32, 64, dtype=torch.float64, generator=generator)
    return torch.randn(64, 128, dtype=torch.float64, generator=generator).T


def test_the_known_value(oracle_pair, queue):
    assert info_nce(*oracle_pair, queue, 0.2).item() == pytest.approx(2.83750280, abs=1e-8)


def test_loss_agrees_with_lightly_in_value_and_gradient(oracle_pair, queue, same):
    def theirs(q, k):
        loss = NTXentLoss(temperature=0.2, memory_bank_size=(128, 64)).double()
        loss.memory_bank.bank = F.normalize(queue, dim=1).clone()
        loss.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.int64)
        return loss(q, k)

    q, k = oracle_pair
    same(lambda x: info_nce(x, k, queue, 0.2), lambda x: theirs(x, k), q)
