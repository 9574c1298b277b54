from __future__ import annotations

import math

import pytest
import torch
from cases import apart
from lightly.loss import NegativeCosineSimilarity

from bench.data.views import BYOL_VIEWS, View
from bench.errors import BadInput
from bench.objectives.patch_byol import gate, tiles


def patch_terms(objective, patches, target):
    """2 − 2·cos of each patch's prediction with the target, K×N, by lightly."""
    p = objective.predictor(objective.projector(objective.encoder(torch.cat(patches))))
    z = objective.target_projector(objective.target_encoder(target)).detach()
    lightly = NegativeCosineSimilarity()
    rows = [2 + 2 * lightly(p[i : i + 1], z[i % len(z)][None]) for i in range(len(p))]
    return torch.stack(rows).view(len(patches), len(z))


def quadrants(v):
    half = v.shape[-1] // 2
    return [v[..., :half, :half], v[..., :half, half:], v[..., half:, :half], v[..., half:, half:]]


@pytest.mark.parametrize("symmetric", [False, True])
def test_grid_cuts_the_quadrants_of_a_view_which_predict_the_other(symmetric, make, batch):
    objective, byol, data = make("patch_byol", symmetric=symmetric, patch_weight=0.3), make("byol"), batch(64, 64)
    for each in (objective, byol):
        apart(each)
    v1, v2 = data.views
    expected = patch_terms(objective, quadrants(v1), v2).mean()
    if symmetric:
        expected = expected + patch_terms(objective, quadrants(v2), v1).mean()
    terms = objective(data)
    torch.testing.assert_close(terms["loss_global"], byol(data)["loss"].detach())
    torch.testing.assert_close(terms["loss_patch"], expected.detach())
    torch.testing.assert_close(terms["loss"].detach(), terms["loss_global"] + 0.3 * terms["loss_patch"])


@pytest.mark.parametrize("symmetric", [False, True])
def test_random_patches_come_with_the_batch(symmetric, make, batch):
    objective = make("patch_byol", sampling="random", patches=3, symmetric=symmetric)
    data = batch(64, 64, 32, 32, 32)
    apart(objective)
    v1, v2, *crops = data.views
    expected = patch_terms(objective, crops, v2).mean()
    if symmetric:
        expected = expected + patch_terms(objective, crops, v1).mean()
    torch.testing.assert_close(objective(data)["loss_patch"], expected.detach())


def test_gate_weighs_each_patch_without_a_gradient_of_its_own(make, batch):
    objective, data = make("patch_byol", gate_temperature=0.7), batch(64, 64)
    apart(objective)
    rows = patch_terms(objective, quadrants(data.views[0]), data.views[1])
    weight = torch.exp(-rows.detach().sqrt() / 0.7)
    expected = (weight * rows).mean()
    terms = objective(data)
    torch.testing.assert_close(terms["loss_patch"], expected.detach())
    torch.testing.assert_close(terms["gate"], weight.mean())
    (terms["loss"] - byol_loss(objective, data)).backward()
    ours = objective.encoder.conv1.weight.grad.clone()
    objective.zero_grad()
    expected.backward()
    torch.testing.assert_close(ours, objective.encoder.conv1.weight.grad, rtol=1e-6, atol=1e-9)


def byol_loss(objective, data):
    """loss_global with its graph, so that the patches' gradient can be had alone."""
    v1, v2 = data.views
    p1, p2 = (objective.predictor(objective.projector(objective.encoder(v))) for v in (v1, v2))
    z1, z2 = (objective.target_projector(objective.target_encoder(v)).detach() for v in (v1, v2))
    lightly = NegativeCosineSimilarity()
    return 4 + 2 * lightly(p1, z2) + 2 * lightly(p2, z1)


def test_gate_function():
    distance = torch.tensor([0.0, 1.0, -1.0, 2.0])
    torch.testing.assert_close(gate(distance, 5.0), torch.tensor([1.0, math.exp(-0.2), math.exp(-0.2), math.exp(-0.4)]))
    torch.testing.assert_close(gate(distance, 1e9), torch.ones(4))


def test_a_huge_temperature_is_no_gate(make, batch):
    values = []
    for temperature in (None, 1e12):
        objective, data = make("patch_byol", gate_temperature=temperature), batch(64, 64)
        apart(objective)
        values.append(objective(data)["loss_patch"])
    torch.testing.assert_close(*values)


def test_tiles():
    image = torch.arange(36.0).view(1, 1, 6, 6)
    assert [tile.flatten().tolist() for tile in tiles(image, 9)][:2] == [[0, 1, 6, 7], [2, 3, 8, 9]]
    assert torch.equal(torch.cat(tiles(image, 4)), torch.cat(quadrants(image)))
    assert torch.equal(tiles(image, 1)[0], image)
    assert {tile.shape for tile in tiles(torch.zeros(2, 3, 7, 8), 9)} == {(2, 3, 2, 2)}


def test_views(make):
    def views(**settings):
        return make("patch_byol", **settings).views(64)

    assert views(patches=4) == BYOL_VIEWS(64)
    drawn = views(patches=8, sampling="random", patch_scale=[0.1, 0.2], patch_size=48)  # a list, as JSON has it
    assert drawn == (*BYOL_VIEWS(64), View(size=48, scale=(0.1, 0.2), count=8))
    assert views(sampling="random")[2] == View(size=96, scale=(0.05, 0.25), count=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patches": 8}, r"objective.patches is 8, but a grid has 4, 9, 16, …; set objective.sampling='random'"),
        ({"patch_scale": (0.5, 0.1)}, "give two ascending shares"),
        ({"patch_scale": (0.5,)}, r"is \(0\.5,\), but should be tuple\[float, float\]"),
        ({"patch_scale": (0.0, 0.5)}, "give two ascending shares"),
    ],
)
def test_guards(settings, message, make):
    with pytest.raises(BadInput, match=message):
        make("patch_byol", **settings)
