from __future__ import annotations

import copy

import pytest
import torch
from cases import apart, assert_same_gradients
from lightly.loss import NegativeCosineSimilarity

from bench.config.load import load_recipe
from bench.data.views import BYOL_VIEWS


def test_loss_is_the_sum_of_both_directions_of_the_two_networks(make, batch):
    objective, data = make("byol"), batch(32, 32)
    apart(objective)
    reference = copy.deepcopy(objective)
    v1, v2 = data.views
    p1 = reference.predictor(reference.projector(reference.encoder(v1)))
    p2 = reference.predictor(reference.projector(reference.encoder(v2)))
    z1 = reference.target_projector(reference.target_encoder(v1)).detach()
    z2 = reference.target_projector(reference.target_encoder(v2)).detach()
    lightly = NegativeCosineSimilarity()
    expected = (2 + 2 * lightly(p1, z2)) + (2 + 2 * lightly(p2, z1))
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=1e-8, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(objective.buffers(), reference.buffers(), strict=True))


def test_each_view_has_its_own_batch_statistics(make, batch):
    """Both views through one forward would normalise each by both."""
    objective, data = make("byol"), batch(32, 32)
    data.views[1] = 3 * data.views[1] + 1
    by_view = objective(data)["loss"]
    both = torch.cat(data.views)
    p = objective.predictor(objective.projector(objective.encoder(both)))
    z = objective.target_projector(objective.target_encoder(both))
    together = 4 + 4 * NegativeCosineSimilarity()(p, torch.cat([z[4:], z[:4]]))
    assert abs(together - by_view) > 1e-3


def test_views_and_defaults(make):
    assert make("byol").views(160) == BYOL_VIEWS(160)
    objective = make("byol", hidden_dim=4096, projection_dim=256)
    assert objective.tau0 == 0.99
    assert [tuple(p.shape) for p in objective.projector.parameters()] == [
        (4096, 24),
        (4096,),
        (4096,),
        (4096,),
        (256, 4096),
    ]
    assert [tuple(p.shape) for p in objective.predictor.parameters()] == [
        (4096, 256),
        (4096,),
        (4096,),
        (4096,),
        (256, 4096),
    ]


@pytest.mark.parametrize(
    ("name", "epochs", "lr", "weight_decay", "tau0"),
    [("imagenet_byol", 1000, 0.2, 1.5e-6, 0.996), ("imagenet_byol_300", 300, 0.3, 1e-6, 0.99)],
)
def test_the_recipes_are_the_references_presets(name, epochs, lr, weight_decay, tau0):
    """byol/configs/byol.py:21-23, 57-65."""
    recipe = load_recipe(name)
    assert (recipe.dataset, recipe.epochs, recipe.batch_size, recipe.sync_bn) == ("imagenet", epochs, 4096, True)
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.lr_batch, optimizer.momentum) == ("lars", lr, 256, 0.9)
    assert (optimizer.weight_decay, optimizer.decay, optimizer.trust_coefficient) == (weight_decay, "weights", 1e-3)
    assert (recipe.schedule.name, recipe.schedule.warmup_epochs, recipe.schedule.final_ratio) == ("cosine", 10, 0)
    heads = {key: recipe.objective[key] for key in ("name", "tau0", "hidden_dim", "projection_dim", "crops")}
    assert heads == {"name": "byol", "tau0": tau0, "hidden_dim": 4096, "projection_dim": 256, "crops": 0}


def test_a_batch_of_one_view_fails(make, batch):
    with pytest.raises(ValueError, match="not enough values to unpack"):
        make("byol")(batch(32))
