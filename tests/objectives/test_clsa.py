"""CLSA against its formula, and what is easily done wrong."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from cases import apart, assert_same_gradients
from narrow import NarrowEncoder

from bench.errors import BadInput
from bench.nn.norm import convert_norms
from bench.objectives import build
from bench.objectives.clsa import distributional


def make(**settings):
    return apart(build({"name": "clsa", "queue_size": 8, "dim": 6, **settings}, NarrowEncoder()).double())


def p(z, candidates, tau=0.2):
    """p(k|z) over all candidates: n×D, C×D -> n×C."""
    scores = torch.stack([torch.stack([torch.exp((row / row.norm()) @ k / tau) for k in candidates]) for row in z])
    return scores / scores.sum(1, keepdim=True)


@pytest.mark.parametrize(("weak_crops", "strong_crops", "beta"), [(1, 1, 1.0), (5, 5, 0.7), (1, 5, 0.3)])
def test_loss_and_gradient_are_the_formula_over_all_keys_of_the_batch_and_the_queue(
    weak_crops, strong_crops, beta, batch
):
    objective = make(weak_crops=weak_crops, strong_crops=strong_crops, beta=beta)
    data = batch(32, *[32] * (weak_crops + strong_crops))
    r = copy.deepcopy(objective)
    k = F.normalize(r.key_projector(r.key_encoder(data.views[0])), dim=1).detach()
    candidates = torch.cat([k, F.normalize(r.queue.keys, dim=1)])  # 4 + 8
    queries = [p(r.projector(r.encoder(v)), candidates) for v in data.views[1:]]
    loss_c, loss_d, terms_d = 0.0, 0.0, 0
    for weak in queries[:weak_crops]:
        loss_c = loss_c - sum(torch.log(weak[i, i]) for i in range(4)) / 4
        for strong in queries[weak_crops:]:
            loss_d = loss_d - (weak.detach() * torch.log(strong)).sum() / 4
            terms_d += 1
    assert terms_d == {(1, 1): 1, (5, 5): 25, (1, 5): 5}[weak_crops, strong_crops]
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


# README.md of maple-research-lab/CLSA, the two commands without symmetry: --size_crops, --min_scale_crops, --max_…
ONE = [(224, (0.2, 1.0)), (96, (0.086, 0.429))]
FIVE = [(224, (0.2, 1.0)), (192, (0.172, 0.86)), (160, (0.143, 0.715)), (128, (0.114, 0.571)), (96, (0.086, 0.429))]


def test_views_are_those_of_the_authors_two_commands():
    key, weak, strong = make().views(224)
    assert [(view.size, view.scale) for view in (key, weak, strong)] == [ONE[0], *ONE]  # --pick_weak 0 --pick_strong 1
    assert [view.strong for view in (key, weak, strong)] == [0, 0, 5]
    key, *queries = make(weak_crops=5, strong_crops=5).views(224)
    assert [(view.size, view.scale) for view in (key, *queries)] == [FIVE[0], *FIVE, *FIVE]
    assert [view.strong for view in (key, *queries)] == [0] * 6 + [5] * 5
    for view in (key, *queries):  # data_processing/Multi_FixTransform.py: MoCo v2's steps for all
        assert (view.jitter, view.jitter_p, view.grey) == ((0.4, 0.4, 0.4, 0.1), 0.8, 0.2)
        assert (view.blur, view.blur_sigma, view.flip, view.solarize) == (0.5, (0.1, 2.0), 0.5, 0.0)
        assert view.interpolation == "bilinear"


def test_a_key_is_normalised_in_another_group_than_its_queries(batch):
    objective, data = make(), batch(32, 32, 32)
    reference = copy.deepcopy(objective)
    convert_norms(objective, "cpu", parts=2)
    torch.manual_seed(2)
    order = torch.rand(4).argsort()
    groups = [order[0::2], order[1::2]]  # which images' keys are normalised together
    assert sorted(sorted(group.tolist()) for group in groups) != [[0, 2], [1, 3]]  # else this draw would not tell
    keys = torch.empty(4, 6, dtype=torch.float64)
    for group in groups:
        keys[group] = reference.key_projector(reference.key_encoder(data.views[0][group])).detach()
    torch.manual_seed(2)
    objective(data)
    torch.testing.assert_close(objective.queue.keys[:4], F.normalize(keys, dim=1))


def test_guards():
    with pytest.raises(BadInput, match=r"objective.queue_size is 8, no multiple of the 3 images"):
        make().check(3, 32)
