from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from cases import apart, assert_same_gradients
from lightly.loss import NTXentLoss
from lightly.models.utils import select_most_similar

from bench.data.views import MOCO_V2_VIEWS
from bench.errors import BadInput

SMALL = {"queue_size": 8, "dense_queue_size": 12}


@pytest.fixture
def build(make):
    return lambda **settings: apart(make("densecl", **{**SMALL, **settings}))


def parts(objective, data):
    """What the paper's formula is about, from each network by itself: maps, global and dense projections."""
    v_k, v_q = data.views[:2]
    f_q, f_k = objective.encoder.last_map(v_q), objective.key_encoder.last_map(v_k).detach()
    q, k = objective.projector(f_q.mean((2, 3))), objective.key_projector(f_k.mean((2, 3))).detach()
    r = objective.dense_projector(f_q.flatten(2).transpose(1, 2))
    t = objective.key_dense_projector(f_k.flatten(2).transpose(1, 2)).detach()
    return f_q, f_k, q, k, r, t


def nce(q, k, queue, tau):
    """−log of the softmax of one query's own key among the queue's."""
    positive = math.e ** (sum(q * k) / q.norm() / k.norm() / tau)
    others = sum(math.e ** (sum(q * row) / q.norm() / row.norm() / tau) for row in queue)
    return -torch.log(positive / (positive + others))


def naive(objective, data, weight=0.5, tau=0.2):
    """The paper's formula in loops over images and positions."""
    f_q, f_k, q, k, r, t = parts(objective, data)
    queue, dense = objective.queue.keys.clone(), objective.dense_queue.keys.clone()
    n, s = r.shape[:2]
    loss_q = sum(nce(q[i], k[i], queue, tau) for i in range(n)) / n
    loss_r = 0
    for i in range(n):
        a, b = f_q[i].flatten(1).T.detach(), f_k[i].flatten(1).T
        for position in range(s):
            cosines = [(sum(a[position] * row) / a[position].norm() / row.norm()).item() for row in b]
            match = cosines.index(max(cosines))
            loss_r = loss_r + nce(r[i, position], t[i, match], dense, tau)
    return (1 - weight) * loss_q + weight * loss_r / (n * s)


