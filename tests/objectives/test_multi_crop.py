"""Small crops beside the two full views, in the objectives that have them as a setting."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cases import apart, assert_same_gradients
from narrow import NarrowEncoder

from bench.data.views import BYOL_VIEWS, LOCAL_CROPS, MOCO_V2_VIEWS, View
from bench.losses.regression import multi_crop_regression, symmetric_regression
from bench.nn.multi_crop import by_resolution, project_together
from bench.objectives import build

HEADS = {"byol": {"hidden_dim": 12, "projection_dim": 6}, "simsiam": {"hidden_dim": 5, "projection_dim": 10}}


def small(name, **settings):
    return build({"name": name, **HEADS[name], **settings}, NarrowEncoder()).double()


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def parts(objective, data):
    """Predictions of all views (crops in one forward), and targets of the full ones."""
    v1, v2, *crops = data.views
    f, g = objective.encoder, objective.projector
    z = [g(f(v)) for v in (v1, v2)]
    p = [objective.predictor(each) for each in z]
    if crops:
        p += objective.predictor(g(f(torch.cat(crops)))).chunk(len(crops))
    if hasattr(objective, "target_encoder"):
        z = [objective.target_projector(objective.target_encoder(v)) for v in (v1, v2)]
    return p, [each.detach() for each in z]


def mean_cosine(p, z):
    """Over all pairs but a full view's with itself, image by image."""
    outputs = [
        (p[a][i] @ z[b][i]) / (p[a][i].norm() * z[b][i].norm())
        for a in range(len(p))
        for b in (0, 1)
        if a != b
        for i in range(len(z[0]))
    ]
    return torch.stack(outputs).mean()


@pytest.mark.parametrize("crops", [0, 1, 3])
@pytest.mark.parametrize("name", HEADS)
def test_loss_and_gradient_are_the_mean_over_pairs_on_the_scale_without_crops(name, crops, batch):
    objective, data = small(name, crops=crops, crop_size=32), batch(64, 64, *[32] * crops)
    apart(objective)
    reference = copy.deepcopy(objective)
    cosine = mean_cosine(*parts(reference, data))
    expected = 4 - 4 * cosine if name == "byol" else -cosine
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("crops", [1, 6])
def test_the_scale_is_that_of_two_views_however_many_crops_there_are(crops):
    p1, p2, z1 = (normal(4, 5, seed=s) for s in range(3))
    equal = [p1] * crops
    value = multi_crop_regression(p1, p1, equal, z1, z1)
    torch.testing.assert_close(value, symmetric_regression(p1, p1, z1, z1))
    far = multi_crop_regression(p1, p2, [-z1] * crops, z1, -z1)
    assert 0 <= far.item() <= 8


def test_without_crops_the_loss_is_bit_for_bit_that_of_two_views():
    p1, p2, z1, z2 = (normal(4, 5, seed=s).float() for s in range(4))
    assert torch.equal(multi_crop_regression(p1, p2, [], z1, z2), symmetric_regression(p1, p2, z1, z2))


def test_byol_without_crops_is_bit_for_bit_what_it_was(batch):
    objective, data = small("byol"), batch(32, 32)
    apart(objective)
    reference = copy.deepcopy(objective)
    f, g, q = reference.encoder, reference.projector, reference.predictor
    p1, p2 = (q(g(f(v))) for v in data.views)
    with torch.no_grad():
        z1, z2 = (reference.target_projector(reference.target_encoder(v)) for v in data.views)
    expected = (2 - 2 * (F.normalize(p1, dim=-1) * F.normalize(z2, dim=-1)).sum(-1)).mean() + (
        2 - 2 * (F.normalize(p2, dim=-1) * F.normalize(z1, dim=-1)).sum(-1)
    ).mean()
    loss = objective(data)["loss"]
    assert torch.equal(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=0, atol=0)


def test_one_forward_for_each_run_of_one_size_in_the_order_of_views():
    calls = []

    def network(images):
        calls.append(tuple(images.shape))
        return images.mean((1, 2, 3))[:, None]

    views = [normal(2, 3, size, size, seed=number) for number, size in enumerate((8, 8, 4, 4, 4))]
    outputs = by_resolution(network, views)
    assert calls == [(4, 3, 8, 8), (6, 3, 4, 4)]
    for output, view in zip(outputs, views, strict=True):
        torch.testing.assert_close(output, view.mean((1, 2, 3))[:, None])
    assert by_resolution(network, []) == []


def test_views_with_crops():
    crops = LOCAL_CROPS(View(), 4, 64, (0.05, 0.2))
    settings = {"crops": 4, "crop_size": 64, "crop_scale": (0.05, 0.2)}
    assert small("byol", **settings).views(224) == (*BYOL_VIEWS(224), *crops)
    like = replace(MOCO_V2_VIEWS(224)[0], size=64, scale=(0.05, 0.2), count=4)
    assert small("simsiam", **settings).views(224) == (*MOCO_V2_VIEWS(224), like)


def test_a_head_sees_all_views_together_and_the_trunk_each_resolution_by_itself():
    views = [normal(6, 3, size, size, seed=s) for s, size in enumerate((8, 8, 4))]

    def centred(x):
        return x - x.mean(0)

    def trunk(images):
        return centred(images.mean((2, 3)) * images.shape[-1])

    full, small = trunk(torch.cat(views[:2])), trunk(views[2])
    expected = centred(torch.cat([full, small]).exp())
    outputs = project_together(trunk, lambda f: centred(f.exp()), views)
    assert [each.shape for each in outputs] == [(6, 3)] * 3
    torch.testing.assert_close(torch.cat(outputs), expected)
    assert not torch.allclose(outputs[2], centred(small.exp()))
