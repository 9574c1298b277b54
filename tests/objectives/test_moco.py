"""MoCo v1 and v2 against the paper, written out; what is easily done wrong."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from cases import apart, assert_same_gradients
from narrow import NarrowEncoder
from torch import nn

from bench.data.views import LOCAL_CROPS, MOCO_V2_VIEWS, MOCO_VIEWS
from bench.errors import BadInput
from bench.losses.contrastive import info_nce
from bench.nn.norm import convert_norms
from bench.nn.shuffle import shuffled
from bench.objectives import build


@pytest.fixture
def name():
    """MoCo's; v2 has other defaults and views only."""
    return "moco"


BOTH = pytest.mark.parametrize("name", ["moco", "moco_v2"])


def make(name, **settings):
    return build({"name": name, "queue_size": 8, "dim": 6, **settings}, NarrowEncoder()).double()


def naive(q, k, queue, temperature):
    """Equation 1, image by image, on unit vectors."""
    total = 0.0
    for i in range(len(q)):
        unit = q[i] / q[i].norm()
        positive = torch.exp(unit @ (k[i] / k[i].norm()) / temperature)
        total = total - torch.log(positive / (positive + sum(torch.exp(unit @ key / temperature) for key in queue)))
    return total / len(q)


def networks(objective):
    query = nn.Sequential(objective.encoder, objective.projector)
    return query, nn.Sequential(objective.key_encoder, objective.key_projector)


@BOTH
@pytest.mark.parametrize("symmetric", [False, True])
def test_loss_and_gradient_are_equation_1_on_the_queue_before_the_batch(name, symmetric, batch):
    objective, data = apart(make(name, symmetric=symmetric)), batch(32, 32)
    reference = copy.deepcopy(objective)
    query, key = networks(reference)
    v1, v2 = data.views
    queue, tau = F.normalize(reference.queue.keys, dim=1), {"moco": 0.07, "moco_v2": 0.2}[name]
    expected = naive(query(v1), key(v2).detach(), queue, tau)
    if symmetric:
        expected = expected + naive(query(v2), key(v1).detach(), queue, tau)  # a sum, as in the authors' notebook
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference, frozen="key_")


def cosine(x, y):
    return x @ y / (x.norm() * y.norm())


def by_name(loss, q, k, queue, tau, weight=1.0, share=0.1):
    """A loss of the slot, query by query, with the queue as the only negatives."""
    total = 0.0
    for query, key in zip(q, k, strict=True):
        positive, negatives = cosine(query, key), sorted((cosine(query, row) for row in queue), reverse=True)
        if loss == "simple":
            total = total - positive + weight * sum(negatives) / len(negatives)
            continue
        if loss == "hard":
            negatives = negatives[: max(1, math.ceil(share * len(negatives)))]
        below = sum(torch.exp(s / tau) for s in negatives)
        if loss != "dcl":
            below = below + torch.exp(positive / tau)
        total = total - positive / tau + torch.log(below)
    return total / len(q)


@BOTH
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("loss", ["nt_xent", "dcl", "simple", "hard"])
def test_every_loss_of_the_slot_is_its_formula_on_the_queue(loss, symmetric, name, batch):
    settings = {"temperature": 0.3, "negative_weight": 0.7, "hard_share": 0.4}
    objective, data = apart(make(name, loss=loss, symmetric=symmetric, **settings)), batch(32, 32)
    reference = copy.deepcopy(objective)
    query, key = networks(reference)
    v1, v2 = data.views
    queue = reference.queue.keys.clone()
    expected = by_name(loss, query(v1), key(v2).detach(), queue, 0.3, 0.7, 0.4)
    if symmetric:
        expected = expected + by_name(loss, query(v2), key(v1).detach(), queue, 0.3, 0.7, 0.4)
    value = objective(data)["loss"]
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    assert_same_gradients(objective, reference, frozen="key_")


@pytest.mark.parametrize("symmetric", [False, True])
def test_by_default_the_loss_is_info_nce_bit_for_bit(symmetric, name, batch):
    objective, data = apart(make(name, symmetric=symmetric)).float(), batch(32, 32)
    data.views = [view.float() for view in data.views]
    reference = copy.deepcopy(objective)
    query, key = networks(reference)
    v1, v2 = data.views
    losses = []
    torch.manual_seed(0)
    for x, y in [(v1, v2), (v2, v1)] if symmetric else [(v1, v2)]:
        q, k = query(x), F.normalize(shuffled(key, y), dim=1)
        losses.append(info_nce(q, k, reference.queue.keys, reference.temperature))
    expected = torch.stack(losses).sum()
    torch.manual_seed(0)
    value = objective(data)["loss"]
    assert torch.equal(value, expected)
    value.backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=0, atol=0)


