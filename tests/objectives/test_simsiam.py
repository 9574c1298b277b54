from __future__ import annotations

import copy
import math

import pytest
import torch
from cases import assert_same_gradients, known
from lightly.loss import NegativeCosineSimilarity
from narrow import NarrowEncoder
from torch import nn

from bench.config.load import load_recipe
from bench.data.views import MOCO_V2_VIEWS
from bench.objectives import build
from bench.objectives.simsiam import spread
from bench.train.optim import build_optimizer, set_rates


def small(**settings):
    return build({"name": "simsiam", "projection_dim": 10, "hidden_dim": 5, **settings}, NarrowEncoder()).double()


def naive(objective, data):
    """−cos of each pair, halved and averaged, as loops; and lightly's."""
    z = [objective.projector(objective.encoder(view)) for view in data.views]
    p = [objective.predictor(each) for each in z]
    n = len(z[0])
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        for i in range(n):
            target = z[b][i].detach()
            total = total - 0.5 / n * (p[a][i] @ target) / (p[a][i].norm() * target.norm())
    negative = NegativeCosineSimilarity()
    return total, 0.5 * (negative(p[0], z[1].detach()) + negative(p[1], z[0].detach()))


@pytest.mark.parametrize("which", [0, 1], ids=["loops", "lightly"])
def test_loss_and_gradient_are_those_of_the_formula_written_out(which, batch):
    objective, data = small(), batch(32, 32)
    reference = copy.deepcopy(objective)
    expected = naive(reference, data)[which]
    loss = objective(data)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=1e-8, atol=1e-12)


def test_the_loss_is_a_mean_of_both_directions_from_minus_1_to_1(batch):
    objective, data = small(), batch(32, 32)
    objective.predictor = nn.Identity()
    data.views[1] = data.views[0].clone()
    assert objective(data)["loss"].item() == pytest.approx(-1.0)
    objective.predictor = nn.Linear(10, 10, bias=False).double()
    objective.predictor.weight.data = -torch.eye(10, dtype=torch.float64)
    assert objective(data)["loss"].item() == pytest.approx(1.0)


def test_no_gradient_goes_through_the_projection_that_is_predicted(batch):
    """With a predictor whose output does not depend on its input, nothing is left to train before it."""
    objective, data = small(), batch(32, 32)
    objective.predictor[3].weight.data.zero_()
    objective(data)["loss"].backward()
    assert all(not p.grad.any() for p in objective.projector.parameters())
    assert objective.predictor[3].bias.grad.abs().max() > 0


def test_the_reference_value_on_known_tensors(batch):
    objective, data = small(), batch(32, 32)
    objective.encoder = nn.Identity()
    objective.projector, objective.predictor = nn.Identity(), nn.Identity()
    data.views = [*known()]
    assert objective(data)["loss"].item() == pytest.approx(-0.45232832, abs=1e-8)


def test_the_predictors_rate_stays_at_its_peak_and_all_others_fall():
    objective = small()
    recipe = load_recipe("imagenet_simsiam")
    optimizer = build_optimizer(objective.param_groups(), recipe.optimizer, recipe.batch_size)
    set_rates(optimizer, rate=0.001, peak=0.1)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in objective.named_parameters():
        assert rates[id(parameter)] == (0.1 if name.startswith("predictor.") else 0.001), name


def test_the_recipe_decays_every_parameter():
    recipe = load_recipe("imagenet_simsiam")
    optimizer = build_optimizer(small().param_groups(), recipe.optimizer, recipe.batch_size)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-4] * 4
    assert recipe.schedule.warmup_epochs == 0
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_heads_are_those_of_the_paper():
    objective = build({"name": "simsiam"}, NarrowEncoder())
    assert [type(layer) for layer in objective.projector] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [
        nn.Linear,
        nn.BatchNorm1d,
    ]
    norms = [layer for layer in objective.projector if isinstance(layer, nn.BatchNorm1d)]
    assert [norm.affine for norm in norms] == [True, True, False]
    assert [type(layer) for layer in objective.predictor] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert objective.predictor[3].bias is not None
    assert [layer.weight.shape for layer in objective.projector if isinstance(layer, nn.Linear)] == [
        (2048, 24),
        (2048, 2048),
        (2048, 2048),
    ]
    assert [objective.predictor[i].weight.shape for i in (0, 3)] == [(512, 2048), (2048, 512)]
    assert objective.views(96) == MOCO_V2_VIEWS(96)


def test_spread_is_1_on_a_full_sphere_and_0_at_a_point():
    z = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert spread(z).item() == pytest.approx(1.0, abs=0.01)
    assert spread(z[:1].expand(100, -1) * torch.rand(100, 1)).item() == pytest.approx(0.0, abs=1e-6)
    assert spread(5 * z).item() == pytest.approx(spread(z).item())
    one = z[:50].double()
    unit = one / one.norm(dim=1, keepdim=True)
    naive = sum(unit[:, d].var().sqrt() for d in range(64)) / 64 * math.sqrt(64)
    assert spread(one).item() == pytest.approx(naive.item())
