"""Noise-contrastive estimation against the formula with probabilities, as it is usually written."""

from __future__ import annotations

import math

import pytest
import torch

from bench.losses.contrastive import first_column_nce
from bench.losses.noise_contrastive import estimated_log_z, nce, scores


def by_hand(logits, z, images):
    """−log P/(P + K/M) − Σ log (K/M)/(P_k + K/M), row by row."""
    n, noise = len(logits), (logits.shape[1] - 1) / images
    total = 0.0
    for row in logits:
        p = torch.exp(row) / z
        total = (
            total - torch.log(p[0] / (p[0] + noise)) - sum(torch.log(noise / (p[k] + noise)) for k in range(1, len(p)))
        )
    return total / n


def test_nce_is_the_formula_with_probabilities(draw, same):
    logits = 3 * draw(4, 6)
    for z in (0.5, 40.0):
        constant = torch.tensor(math.log(z), dtype=torch.float64)
        same(lambda x, c=constant: nce(x, c, 20), lambda x, c=z: by_hand(x, c, 20), logits)


def test_softmax_is_infonce_of_each_rows_own_candidates(draw, same):
    logits = 3 * draw(4, 6)
    same(first_column_nce, lambda x: sum(torch.log(torch.exp(row).sum()) - row[0] for row in x) / len(x), logits)


def test_scores_are_cosines_over_the_temperature(draw):
    z, rows = draw(3, 5), torch.nn.functional.normalize(draw(3, 4, 5, seed=1), dim=2)
    cosines = scores(z, rows, 0.1)
    for i in range(3):
        for c in range(4):
            assert cosines[i, c].item() == pytest.approx(((z[i] / z[i].norm()) @ rows[i, c]).item() / 0.1)
    torch.testing.assert_close(scores(9 * z, rows, 0.1), cosines)


def test_constant_is_the_mean_exponential_times_the_rows_of_the_bank(draw):
    logits = draw(4, 6).requires_grad_()
    log_z = estimated_log_z(logits, 20)
    assert log_z.exp().item() == pytest.approx(20 * torch.exp(logits).mean().item())
    assert not log_z.requires_grad


def test_far_out_scores_give_large_losses_and_no_nan():
    logits = torch.tensor([[-1e4, 1e4], [1e4, -1e4]], requires_grad=True)
    loss = nce(logits, torch.tensor(0.0), 20)
    loss.backward()
    assert loss.isfinite()
    assert loss > 9e3
    assert logits.grad.isfinite().all()


def test_its_value_is_not_that_of_infonce(draw):
    """Before anything is learnt each of K + 1 binary questions costs something: the sum is far above ln(1 + K)."""
    logits = torch.zeros(4, 101, dtype=torch.float64)
    value = nce(logits, estimated_log_z(logits, 10_000), 10_000).item()
    assert value == pytest.approx(math.log(101) + 100 * math.log(1.01), rel=1e-6)
    assert value > first_column_nce(logits).item() + 0.9