@pytest.mark.parametrize("loss", ["nt_xent", "dcl"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_small_crops_are_further_queries_of_a_mean_that_keeps_its_scale(symmetric, loss, name, batch):
    objective = apart(make(name, loss=loss, symmetric=symmetric, crops=3, crop_size=32))
    data = batch(64, 64, 32, 32, 32)
    reference = copy.deepcopy(objective)
    query, key = networks(reference)
    v1, v2, *crops = data.views
    queue, tau = reference.queue.keys.clone(), reference.temperature
    small = query(torch.cat(crops)).chunk(3)  # in one forward
    expected = 0.0
    for x, y in [(v1, v2), (v2, v1)] if symmetric else [(v1, v2)]:
        k = key(y).detach()
        expected = expected + sum(by_name(loss, q, k, queue, tau) for q in (query(x), *small)) / 4
    value = objective(data)["loss"]
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    assert_same_gradients(objective, reference, frozen="key_")


@pytest.mark.parametrize("symmetric", [False, True])
def test_no_small_crop_becomes_a_key(symmetric, name, batch):
    with_crops = apart(make(name, symmetric=symmetric, crops=2, crop_size=32))
    without = apart(make(name, symmetric=symmetric))
    data = batch(64, 64, 32, 32)
    seen = {"encoder": [], "key_encoder": []}
    for which, sizes in seen.items():
        network = getattr(with_crops, which)
        network.register_forward_hook(lambda module, inputs, output, sizes=sizes: sizes.append(tuple(inputs[0].shape)))
    torch.manual_seed(0)
    with_crops(data)
    full = [(4, 3, 64, 64)] * (1 + symmetric)
    assert seen == {"encoder": [(8, 3, 32, 32), *full], "key_encoder": full}
    data.views = data.views[:2]
    torch.manual_seed(0)
    without(data)
    assert torch.equal(with_crops.queue.keys, without.queue.keys)
    assert torch.equal(with_crops.queue.position, without.queue.position)


def in_halves(objective):
    """With norms over the even images and over the odd ones, apart."""
    return convert_norms(objective, "cpu", parts=2)


def test_small_crops_of_a_group_are_normalised_with_each_other_and_apart_from_other_images(name, batch):
    objective, data = in_halves(apart(make(name, crops=2, crop_size=32))), batch(64, 64, 32, 32)
    query, _ = networks(apart(make(name)))
    v, _, a, b = data.views
    q = [torch.empty(4, 6, dtype=torch.float64) for _ in range(3)]
    for group in ([0, 2], [1, 3]):
        q[0][group] = query(v[group])
        q[1][group], q[2][group] = query(torch.cat([a[group], b[group]])).chunk(2)
    queue = objective.queue.keys.clone()
    value = objective(data)["loss"]
    expected = sum(naive(each, objective.queue.keys[:4], queue, objective.temperature) for each in q) / 3
    torch.testing.assert_close(value, expected)


def test_the_loss_does_not_see_the_keys_of_its_own_batch_as_negatives(name, batch):
    """Enqueued before the loss, a positive would be a negative, too: at τ → 0 the loss could not fall below ln 2."""
    objective, data = make(name, temperature=1e-3), batch(32, 32)
    data.views[1] = data.views[0]
    assert objective(data)["loss"] < 1e-6
    assert objective(data)["loss"] > 0.6  # the same images again: now the queue has their keys


def test_this_batchs_keys_take_the_place_of_the_oldest(name, batch):
    objective, data = apart(make(name)), batch(32, 32)
    _, key = networks(copy.deepcopy(objective))
    before = objective.queue.keys.clone()
    objective(data)
    expected = F.normalize(key(data.views[1]), dim=1).detach()
    torch.testing.assert_close(objective.queue.keys[:4], expected)
    assert torch.equal(objective.queue.keys[4:], before[4:])
    objective(batch(32, 32, seed=1))
    torch.testing.assert_close(objective.queue.keys[:4], expected)
    assert not torch.equal(objective.queue.keys[4:], before[4:])
    objective(batch(32, 32, seed=2))
    assert not torch.allclose(objective.queue.keys[:4], expected)
    assert not objective.queue.keys.requires_grad


def test_a_symmetric_batch_leaves_keys_of_both_views(name, batch):
    objective, data = apart(make(name, symmetric=True)), batch(32, 32)
    _, key = networks(copy.deepcopy(objective))
    objective(data)
    for place, view in ((slice(0, 4), 1), (slice(4, 8), 0)):
        torch.testing.assert_close(objective.queue.keys[place], F.normalize(key(data.views[view]), dim=1).detach())


def test_moving_keys_after_the_step_equals_moving_them_before_the_next_forward(name, batch):
    """The reference moves them at the start of each forward; losses of three steps are the same."""
    ours, theirs = make(name, momentum=0.7), make(name, momentum=0.7)
    for number in range(3):
        data = batch(32, 32, seed=number)
        theirs.after_step(0.0)  # at the first step the copies are equal, and this does nothing
        losses = [objective(data)["loss"] for objective in (ours, theirs)]
        torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
        for objective, loss in zip((ours, theirs), losses, strict=True):
            loss.backward()
            with torch.no_grad():
                for parameter in objective.parameters():
                    if parameter.grad is not None:
                        parameter -= 0.5 * parameter.grad
                        parameter.grad = None
        ours.after_step(number / 3)
    assert not torch.equal(ours.key_projector[0].weight, ours.projector[0].weight)


def test_keys_are_normalised_by_batches_of_their_own_in_train_mode(name, batch):
    objective, data = apart(make(name)), batch(32, 32)
    data.views[1] = 3 * data.views[1] + 1
    objective(data)
    assert objective.key_encoder.training
    assert objective.key_encoder.bn1.num_batches_tracked == 1
    assert not torch.allclose(objective.key_encoder.bn1.running_mean, objective.encoder.bn1.running_mean)


@BOTH
def test_a_key_is_normalised_in_another_group_than_its_query(name, batch):
    objective, data = in_halves(apart(make(name))), batch(32, 32)
    query, key = networks(apart(make(name)))
    torch.manual_seed(2)
    order = torch.rand(4).argsort().tolist()
    key_groups = [order[0::2], order[1::2]]  # which images' keys are normalised together
    assert sorted(map(sorted, key_groups)) != [[0, 2], [1, 3]]  # else this draw would not tell
    v1, v2 = data.views
    q, k = (torch.empty(4, 6, dtype=torch.float64) for _ in range(2))
    for group in ([0, 2], [1, 3]):
        q[group] = query(v1[group])
    for group in key_groups:
        k[group] = key(v2[group]).detach()
    queue, tau = objective.queue.keys.clone(), objective.temperature
    torch.manual_seed(2)
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, naive(q, k, queue, tau))
    leaking = torch.cat([key(v2[0::2]), key(v2[1::2])]).detach()[[0, 2, 1, 3]]  # keys among their queries' images
    assert abs(loss - naive(q, leaking, queue, tau)) > 1e-3


def test_before_anything_is_learnt_the_loss_is_ln_of_all_candidates_at_a_high_temperature(name, batch):
    objective, data = make(name, temperature=1e6), batch(32, 32)
    assert objective(data)["loss"].item() == pytest.approx(math.log(1 + 8), abs=1e-4)


def test_scale_of_the_embedding_does_not_matter(batch):
    one, other, data = make("moco"), make("moco"), batch(32, 32)
    with torch.no_grad():
        for head in (other.projector, other.key_projector):
            head[0].weight *= 7
            head[0].bias *= 7
    torch.testing.assert_close(one(data)["loss"], other(data)["loss"])


def test_defaults_heads_and_views_are_the_papers():
    v1, v2 = (build({"name": name}, NarrowEncoder()) for name in ("moco", "moco_v2"))
    for objective in (v1, v2):
        assert objective.queue.keys.shape == (65536, 128)
        assert (objective.momentum, objective.symmetric) == (0.999, False)
        assert not any(isinstance(module, nn.BatchNorm1d) for module in objective.modules())
    assert (v1.temperature, v2.temperature) == (0.07, 0.2)
    assert [tuple(p.shape) for p in v1.projector.parameters()] == [(128, 24), (128,)]
    assert [tuple(p.shape) for p in v2.projector.parameters()] == [(24, 24), (24,), (128, 24), (128,)]
    assert (v1.views(160), v2.views(160)) == (MOCO_VIEWS(160), MOCO_V2_VIEWS(160))
    # facebookresearch/moco, main_moco.py, without and with --aug-plus.
    for objective, hue, jitter_p, blur in ((v1, 0.4, 1.0, 0.0), (v2, 0.1, 0.8, 0.5)):
        for view in objective.views(160):
            assert (view.size, view.scale, view.interpolation, view.flip) == (160, (0.2, 1.0), "bilinear", 0.5)
            assert (view.jitter, view.jitter_p, view.grey) == ((0.4, 0.4, 0.4, hue), jitter_p, 0.2)
            assert (view.blur, view.blur_sigma, view.solarize, view.count) == (blur, (0.1, 2.0), 0.0, 1)
    # main_moco.py:240-241 and 226-230 of facebookresearch/moco.
    assert [view.grey_first for view in (*v1.views(160), *v2.views(160))] == [True, True, False, False]
    for name, pair in (("moco", MOCO_VIEWS(160)), ("moco_v2", MOCO_V2_VIEWS(160))):
        crops = LOCAL_CROPS(pair[0], 4, 96, (0.05, 0.14))
        assert make(name, crops=4).views(160) == (*pair, *crops)


@BOTH
def test_guards(name):
    objective = make(name)
    with pytest.raises(
        BadInput, match=r"objective.queue_size is 8, no multiple of the 3 images of a batch; set it to 9"
    ):
        objective.check(3, 32)
    with pytest.raises(
        BadInput, match=r"objective.queue_size is 8, no multiple of the 16 keys of a batch; set it to 16"
    ):
        make(name, symmetric=True).check(8, 32)
    with pytest.raises(BadInput, match=r"objective.bn_splits is no setting any more: .*; set norm_images to"):
        make(name, bn_splits=3)
    for settings, message in (
        ({"loss": "dclw"}, "Unknown objective.loss 'dclw'; did you mean dcl"),  # it has no form with a queue
    ):
        with pytest.raises(BadInput, match=message):
            make(name, **settings)
