from __future__ import annotations

import pytest
import torch

from bench.data.views import BYOL_VIEWS
from bench.errors import BadInput
from bench.losses.dense import dense_regression
from bench.losses.logistic import logistic
from bench.losses.uniformity import align_uniform
from bench.losses.variance_covariance import variance_covariance
from bench.nn.heads import per_position


def outputs(objective, data):
    """Projections, predictions and targets of both views, by the modules themselves."""
    z = [objective.projector(objective.encoder(v)) for v in data.views]
    p = [objective.predictor(each) for each in z]
    y = [objective.target_projector(objective.target_encoder(v)) for v in data.views]
    return z, p, y


SLOT = {
    # Predictions against the targets of the other view, both directions, averaged: the floor stays .5032.
    "logistic": lambda z, p, y: (logistic(p[0], y[1]) + logistic(p[1], y[0])) / 2,
    "align_uniform": lambda z, p, y: align_uniform(z[0], z[1]),
    "variance_covariance": lambda z, p, y: variance_covariance(z[0], z[1]),
}


@pytest.mark.parametrize("loss2", SLOT)
def test_loss_is_byols_plus_the_slot(loss2, make, batch, apart):
    objective, byol, data = make("two_loss", loss2=loss2), make("byol"), batch(32, 32)
    for each in (objective, byol):
        apart(each)
    terms = objective(data)
    torch.testing.assert_close(terms["loss1"], byol(data)["loss"].detach())
    torch.testing.assert_close(terms["loss2"], SLOT[loss2](*outputs(objective, data)).detach())
    torch.testing.assert_close(terms["loss"].detach(), terms["loss1"] + terms["loss2"])


def test_dense_slot(make, batch, apart):
    objective, data = make("two_loss", loss2="dense_byol"), batch(64, 64)
    apart(objective)
    data.boxes[0][:, 4] = torch.tensor([0.0, 1.0, 0.0, 1.0])
    data.boxes[1][:2, 2] = 0.6
    f, g = objective.encoder, objective.target_encoder
    p = [
        objective.dense_predictor(per_position(objective.dense_projector, f.maps(v)[-1]).flatten(0, 2)).view(4, 2, 2, 6)
        for v in data.views
    ]
    y = [per_position(objective.target_dense_projector, g.maps(v)[-1]) for v in data.views]
    b1, b2 = data.boxes
    expected = dense_regression(p[0], y[1], b1, b2) + dense_regression(p[1], y[0], b2, b1)
    terms = objective(data)
    torch.testing.assert_close(terms["loss2"], expected.detach())
    torch.testing.assert_close(terms["loss"].detach(), terms["loss1"] + terms["loss2"])
    data.boxes[0][:, 4] = 0.0
    assert objective(data)["loss2"] != pytest.approx(expected.item())  # the flip counts


@pytest.mark.parametrize("loss2", [*SLOT, "dense_byol"])
def test_weight_0_leaves_the_second_loss_alone(loss2, make, batch, apart):
    grads = []
    for weight in (0.0, 1.0):
        objective, data = make("two_loss", loss2=loss2, loss1_weight=weight), batch(32, 32)
        apart(objective)
        terms = objective(data)
        torch.testing.assert_close(terms["loss"].detach(), weight * terms["loss1"] + terms["loss2"])
        terms["loss"].backward()
        grads.append(objective.projector[0].weight.grad)
    assert not torch.allclose(*grads)


def test_views_and_defaults(make):
    objective = make("two_loss")
    assert (objective.loss2, objective.loss1_weight, objective.tau0) == ("logistic", 1.0, 0.99)
    assert objective.views(96) == BYOL_VIEWS(96)
    assert not hasattr(objective, "dense_projector")


def test_guards(make):
    with pytest.raises(BadInput, match=r"Unknown objective.loss2 'logistik'; did you mean logistic"):
        make("two_loss", loss2="logistik")
    with pytest.raises(BadInput, match=r"Unknown objective.loss2 'none'; known: logistic, dense_byol, align_uniform"):
        make("two_loss", loss2="none")
    with pytest.raises(BadInput, match=r"objective.loss1_weight is -1; set it to 0 \(loss2 alone\) or more"):
        make("two_loss", loss1_weight=-1)
