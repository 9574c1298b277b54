"""The objectives of distances: what they compare, and what they refuse."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from cases import assert_same_gradients
from narrow import NarrowEncoder

from bench.data.views import LOCAL_CROPS, MOCO_V2_VIEWS
from bench.errors import BadInput
from bench.losses.pairwise import triplet
from bench.objectives import build
from bench.objectives.contrastive_2006 import dissimilar, similar


def make(name, **settings):
    return build({"name": name, "dim": 6, **settings}, NarrowEncoder()).double()


@pytest.mark.parametrize("normalise", [False, True])
def test_contrastive_2006_compares_two_views_as_they_are_embedded(normalise, batch):
    objective, data = make("contrastive_2006", margin=4.0, normalise=normalise), batch(32, 32)
    x, y = (objective.projector(objective.encoder(v)) for v in data.views)
    if normalise:
        x, y = F.normalize(x, dim=1), F.normalize(y, dim=1)
    terms = objective(data)
    torch.testing.assert_close(terms["similar"], similar(x, y).detach())
    torch.testing.assert_close(terms["dissimilar"], dissimilar(x, y, 4.0).detach())
    torch.testing.assert_close(terms["loss"].detach(), terms["similar"] + terms["dissimilar"])
    assert min(terms["similar"], terms["dissimilar"]) > 1e-3


def test_triplet_is_over_anchors_of_both_views_on_the_unit_sphere(batch):
    objective, data = make("triplet"), batch(32, 32)
    x, y = (F.normalize(objective.projector(objective.encoder(v)), dim=1) for v in data.views)
    torch.testing.assert_close(objective(data)["loss"], (triplet(x, y, 0.2) + triplet(y, x, 0.2)) / 2)


@pytest.mark.parametrize("mining", ["semi_hard", "all"])
@pytest.mark.parametrize("crops", [0, 2])
def test_small_crops_are_anchors_of_the_triplet_loss_and_nothing_else(crops, mining, batch):
    objective, data = make("triplet", mining=mining, crops=crops, crop_size=32), batch(64, 64, *[32] * crops)
    network, v1, v2 = copy.deepcopy(objective), *data.views[:2]

    def embed(images):
        rows = network.projector(network.encoder(images))
        return torch.stack([row / row.norm() for row in rows])

    z = [embed(v1), embed(v2), *(embed(torch.cat(data.views[2:])).chunk(crops) if crops else ())]
    total, pairs = 0.0, [(a, b) for a in range(2 + crops) for b in (0, 1) if a != b]
    for a, b in pairs:
        for i in range(4):
            d = [((z[a][i] - row) ** 2).sum() for row in z[b]]
            others = [d[j] for j in range(4) if j != i]
            if mining == "semi_hard":
                farther = [x for x in others if x > d[i]]
                others = [min(farther)] if farther else [max(others)]
            hinges = [torch.relu(d[i] - x + 0.2) for x in others]
            total = total + sum(hinges) / len(hinges) / (4 * len(pairs))
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, total)
    loss.backward()
    total.backward()
    assert_same_gradients(objective, network)


def test_triplet_stays_at_the_margin_when_all_collapses(batch):
    objective, data = make("triplet"), batch(32, 32)
    with torch.no_grad():
        objective.projector[0].weight.zero_()
        objective.projector[0].bias.fill_(1.0)
    assert objective(data)["loss"].item() == pytest.approx(0.2)


def test_defaults_are_the_papers():
    pairs, triplets = (build({"name": name}, NarrowEncoder()) for name in ("contrastive_2006", "triplet"))
    assert (pairs.margin, pairs.normalise) == (1.0, False)
    assert (triplets.margin, triplets.squared, triplets.mining) == (0.2, True, "semi_hard")
    assert pairs.views(96) == triplets.views(96) == MOCO_V2_VIEWS(96)
    like = MOCO_V2_VIEWS(96)[0]
    assert make("triplet", crops=4, crop_size=64).views(96)[2:] == LOCAL_CROPS(like, 4, 64, (0.05, 0.14))


@pytest.mark.parametrize("name", ["contrastive_2006", "triplet"])
def test_guards(name):
    with pytest.raises(BadInput, match=r"objective.margin is 0.0; set it above 0"):
        make(name, margin=0.0)
    with pytest.raises(BadInput, match=r"objective.dim is 0"):
        build({"name": name, "dim": 0}, NarrowEncoder())
    with pytest.raises(BadInput, match=r"Unknown objective.mining 'semi_hrd'; did you mean semi_hard"):
        make("triplet", mining="semi_hrd")
