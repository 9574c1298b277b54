"""MoCo v3 against the paper's algorithm, written out; what is easily done wrong."""

from __future__ import annotations

import copy

import pytest
import torch
from cases import apart, assert_same_gradients
from narrow import NarrowEncoder
from torch import nn

from bench.data.views import LOCAL_CROPS, View
from bench.losses.contrastive import cross_view_nce
from bench.objectives import build


def make(**settings):
    return build({"name": "moco_v3", "hidden_dim": 12, "dim": 6, **settings}, NarrowEncoder()).double()


def ctr(q, k, tau):
    """The paper's ctr, image by image."""
    total = 0.0
    for i in range(len(q)):
        scores = [torch.exp((q[i] / q[i].norm()) @ (k[j] / k[j].norm()) / tau) for j in range(len(k))]
        total = total - 2 * tau * torch.log(scores[i] / sum(scores))
    return total / len(q)


@pytest.mark.parametrize("tau", [1.0, 0.2])
def test_loss_and_gradient_are_the_papers_algorithm(tau, batch):
    objective, data = apart(make(temperature=tau)), batch(32, 32)
    reference = copy.deepcopy(objective)
    q1, q2 = (reference.predictor(reference.projector(reference.encoder(v))) for v in data.views)
    k1, k2 = (reference.key_projector(reference.key_encoder(v)).detach() for v in data.views)
    expected = ctr(q1, k2, tau) + ctr(q2, k1, tau)
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference, frozen="key_")


@pytest.mark.parametrize("crops", [0, 3])
def test_small_crops_predict_the_keys_of_both_views_in_a_mean_that_keeps_its_scale(crops, batch):
    objective, data = apart(make(temperature=0.2, crops=crops, crop_size=32)), batch(64, 64, *[32] * crops)
    reference = copy.deepcopy(objective)

    def predict(images):
        return reference.predictor(reference.projector(reference.encoder(images)))

    v1, v2, *small = data.views
    queries = [predict(v1), predict(v2), *(predict(torch.cat(small)).chunk(crops) if crops else ())]
    keys = [reference.key_projector(reference.key_encoder(v)).detach() for v in (v1, v2)]
    pairs = [(a, b) for a in range(2 + crops) for b in (0, 1) if a != b]
    expected = 2 * sum(ctr(queries[a], keys[b], 0.2) for a, b in pairs) / len(pairs)
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference, frozen="key_")


def test_without_crops_the_loss_is_the_sum_of_both_directions_bit_for_bit(batch):
    objective, data = apart(make(temperature=0.2)).float(), batch(32, 32)
    data.views = [view.float() for view in data.views]
    reference = copy.deepcopy(objective)
    q1, q2 = (reference.predictor(reference.projector(reference.encoder(v))) for v in data.views)
    with torch.no_grad():
        k1, k2 = (reference.key_projector(reference.key_encoder(v)) for v in data.views)
    expected = 2 * 0.2 * (cross_view_nce(q1, k2, 0.2) + cross_view_nce(q2, k1, 0.2))
    loss = objective(data)["loss"]
    assert torch.equal(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=0, atol=0)


def test_a_view_is_never_its_own_key(batch):
    """q₁ with k₁ would be the same view twice; the loss changes when the pairing does."""
    objective, data = apart(make()), batch(32, 32)
    q1, q2 = (objective.predictor(objective.projector(objective.encoder(v))) for v in data.views)
    k1, k2 = (objective.key_projector(objective.key_encoder(v)) for v in data.views)
    wrong = ctr(q1, k1, 1.0) + ctr(q2, k2, 1.0)
    assert abs(objective(data)["loss"] - wrong) > 1e-4


@pytest.mark.slow
def test_a_high_temperature_leaves_the_difference_of_cosines(batch):
    """Without the factor 2τ the gradient would vanish like 1/τ: 2τ·ctr − 2τ·ln N → 2·(mean of all cosines − own)."""
    data, grads = batch(32, 32), []
    for tau in (1e4, 1e6):
        objective = apart(make(temperature=tau))
        objective(data)["loss"].backward()
        grads.append(objective.predictor[0].weight.grad)
    torch.testing.assert_close(*grads, rtol=1e-2, atol=1e-5)
    assert grads[0].abs().max() > 1e-4


def test_defaults_heads_and_views_are_the_papers():
    objective = build({"name": "moco_v3"}, NarrowEncoder())
    assert (objective.temperature, objective.tau0) == (1.0, 0.99)
    kinds = [type(layer) for layer in objective.projector]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d]
    assert not objective.projector[4].affine
    assert [type(layer) for layer in objective.predictor] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    shapes = [tuple(layer.weight.shape) for layer in objective.projector if isinstance(layer, nn.Linear)]
    assert shapes == [(4096, 24), (256, 4096)]
    assert [tuple(layer.weight.shape) for layer in objective.predictor if isinstance(layer, nn.Linear)] == [
        (4096, 256),
        (256, 4096),
    ]
    assert all(
        layer.bias is None
        for head in (objective.projector, objective.predictor)
        for layer in head
        if isinstance(layer, nn.Linear)
    )
    first, second = objective.views(160)
    assert (first.size, first.scale, first.blur, first.solarize) == (160, (0.2, 1.0), 1.0, 0.0)
    assert (second.scale, second.blur, second.solarize) == ((0.2, 1.0), 0.1, 0.2)
    assert not hasattr(objective, "queue")
    assert make(crops=4).views(160) == (
        first,
        second,
        *LOCAL_CROPS(View(interpolation="bilinear"), 4, 96, (0.05, 0.14)),
    )
