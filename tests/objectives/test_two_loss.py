from __future__ import annotations

import copy
import math

import pytest
import torch
from cases import apart, assert_same_gradients

from bench.data.views import BYOL_VIEWS, LOCAL_CROPS, View
from bench.errors import BadInput
from bench.losses.regression import symmetric_regression
from bench.losses.uniformity import align_uniform
from bench.nn.heads import per_position
from bench.objectives.two_loss import dense_regression, least_squares, logistic, variance_covariance

pytestmark = pytest.mark.slow


def outputs(objective, data):
    """Projections, predictions and targets of both views, by the modules themselves."""
    z = [objective.projector(objective.encoder(v)) for v in data.views]
    p = [objective.predictor(each) for each in z]
    y = [objective.target_projector(objective.target_encoder(v)) for v in data.views]
    return z, p, y


SLOT = {
    # Predictions against the targets of the other view, both directions, averaged: the floor stays .5032.
    "logistic": lambda z, p, y: (logistic(p[0], y[1]) + logistic(p[1], y[0])) / 2,
    "logistic_centred": lambda z, p, y: (
        (logistic(p[0] - p[0].mean(0), y[1] - y[1].mean(0)) + logistic(p[1] - p[1].mean(0), y[0] - y[0].mean(0))) / 2
    ),
    "least_squares": lambda z, p, y: (least_squares(p[0], y[1]) + least_squares(p[1], y[0])) / 2,
    "align_uniform": lambda z, p, y: align_uniform(z[0], z[1]),
    "variance_covariance": lambda z, p, y: variance_covariance(z[0], z[1]),
}


@pytest.mark.parametrize("loss2", SLOT)
def test_loss_is_byols_plus_the_slot(loss2, make, batch):
    objective, byol, data = make("two_loss", loss2=loss2), make("byol"), batch(32, 32)
    for each in (objective, byol):
        apart(each)
    terms = objective(data)
    torch.testing.assert_close(terms["loss1"], byol(data)["loss"].detach())
    torch.testing.assert_close(terms["loss2"], SLOT[loss2](*outputs(objective, data)).detach())
    torch.testing.assert_close(terms["loss"].detach(), terms["loss1"] + terms["loss2"])


def softplus(x):
    return torch.log1p(torch.exp(x))


