"""Full views and small crops in one mean, written as the mean over all pairs."""

from __future__ import annotations

import torch

from bench.losses.mean_over_crops import with_crops


def test_every_anchor_counts_alike_and_parts_are_only_reported(draw):
    """Of 2 full views and 2·C crops as anchors, each a pair: those of the full views have the mean `loss`."""
    loss, small = draw(1)[0].requires_grad_(), [draw(1, seed=seed)[0].requires_grad_() for seed in (1, 2, 3)]
    terms = with_crops(loss, small)
    pairs = torch.stack([loss, loss, *small, *small])
    torch.testing.assert_close(terms["loss"], pairs.mean())
    torch.testing.assert_close(terms["loss_global"], loss.detach())
    torch.testing.assert_close(terms["loss_crops"], (small[0] + small[1] + small[2]).detach() / 3)
    assert {name for name, term in terms.items() if term.requires_grad} == {"loss"}
    gradients = torch.autograd.grad(terms["loss"], [loss, *small])
    torch.testing.assert_close(torch.stack(gradients), torch.full((4,), 0.25, dtype=torch.float64))


def test_without_crops_the_loss_is_alone(draw):
    loss = draw(1)[0]
    assert with_crops(loss, []) == {"loss": loss}
