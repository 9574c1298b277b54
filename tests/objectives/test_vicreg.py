from __future__ import annotations

import copy

import pytest
import torch
from cases import assert_same_gradients, known
from lightly.loss import VICRegLoss
from narrow import NarrowEncoder
from torch import nn

from bench.config.load import load_recipe
from bench.data.views import BYOL_VIEWS, LOCAL_CROPS, View
from bench.errors import BadInput
from bench.losses.variance_covariance import view_terms
from bench.nn.heads import per_position
from bench.objectives import build
from bench.objectives.vicregl import at, distances, matched_terms, nearest


def small(name="vicreg", **settings):
    local = {"local_dim": 6, "matches": (3, 2)} if name == "vicregl" else {}
    return build({"name": name, "projection_dim": 10, **local, **settings}, NarrowEncoder()).double()


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def ours(z1, z2):
    invariance, variance, covariance = view_terms([z1, z2])
    return 25 * invariance + 25 * variance + 2 * covariance


def naive_variance(z):
    n, d = z.shape
    total = 0.0
    for j in range(d):
        centred = z[:, j] - z[:, j].mean()
        total = total + torch.relu(1 - ((centred**2).sum() / (n - 1) + 1e-4).sqrt()) / d
    return total


def naive_covariance(z):
    n, d = z.shape
    total = 0.0
    for i in range(d):
        for j in range(d):
            if i != j:
                value = ((z[:, i] - z[:, i].mean()) * (z[:, j] - z[:, j].mean())).sum() / (n - 1)
                total = total + value**2 / d
    return total


def naive(z1, z2):
    """Eq. 6 with its weights: the variance halved, the covariance not."""
    n, d = z1.shape
    invariance = sum((z1[i, j] - z2[i, j]) ** 2 for i in range(n) for j in range(d)) / (n * d)
    variance = (naive_variance(z1) + naive_variance(z2)) / 2
    return 25 * invariance + 25 * variance + naive_covariance(z1) + naive_covariance(z2)


def same(one, other, *tensors):
    results = []
    for loss in (one, other):
        inputs = [x.clone().requires_grad_() for x in tensors]
        value = loss(*inputs).squeeze()
        results.append((value.detach(), torch.autograd.grad(value, inputs)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-11)
    assert results[0][1][0].abs().max() > 1e-3


@pytest.mark.parametrize("reference", [naive, VICRegLoss()], ids=["loops", "lightly"])
def test_value_and_gradient_equal_the_loops_and_lightlys(reference):
    same(ours, reference, 0.3 * normal(6, 5), 0.3 * normal(6, 5, seed=1))


def test_the_reference_value_on_known_tensors():
    """Another library reaches 37.086 here: it does not halve the variance."""
    z1, z2 = known()
    assert ours(z1, z2).item() == pytest.approx(19.94010862, abs=1e-7)
    doubled = ours(z1, z2) + 25 * view_terms([z1, z2])[1]
    assert doubled.item() == pytest.approx(37.086, abs=1e-3)


def test_a_collapsed_batch_has_no_covariance_and_almost_full_variance():
    z = normal(1, 5).expand(8, 5)
    invariance, variance, covariance = view_terms([z, z])
    assert (invariance.item(), covariance.item()) == (0, pytest.approx(0, abs=1e-12))
    assert variance.item() == pytest.approx(1 - 0.01)  # √ε


def test_small_crops_pair_with_full_views_only_and_weigh_in_as_views():
    z = [normal(6, 5, seed=s) for s in range(4)]
    invariance, variance, covariance = view_terms(z)
    pairs = [(0, 1), (0, 2), (0, 3), (1, 0), (1, 2), (1, 3)]
    torch.testing.assert_close(invariance, sum((z[i] - z[j]).square().mean() for i, j in pairs) / 6)
    torch.testing.assert_close(variance, sum(map(naive_variance, z)) / 4)
    torch.testing.assert_close(covariance, sum(map(naive_covariance, z)) / 4)
    assert torch.equal(view_terms([z[0]] * 4)[2], view_terms([z[0]] * 2)[2])  # the scale stays


@pytest.mark.parametrize("crops", [0, 2])
def test_loss_and_gradient_of_the_objective(crops, batch):
    sizes = (64, 64, *[32] * crops)
    objective, data = small(crops=crops, crop_size=32), batch(*sizes)
    reference = copy.deepcopy(objective)
    views = [data.views[0], data.views[1], *([torch.cat(data.views[2:])] if crops else [])]
    z = [reference.projector(reference.encoder(v)) for v in views]  # crops of one size in one forward
    z = [*z[:2], *(z[2].chunk(crops) if crops else [])]
    if crops:
        pairs = [(i, j) for i in (0, 1) for j in range(len(z)) if i != j]
        expected = 25 * sum((z[i] - z[j]).square().mean() for i, j in pairs) / len(pairs)
        expected = expected + 25 * sum(map(naive_variance, z)) / len(z)
        expected = expected + 2 * sum(map(naive_covariance, z)) / len(z)
    else:
        expected = VICRegLoss()(*z)
    terms = objective(data)
    torch.testing.assert_close(terms["loss"], expected)
    parts = 25 * terms["invariance"] + 25 * terms["variance"] + terms["covariance"]
    torch.testing.assert_close(terms["loss"].detach(), parts)
    terms["loss"].backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=1e-7, atol=1e-10)


