"""CLSA against its formula, and what is easily done wrong."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from cases import apart, assert_same_gradients
from narrow import NarrowEncoder

from bench.errors import BadInput
from bench.objectives import build
from bench.objectives.clsa import distributional


def make(**settings):
    return apart(build({"name": "clsa", "queue_size": 8, "dim": 6, **settings}, NarrowEncoder()).double())


def p(z, candidates, tau=0.2):
    """p(k|z) over all candidates: n×D, C×D -> n×C."""
    scores = torch.stack([torch.stack([torch.exp((row / row.norm()) @ k / tau) for k in candidates]) for row in z])
    return scores / scores.sum(1, keepdim=True)


@pytest.mark.parametrize(("crops", "beta"), [(1, 1.0), (2, 0.5)])
def test_loss_and_gradient_are_the_formula_over_all_keys_of_the_batch_and_the_queue(crops, beta, batch):
    objective, data = make(strong_crops=crops, beta=beta), batch(32, 32, *[32] * crops)
    r = copy.deepcopy(objective)
    k = F.normalize(r.key_projector(r.key_encoder(data.views[1])), dim=1).detach()
    candidates = torch.cat([k, F.normalize(r.queue.keys, dim=1)])  # 4 + 8
    weak = p(r.projector(r.encoder(data.views[0])), candidates)
    loss_c = -sum(torch.log(weak[i, i]) for i in range(4)) / 4
    loss_d = 0.0
    for v in data.views[2:]:
        strong = p(r.projector(r.encoder(v)), candidates)
        loss_d = loss_d - (weak.detach() * torch.log(strong)).sum() / 4
    terms = objective(data)
    torch.testing.assert_close(terms["loss_c"], loss_c.detach())
    torch.testing.assert_close(terms["loss_d"], loss_d.detach())
    torch.testing.assert_close(terms["loss"], loss_c + beta * loss_d)
    terms["loss"].backward()
    (loss_c + beta * loss_d).backward()
    assert_same_gradients(objective, r, frozen="key_")
    torch.testing.assert_close(objective.queue.keys[:4], k)  # after the loss, of the key view alone
    assert torch.equal(objective.queue.keys[4:], r.queue.keys[4:])


def test_the_weak_distribution_has_no_gradient_and_comes_first_in_the_cross_entropy():
    weak = torch.tensor([[2.0, 0.0, -1.0]], requires_grad=True)
    strong = torch.tensor([[0.5, 1.0, 3.0]], requires_grad=True)
    distributional(weak, strong).backward()
    assert weak.grad is None
    torch.testing.assert_close(strong.grad, strong.detach().softmax(1) - weak.detach().softmax(1))
    assert abs(distributional(weak, strong) - distributional(strong, weak)) > 0.1


def test_where_both_views_agree_the_distributional_loss_is_the_entropy():
    logits = torch.randn(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    entropy = torch.distributions.Categorical(logits=logits).entropy().mean()
    torch.testing.assert_close(distributional(logits, logits), entropy)


def test_a_very_unlikely_candidate_has_a_large_finite_loss():
    far = torch.tensor([[1e4, 0.0]], requires_grad=True)
    loss = distributional(torch.tensor([[0.0, 1e4]]), far)
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert far.grad.isfinite().all()


def test_strong_steps_are_on_the_strong_queries_alone():
    query, key, *strong = make(strong_crops=5).views(224)
    assert (query.strong, key.strong) == (0, 0)
    assert [view.strong for view in strong] == [5] * 5
    assert [view.size for view in strong] == [224, 192, 160, 128, 96]
    assert [view.scale[0] for view in strong] == [0.2, 0.172, 0.143, 0.114, 0.086]
    assert len(build({"name": "clsa"}, NarrowEncoder()).views(224)) == 3


def test_guards():
    with pytest.raises(BadInput, match=r"objective.queue_size is 8, no multiple of the 3 images"):
        make().check(3, 32)