def test_value_and_gradient_are_those_of_the_formula(build, batch):
    data = batch(64, 64)
    one, other = build(dense_weight=0.3), build(dense_weight=0.3)
    expected = naive(other, data, weight=0.3)
    loss = one(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(one, other, atol=1e-12)


def test_both_terms_are_lightlys(build, batch):
    objective, data = build(), batch(64, 64)
    f_q, f_k, q, k, r, t = parts(objective, data)
    matched = select_most_similar(f_q.flatten(2).transpose(1, 2), f_k.flatten(2).transpose(1, 2), t)
    expected = []
    for queue, x, y in ((objective.queue, q, k), (objective.dense_queue, r.flatten(0, 1), matched.flatten(0, 1))):
        loss = NTXentLoss(0.2, memory_bank_size=(queue.size, 6))
        loss.memory_bank.bank, loss.memory_bank.bank_ptr = queue.keys.clone(), torch.zeros(1, dtype=torch.int64)
        expected.append(loss(x, y))
    terms = objective(data)
    torch.testing.assert_close(terms["loss_global"], expected[0].detach())
    torch.testing.assert_close(terms["loss_dense"], expected[1].detach())


def test_the_match_is_by_the_backbones_maps_not_by_the_projections(build, batch):
    objective, data = build(), batch(64, 64)
    f_q, f_k, _, _, r, t = parts(objective, data)
    by_maps = torch.einsum("ncs,nct->nst", F.normalize(f_q.flatten(2), dim=1), F.normalize(f_k.flatten(2), dim=1))
    by_heads = torch.einsum("nsc,ntc->nst", F.normalize(r, dim=2), F.normalize(t, dim=2))
    assert not torch.equal(by_maps.argmax(2), by_heads.argmax(2))  # or the other tests could not tell


def test_keys_come_from_the_moving_average_not_from_the_online_networks(build, batch):
    """lightly's example of DenseCL computes its keys with the online networks."""
    objective, data = build(), batch(64, 64)
    expected = naive(objective, data).item()
    online = build()
    online.key_encoder.load_state_dict(online.encoder.state_dict())
    online.key_projector.load_state_dict(online.projector.state_dict())
    online.key_dense_projector.load_state_dict(online.dense_projector.state_dict())
    assert abs(naive(online, data).item() - expected) > 1e-3
    assert objective(data)["loss"].item() == pytest.approx(expected)


def test_the_second_queue_gets_one_averaged_dense_key_for_each_image_after_the_loss(build, batch):
    objective, data = build(), batch(64, 64)
    _, _, _, k, _, t = parts(objective, data)
    before, dense = objective.queue.keys.clone(), objective.dense_queue.keys.clone()
    objective(data)
    torch.testing.assert_close(objective.queue.keys[:4], F.normalize(k, dim=1))
    torch.testing.assert_close(objective.dense_queue.keys[:4], F.normalize(t.mean(1), dim=1))
    assert torch.equal(objective.queue.keys[4:], before[4:])
    assert torch.equal(objective.dense_queue.keys[4:], dense[4:])  # four, and not sixteen positions
    assert (objective.queue.position.item(), objective.dense_queue.position.item()) == (4, 4)


def test_the_two_queues_start_differently(make):
    objective = make("densecl", queue_size=8, dense_queue_size=8)
    assert not torch.equal(objective.queue.keys, objective.dense_queue.keys)


def test_the_key_networks_are_those_that_move_before_the_next_forward(make, batch):
    """Two steps: as the paper's order has it, θ′ ← m·θ′ + (1 − m)·θ comes first in a step, and keys use the result."""
    objective, data = make("densecl", momentum=0.9, **SMALL), batch(64, 64)
    key = objective.encoder.conv1.weight.detach().clone()
    for progress in (0.0, 0.7):
        key = 0.9 * key + 0.1 * objective.encoder.conv1.weight.detach()
        torch.testing.assert_close(objective.key_encoder.conv1.weight.data, key)
        objective(data)["loss"].backward()
        with torch.no_grad():
            for p in objective.parameters():
                if p.grad is not None:
                    p -= 0.1 * p.grad
                    p.grad = None
        objective.after_step(progress)
    assert not torch.equal(objective.key_encoder.conv1.weight, objective.encoder.conv1.weight)


def test_limits_of_the_temperature(build, batch):
    data = batch(64, 64)
    terms = build(temperature=1e6)(data)  # all candidates are alike
    assert terms["loss_global"].item() == pytest.approx(math.log(1 + 8), abs=1e-4)
    assert terms["loss_dense"].item() == pytest.approx(math.log(1 + 12), abs=1e-4)


def test_the_length_of_projections_does_not_matter(build, batch):
    data, one, other = batch(64, 64), build(), build()
    with torch.no_grad():
        for head in (other.projector, other.dense_projector, other.key_projector, other.key_dense_projector):
            head[-1].weight *= 7.0
            head[-1].bias *= 7.0
    torch.testing.assert_close(one(data)["loss"], other(data)["loss"])


def test_small_crops_are_queries_of_the_same_key(build, batch):
    settings = {"dense_weight": 0.0, "crops": 2}
    objective, data = build(**settings), batch(64, 64, 32, 32)
    v_k, v_q, *crops = data.views
    k = objective.key_projector(objective.key_encoder(v_k)).detach()
    queries = [objective.projector(objective.encoder(v_q))]
    queries += objective.projector(objective.encoder(torch.cat(crops))).chunk(2)  # of one resolution: one forward
    expected = sum(nce(q[i], k[i], objective.queue.keys, 0.2) for q in queries for i in range(4)) / 12
    terms = build(**settings)(data)
    assert set(terms) == {"loss"}
    torch.testing.assert_close(terms["loss"], expected)
    assert not hasattr(objective, "dense_projector")


def test_views_and_defaults(make):
    objective = make("densecl", hidden_dim=2048, projection_dim=128)
    assert objective.views(224) == MOCO_V2_VIEWS(224)
    assert (objective.queue.keys.shape, objective.dense_queue.keys.shape) == ((65536, 128), (65536, 128))
    assert (objective.temperature, objective.momentum, objective.dense_weight) == (0.2, 0.999, 0.5)
    for head in (objective.projector, objective.dense_projector):  # no norm
        assert [tuple(p.shape) for p in head.parameters()] == [(2048, 24), (2048,), (128, 2048), (128,)]
    small = make("densecl", crops=4, overlap=0.1, **SMALL).views(160)[-1]
    assert (small.count, small.size, small.scale, small.overlap) == (4, 96, (0.05, 0.14), 0.1)


def test_guards(make):
    with pytest.raises(
        BadInput, match=r"objective.queue_size is 9, no multiple of the 4 images of a batch; set it to 8"
    ):
        make("densecl", queue_size=9, dense_queue_size=8).check(4, 64)
    with pytest.raises(BadInput, match=r"objective.dense_queue_size is 9, no multiple"):
        make("densecl", queue_size=8, dense_queue_size=9).check(4, 64)