def test_each_view_has_its_own_batch_statistics(batch):
    objective, data = small(), batch(32, 32)
    objective(data)
    assert objective.encoder.bn1.num_batches_tracked == 2


@pytest.mark.slow
def test_projectors_views_and_recipes_are_the_papers():
    for name, heads in (("vicreg", {"projector": 8192}), ("vicregl", {"projector": 8192, "local_projector": 512})):
        objective = build({"name": name}, NarrowEncoder())
        assert objective.weights == (25.0, 25.0, 1.0)
        assert objective.views(224) == BYOL_VIEWS(224)
        for head, width in heads.items():
            layers = getattr(objective, head)
            assert [type(layer) for layer in layers] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
            assert [layers[i].out_features for i in (0, 3, 6)] == [width] * 3
            assert layers[6].bias is None
    crops = build({"name": "vicreg", "crops": 4}, NarrowEncoder()).views(224)
    assert crops == (*BYOL_VIEWS(224), *LOCAL_CROPS(View(), 4, 96, (0.05, 0.14)))
    recipe = load_recipe("imagenet_vicreg")
    assert (recipe.batch_size, recipe.epochs, recipe.optimizer.lr, recipe.optimizer.weight_decay) == (
        2048,
        1000,
        0.2,
        1e-6,
    )


# ------------------------------------------------------------------------------------------- VICRegL


def test_matched_terms_equal_the_loops_and_halve_the_covariance():
    x, y = 0.3 * normal(6, 3, 4), 0.3 * normal(6, 3, 4, seed=1)
    invariance, variance, covariance = matched_terms(x, y)
    sides = [each[:, m] for each in (x, y) for m in range(3)]
    torch.testing.assert_close(invariance, (x - y).square().mean())
    torch.testing.assert_close(variance, sum(map(naive_variance, sides)) / 6)
    torch.testing.assert_close(covariance, sum(map(naive_covariance, sides)) / 6)


def test_the_closest_pairs_stay_in_order_of_their_positions():
    distance = torch.tensor([[[5.0, 1.0, 9.0], [0.5, 7.0, 8.0], [4.0, 3.0, 2.0], [6.0, 6.5, 9.0]]])
    positions, partners = nearest(distance, 2)
    assert positions.tolist() == [[0, 1]]  # the closest of all is that of position 1
    assert partners.tolist() == [[1, 0]]
    assert nearest(distance, None)[0].tolist() == nearest(distance, 20)[0].tolist() == [[0, 1, 2, 3]]
    maps = torch.arange(8.0).view(1, 4, 2)
    assert at(maps, positions).tolist() == [[[0.0, 1.0], [2.0, 3.0]]]
    torch.testing.assert_close(distances(maps, maps)[0, 0], torch.arange(4.0) * 8**0.5)


def matched(x, y, where_x, where_y, count):
    """One direction of main_vicregl.py:569-605, image by image: what stays of x N×S×D, and its nearest of y."""
    filtered, partners = [], []
    for i in range(len(x)):
        apart = [[(p - q).norm().item() for q in where_y[i]] for p in where_x[i]]
        closest = [min(row) for row in apart]
        kept = sorted(sorted(range(len(closest)), key=closest.__getitem__)[:count])
        filtered.append(torch.stack([x[i, k] for k in kept]))
        partners.append(torch.stack([y[i, apart[k].index(closest[k])] for k in kept]))
    return torch.stack(filtered), torch.stack(partners)


def terms_of(x, y):
    """_vicreg_loss, main_vicregl.py:284-314: N×M×D twice."""
    sides = [each[:, m] for each in (x, y) for m in range(x.shape[1])]
    variance, covariance = (sum(map(naive, sides)) / len(sides) for naive in (naive_variance, naive_covariance))
    return 25 * (x - y).square().mean() + 25 * variance + covariance


def local(y, where, counts):
    """Half of each ordered pair of views is matched with the first count, the other with the second, :349-364."""
    total = 0.0
    for i, j in ((0, 1), (1, 0)):
        first = terms_of(*matched(y[i], y[j], where[i], where[j], counts[0]))
        second = terms_of(*matched(y[j], y[i], where[j], where[i], counts[1]))
        total = total + (first + second) / 2 / 2
    return total


