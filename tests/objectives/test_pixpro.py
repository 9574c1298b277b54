from __future__ import annotations

import math

import pytest
import torch
from cases import apart, assert_same_gradients

from bench.errors import BadInput
from bench.objectives.pixpro import propagate


@pytest.fixture
def build(make):
    return lambda **settings: apart(make("pixpro", **settings))


@pytest.fixture
def data(batch):
    """Four images: overlapping views, one flipped, views that share nothing, and equal views."""
    made = batch(96, 64)  # 3×3 and 2×2 positions
    made.boxes = [
        torch.tensor([[0.1, 0.0, 0.8, 0.7, 0], [0.0, 0.0, 1.0, 1.0, 0], [0, 0, 0.2, 0.2, 0], [0, 0, 1, 1, 0]]).double(),
        torch.tensor([[0.0, 0.2, 0.6, 0.9, 1], [0.2, 0.1, 0.7, 0.9, 1], [0.7, 0.7, 1, 1, 1], [0, 0, 1, 1, 0]]).double(),
    ]
    return made


def cos(a, b):
    return sum(a * b) / sum(a * a).sqrt() / sum(b * b).sqrt()


def spots(box, h, w):
    """The centres of a view's bins, row by row, and the bins' diagonal."""
    x0, y0, x1, y1, flipped = box.tolist()
    across = [(x0 + (x1 - x0) * (c + 0.5) / w) if not flipped else (x1 - (x1 - x0) * (c + 0.5) / w) for c in range(w)]
    down = [y0 + (y1 - y0) * (r + 0.5) / h for r in range(h)]
    return [(x, y) for y in down for x in across], math.hypot((x1 - x0) / w, (y1 - y0) / h)


def pairs(box_a, box_b, size_a, size_b, ratio=0.7):
    (one, diagonal), (other, second) = spots(box_a, *size_a), spots(box_b, *size_b)
    largest = max(diagonal, second)
    return [(i, j) for i, a in enumerate(one) for j, b in enumerate(other) if math.dist(a, b) / largest < ratio]


def rows_of(head, maps):
    """N×C×h×w through a head with batch norm over all images and positions: N×S×D."""
    n, c, h, w = maps.shape
    return head(maps.permute(0, 2, 3, 1).reshape(-1, c)).view(n, h * w, -1)


def naive(objective, data, loss="pixpro", gamma=2.0, tau=0.3):
    total = 0
    maps = [objective.encoder.last_map(v) for v in data.views]
    targets = [objective.target_encoder.last_map(v) for v in data.views]
    xs = [rows_of(objective.projector, m) for m in maps]
    zs = [rows_of(objective.target_projector, m).detach() for m in targets]
    for a, b in ((0, 1), (1, 0)):
        for image in range(4):
            x, z = xs[a][image], zs[b][image]
            matches_of_image = pairs(data.boxes[a][image], data.boxes[b][image], maps[a].shape[2:], maps[b].shape[2:])
            if not matches_of_image:
                continue
            if loss == "pixpro":
                g = objective.transform(x)
                y = [
                    sum(max(cos(x[i], x[j]), torch.tensor(0.0)) ** gamma * g[j] / g[j].norm() for j in range(len(x)))
                    for i in range(len(x))
                ]
                total = total - 2 * sum(cos(y[i], z[j]) for i, j in matches_of_image) / len(matches_of_image) / 4
            else:
                matched = sorted({i for i, _ in matches_of_image})
                for i in matched:
                    values = [torch.exp(cos(x[i], row) / tau) for row in z]
                    share = sum(values[j] for k, j in matches_of_image if k == i) / sum(values)
                    total = total - torch.log(share) / len(matched) / 4
    return total


@pytest.mark.parametrize("loss", ["pixpro", "pixcontrast"])
def test_value_and_gradient_are_those_of_the_formula(build, data, loss):
    one, other = build(loss=loss), build(loss=loss)
    expected = naive(other, data, loss)
    value = one(data)["loss"]
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    assert_same_gradients(one, other, frozen="target_")


def test_the_flip_matters(build, data):
    loss = build()(data)["loss"]
    data.boxes[1][:, 4] = 0.0
    assert abs(build()(data)["loss"] - loss) > 1e-4


def test_images_without_a_common_spot_stay_in_the_mean(build, data):
    loss = build()(data)["loss"].item()
    one = naive(build(), data).item()  # it divides by four, though three images have pairs
    assert loss == pytest.approx(one)
    assert abs(loss * 4 / 3 - one) > 1e-3


def test_identical_predictions_and_targets_give_minus_four(monkeypatch, build, batch):
    objective, data = build(), batch(64, 64)
    constant = torch.ones(4, 2, 2, 6, dtype=torch.float64)
    monkeypatch.setattr("bench.objectives.pixpro.per_position", lambda head, maps: constant)
    monkeypatch.setattr("bench.objectives.pixpro.propagate", lambda x, values, gamma: x)
    assert objective(data)["loss"].item() == pytest.approx(-4.0)


def test_nothing_propagates_between_opposite_positions():
    x = torch.tensor([[[[1.0, 0.0], [-1.0, 0.0]]]]).double()  # one row of two positions
    values = torch.tensor([[[[0.0, 3.0], [5.0, 0.0]]]]).double()
    torch.testing.assert_close(propagate(x, values, 2.0), torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]]).double())


def test_a_high_gamma_leaves_each_position_to_itself(build):
    x = torch.randn(2, 3, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(propagate(x, x, 1e6), torch.nn.functional.normalize(x, dim=3))


def test_views_and_defaults(make):
    objective = make("pixpro", hidden_dim=4096, projection_dim=256)
    # contrast/data/transform.py, aug BYOL with crop 0.08; transform_coord.py resizes bilinearly.
    for view, blur, solarize in zip(objective.views(224), (1.0, 0.1), (0.0, 0.2), strict=True):
        assert (view.size, view.scale, view.interpolation, view.flip) == (224, (0.08, 1.0), "bilinear", 0.5)
        assert (view.jitter, view.jitter_p, view.grey) == ((0.4, 0.4, 0.2, 0.1), 0.8, 0.2)
        assert (view.blur, view.blur_sigma, view.solarize) == (blur, (0.1, 2.0), solarize)
    assert (objective.gamma, objective.ratio, objective.tau0, objective.temperature) == (2.0, 0.7, 0.99, 0.3)
    shapes = [tuple(p.shape) for p in objective.projector.parameters()]
    assert shapes == [(4096, 24), (4096,), (4096,), (256, 4096), (256,)]
    assert [tuple(p.shape) for p in objective.transform.parameters()] == [(256, 256), (256,)]


def test_guards(make):
    with pytest.raises(BadInput, match="view_size 32 leaves a map of one position; set view_size to 64"):
        make("pixpro").check(4, 32)
    with pytest.raises(BadInput, match=r"Unknown objective.loss 'pixpr'; did you mean pixpro"):
        make("pixpro", loss="pixpr")
    for settings in ({"gamma": 0.5}, {"ratio": 0.0}, {"temperature": 0.0}, {"tau0": 2.0}, {"hidden_dim": 0}):
        ((name, value),) = settings.items()
        with pytest.raises(BadInput, match=rf"objective\.{name} is {value}; .*set it"):
            make("pixpro", **settings)