def naive_logistic(p, y):
    """½·[mean softplus(−s⁺) + mean softplus(s⁻)], pair by pair."""
    s = [[a @ b / (a.norm() * b.norm()) for b in y] for a in p]
    n = len(p)
    same = sum(softplus(-s[i][i]) for i in range(n)) / n
    other = sum(softplus(s[i][j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return 0.5 * (same + other)


def test_small_crops_predict_the_targets_of_both_views_in_both_losses(make, batch):
    objective, data = make("two_loss", crops=3, crop_size=32), batch(64, 64, 32, 32, 32)
    apart(objective)
    reference = copy.deepcopy(objective)

    def predict(images):
        return reference.predictor(reference.projector(reference.encoder(images)))

    v1, v2, *crops = data.views
    p = [predict(v1), predict(v2), *predict(torch.cat(crops)).chunk(3)]
    y = [reference.target_projector(reference.target_encoder(v)).detach() for v in (v1, v2)]
    pairs = [(a, b) for a in range(5) for b in (0, 1) if a != b]
    cosines = [p[a][i] @ y[b][i] / (p[a][i].norm() * y[b][i].norm()) for a, b in pairs for i in range(4)]
    loss1 = 4 - 4 * sum(cosines) / len(cosines)
    loss2 = sum(naive_logistic(p[a], y[b]) for a, b in pairs) / len(pairs)
    terms = objective(data)
    torch.testing.assert_close(terms["loss1"], loss1.detach())
    torch.testing.assert_close(terms["loss2"], loss2.detach())
    torch.testing.assert_close(terms["loss"], loss1 + loss2)
    terms["loss"].backward()
    (loss1 + loss2).backward()
    assert_same_gradients(objective, reference, frozen="target_")


@pytest.mark.parametrize("loss2", ["dense_byol", "align_uniform", "variance_covariance"])
def test_the_other_second_losses_see_full_views_alone(loss2, make, batch):
    crops, none = (make("two_loss", loss2=loss2, crops=count, crop_size=32) for count in (2, 0))
    data = batch(64, 64, 32, 32)
    for each in (crops, none):
        apart(each)
    terms = crops(data)
    data.views, data.boxes = data.views[:2], data.boxes[:2]
    assert torch.equal(terms["loss2"], none(data)["loss2"])
    assert not math.isclose(terms["loss1"], none(data)["loss1"], rel_tol=1e-6)


def test_without_crops_the_logistic_loss_is_bit_for_bit_half_the_sum_of_both_directions(make, batch):
    objective, data = make("two_loss").float(), batch(32, 32)
    apart(objective)
    data.views = [view.float() for view in data.views]
    reference = copy.deepcopy(objective)
    _, p, y = outputs(reference, data)
    y = [each.detach() for each in y]
    one = symmetric_regression(*p, *y) + 0.5 * (logistic(p[0], y[1]) + logistic(p[1], y[0]))
    loss = objective(data)["loss"]
    assert torch.equal(loss, one)
    loss.backward()
    one.backward()
    assert_same_gradients(objective, reference, rtol=0, atol=0)


def test_dense_slot(make, batch):
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


@pytest.mark.slow
@pytest.mark.parametrize("loss2", [*SLOT, "dense_byol"])
def test_weight_0_leaves_the_second_loss_alone(loss2, make, batch):
    grads = []
    for weight in (0.0, 1.0):
        objective, data = make("two_loss", loss2=loss2, loss1_weight=weight), batch(32, 32)
        apart(objective)
        terms = objective(data)
        torch.testing.assert_close(terms["loss"].detach(), weight * terms["loss1"] + terms["loss2"])
        terms["loss"].backward()
        grads.append(objective.projector[0].weight.grad)
    assert not torch.allclose(*grads)


@pytest.mark.parametrize("loss2", [*SLOT, "dense_byol"])
def test_a_second_loss_of_weight_0_is_byol_and_is_still_returned(loss2, make, batch):
    both, byol, data = make("two_loss", loss2=loss2, loss2_weight=0.0), make("byol"), batch(32, 32)
    whole = make("two_loss", loss2=loss2)
    for each in (both, byol, whole):
        apart(each)
    terms = both(data)
    torch.testing.assert_close(terms["loss2"], whole(data)["loss2"])
    for loss in (terms["loss"], byol(data)["loss"]):
        loss.backward()
    for name, parameter in byol.named_parameters():
        ours = both.get_parameter(name)
        assert (ours.grad is None) == (parameter.grad is None)
        if parameter.grad is not None:
            torch.testing.assert_close(ours.grad, parameter.grad)


def test_views_and_defaults(make):
    objective = make("two_loss")
    assert (objective.loss2, objective.loss1_weight, objective.tau0) == ("logistic", 1.0, 0.99)
    assert objective.views(96) == BYOL_VIEWS(96)
    crops = LOCAL_CROPS(View(), 4, 64, (0.05, 0.14))
    assert make("two_loss", crops=4, crop_size=64).views(96) == (*BYOL_VIEWS(96), *crops)
    assert not hasattr(objective, "dense_projector")


def test_guards(make):
    with pytest.raises(BadInput, match=r"Unknown objective.loss2 'logistik'; did you mean logistic"):
        make("two_loss", loss2="logistik")
    with pytest.raises(
        BadInput, match=r"Unknown objective.loss2 'none'; known: logistic, logistic_centred, least_squares, dense_byol"
    ):
        make("two_loss", loss2="none")
    with pytest.raises(BadInput, match=r"loss1_weight and objective.loss2_weight are both 0; set one of them above 0"):
        make("two_loss", loss1_weight=0, loss2_weight=0)