@pytest.mark.parametrize("flip_places", [False, True])
@pytest.mark.parametrize("feature_matches", [None, (5, 2)])
def test_loss_and_gradient_equal_the_loops_local_and_global(feature_matches, flip_places, batch):
    objective = small("vicregl", alpha=0.8, feature_matches=feature_matches, flip_places=flip_places)
    data = batch(96, 96)
    data.boxes = [
        torch.tensor([[0.0, 0.1, 0.6, 0.7, 1.0]], dtype=torch.float64).repeat(4, 1),
        torch.tensor([[0.23, 0.05, 0.91, 0.8, 0.0]], dtype=torch.float64).repeat(4, 1),
    ]
    reference = copy.deepcopy(objective)
    maps = [reference.encoder.last_map(v) for v in data.views]
    y = [per_position(reference.local_projector, r).flatten(1, 2) for r in maps]
    z = [reference.projector(reference.encoder.pool(r)) for r in maps]
    places = [spots(box, 3, flip_places) for box in data.boxes]
    loss_global = 25 * (z[0] - z[1]).square().mean()
    loss_global = loss_global + sum(25 * naive_variance(each) + naive_covariance(each) for each in z) / 2
    by_feature = local(y, [each.detach() for each in y], feature_matches or (9, 9))
    by_location = local(y, places, (3, 2))
    expected = 0.8 * loss_global + 0.2 * (by_feature + by_location)
    terms = objective(data)
    torch.testing.assert_close(terms["loss_feature"], by_feature.detach())
    torch.testing.assert_close(terms["loss_location"], by_location.detach())
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-8, atol=1e-8)
    terms["loss"].backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=1e-6, atol=1e-9)


def spots(boxes, side, flip):
    """Centres of side×side bins, row by row, N×(side²)×2; a mirrored view's from the right if `flip`."""
    grid = []
    for x0, y0, x1, y1, flipped in boxes.tolist():
        share = [(k + 0.5) / side for k in range(side)]
        across = [x1 - s * (x1 - x0) if flip and flipped else x0 + s * (x1 - x0) for s in share]
        grid.append([(x, y0 + s * (y1 - y0)) for s in share for x in across])
    return torch.tensor(grid, dtype=torch.float64)


def test_matches_by_location_follow_a_flip_only_if_they_are_told_to(batch):
    """no_flip_grid is 1 in the code's commands (transforms.py:327)."""
    for follows in (False, True):
        objective, data = small("vicregl", flip_places=follows), batch(64, 64)
        data.boxes[0][:] = torch.tensor([0.0, 0.0, 0.9, 1.0, 0.0])
        before = objective(data)
        data.boxes[0][:, 4] = 1.0
        after = objective(data)
        assert (abs(after["loss_location"] - before["loss_location"]).item() > 1e-6) == follows
        assert after["loss_feature"] == pytest.approx(before["loss_feature"].item(), abs=1e-9)


def test_alpha_1_is_the_global_loss_alone(batch):
    data = batch(64, 64)
    terms = small("vicregl", alpha=1.0)(data)
    torch.testing.assert_close(terms["loss"].detach(), terms["loss_global"])


def test_defaults_of_vicregl():
    objective = build({"name": "vicregl"}, NarrowEncoder())
    assert (objective.alpha, objective.matches) == (0.9, (20, 4))
    assert (objective.feature_matches, objective.flip_places) == ((None,), False)


def test_the_recipe_of_vicregl_is_that_of_its_command():
    """README, "Multi-node training": 300 epochs, batch 2048; main_vicregl.py:70-74."""
    recipe = load_recipe("imagenet_vicregl")
    assert (recipe.epochs, recipe.batch_size, recipe.schedule.warmup_epochs) == (300, 2048, 10)
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.weight_decay) == ("lars", 0.2, 1e-6)
    assert recipe.schedule.final_ratio == 0.001
    assert (recipe.objective["crops"], recipe.objective["alpha"]) == (0, 0.9)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("vicreg", {"projection_dim": 0}, r"objective\.projection_dim is 0; set it to 1 or more"),
        ("vicreg", {"variance_weight": -1.0}, r"objective\.variance_weight is -1\.0; set it to 0 or more"),
        ("vicreg", {"crops": -2}, r"objective\.crops is -2; set it to 0"),
        ("vicregl", {"local_dim": 0}, r"objective\.local_dim is 0; set it to 1 or more"),
        ("vicregl", {"alpha": 1.5}, r"objective\.alpha is 1\.5; set it within 0 and 1"),
        ("vicregl", {"matches": (20, 0)}, r"objective\.matches is \(20, 0\); set each to 1 or more"),
        ("vicregl", {"feature_matches": (0, 4)}, r"objective\.feature_matches is \(0, 4\); set each to 1 or more"),
        ("vicregl", {"covariance_weight": -1.0}, r"objective\.covariance_weight is -1\.0; set it to 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, settings, words):
    with pytest.raises(BadInput, match=words):
        small(name, **settings)
