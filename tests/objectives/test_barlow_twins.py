from __future__ import annotations

import copy

import pytest
import torch
from cases import assert_same_gradients, known
from lightly.loss import BarlowTwinsLoss
from narrow import NarrowEncoder
from torch import nn

from bench.config.load import load_recipe
from bench.data.views import BYOL_VIEWS, LOCAL_CROPS, View
from bench.objectives import build
from bench.objectives.barlow_twins import cross_correlation, to_identity
from bench.train.optim import build_optimizer, set_rates


def small(**settings):
    return build({"name": "barlow_twins", "projection_dim": 10, **settings}, NarrowEncoder()).double()


def ours(z1, z2, weight):
    invariance, redundancy = to_identity(cross_correlation(z1, z2))
    return invariance + weight * redundancy


def naive(z1, z2, weight):
    """Algorithm 1, entry by entry, with the ε of a batch norm."""
    n, d = z1.shape
    total = 0.0
    for i in range(d):
        for j in range(d):
            a, b = z1[:, i] - z1[:, i].mean(), z2[:, j] - z2[:, j].mean()
            c = (a * b).sum() / n / ((a * a).sum() / n + 1e-5).sqrt() / ((b * b).sum() / n + 1e-5).sqrt()
            total = total + ((1 - c) ** 2 if i == j else weight * c**2)
    return total


@pytest.mark.parametrize("reference", ["loops", "lightly"])
def test_value_and_gradient_equal_the_loops_and_lightlys(reference):
    theirs = naive if reference == "loops" else lambda a, b, w: BarlowTwinsLoss(w)(a, b)
    results = []
    for loss in (lambda a, b: ours(a, b, 0.0051), lambda a, b: theirs(a, b, 0.0051)):
        inputs = [x.clone().requires_grad_() for x in known(6, 5)]
        value = loss(*inputs)
        results.append((value.detach(), torch.autograd.grad(value, inputs)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)
    assert results[0][1][0].abs().max() > 1e-3


def test_the_reference_value_on_known_tensors():
    """It is known for the tensors before they are scaled, which the ε of a batch norm notices."""
    z1, z2 = known()
    assert ours(z1 / 0.3, z2 / 0.3, 0.005).item() == pytest.approx(21.41193, abs=1e-5)
    assert ours(z1, z2, 0.005).item() == pytest.approx(21.41193, rel=2e-4)


def test_scale_shift_and_order_of_images_do_not_matter_and_views_may_be_exchanged():
    z1, z2 = known()
    value = ours(z1, z2, 0.0051)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    for other in ((1e3 * z1 + 7, 1e3 * z2 - 2), (z1[order], z2[order]), (z2, z1)):
        torch.testing.assert_close(ours(*other, 0.0051), value, rtol=1e-3, atol=1e-3)


def test_equal_views_without_redundancy_have_loss_0_and_opposite_ones_4_a_dimension():
    z = torch.linalg.qr(known(32, 8)[0] - known(32, 8)[0].mean(0))[0] * 100
    z = z - z.mean(0)
    invariance, redundancy = to_identity(cross_correlation(z, z))
    assert invariance.item() == pytest.approx(0, abs=1e-6)
    assert redundancy.item() == pytest.approx(0, abs=1e-6)
    invariance, _ = to_identity(cross_correlation(z, -z))
    assert invariance.item() == pytest.approx(4 * 8, abs=1e-4)


def test_collapsed_embeddings_have_a_loss_of_1_for_each_dimension():
    z = torch.ones(16, 6)
    invariance, redundancy = to_identity(cross_correlation(z, z))
    assert (invariance.item(), redundancy.item()) == (pytest.approx(6.0), pytest.approx(0.0))


def test_redundancy_counts_both_triangles_and_no_diagonal():
    c = torch.tensor([[0.5, 2.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
    invariance, redundancy = to_identity(c)
    assert (invariance.item(), redundancy.item()) == (0.25 + 0.0 + 4.0, 4.0 + 9.0)


def test_loss_and_gradient_of_the_objective_are_lightlys(batch):
    objective, data = small(), batch(32, 32)
    reference = copy.deepcopy(objective)
    z = [reference.projector(reference.encoder(view)) for view in data.views]
    expected = BarlowTwinsLoss(0.0051)(*z)
    terms = objective(data)
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["loss"].detach(), terms["invariance"] + 0.0051 * terms["redundancy"])
    terms["loss"].backward()
    expected.backward()
    assert_same_gradients(objective, reference)


def test_the_gradient_is_that_of_the_references_gpus_and_the_loss_as_it_was(batch):
    """Each of them sums C outside of autograd (main.py:215-216): its gradient is that of its own share of C."""
    objective, data, gpus = small(gradient_ranks=2), batch(32, 32), 2
    reference = copy.deepcopy(objective)
    z1, z2 = (reference.projector(reference.encoder(view)) for view in data.views)
    a, b = ((z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt() for z in (z1, z2))  # by a synchronised norm
    whole, losses = a.T @ b / len(a), []
    for rows in torch.arange(len(a)).chunk(gpus):
        own = a[rows].T @ b[rows] / len(a)
        c = own + (whole - own).detach()
        losses.append((c.diagonal() - 1).square().sum() + 0.0051 * (c - c.diagonal().diag()).square().sum())
    loss = objective(data)["loss"]
    for theirs in losses:
        torch.testing.assert_close(loss, theirs)
    loss.backward()
    torch.stack(losses).mean().backward()  # the mean over GPUs that DDP takes
    assert_same_gradients(objective, reference)


def test_small_crops_are_compared_with_both_full_views_in_a_mean_that_keeps_its_scale(batch):
    objective, data = small(crops=3, crop_size=32), batch(64, 64, 32, 32, 32)
    reference = copy.deepcopy(objective)

    def project(images):
        return reference.projector(reference.encoder(images))

    v1, v2, *crops = data.views
    z = [project(v1), project(v2), *project(torch.cat(crops)).chunk(3)]
    pairs = [(a, b) for a in range(5) for b in (0, 1) if a != b]  # 2 of full views, 6 of crops
    expected = sum(naive(z[a], z[b], 0.0051) for a, b in pairs) / len(pairs)
    terms = objective(data)
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["loss"].detach(), terms["invariance"] + 0.0051 * terms["redundancy"])
    terms["loss"].backward()
    expected.backward()
    assert_same_gradients(objective, reference)


def test_without_crops_the_terms_are_those_of_one_matrix_bit_for_bit(batch):
    objective, data = small(), batch(32, 32)
    reference = copy.deepcopy(objective)
    invariance, redundancy = to_identity(
        cross_correlation(*(reference.projector(reference.encoder(v)) for v in data.views))
    )
    assert torch.equal(objective(data)["loss"], invariance + 0.0051 * redundancy)


@pytest.mark.slow
def test_the_projector_has_three_layers_without_bias_and_no_last_norm():
    objective = build({"name": "barlow_twins"}, NarrowEncoder())
    assert [type(layer) for layer in objective.projector] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    linear = [layer for layer in objective.projector if isinstance(layer, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linear] == [(8192, 24), (8192, 8192), (8192, 8192)]
    assert all(layer.bias is None for layer in linear)
    assert objective.weight == 0.0051
    assert objective.views(224) == BYOL_VIEWS(224)
    assert small(crops=4).views(224) == (*BYOL_VIEWS(224), *LOCAL_CROPS(View(), 4, 96, (0.05, 0.14)))


def test_biases_and_norms_have_a_rate_of_their_own():
    recipe = load_recipe("imagenet_barlow_twins")
    groups = small().param_groups()
    optimizer = build_optimizer(groups, recipe.optimizer, 256)
    set_rates(optimizer, 0.2, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2, 0.0048])
    assert (recipe.batch_size, recipe.epochs, recipe.optimizer.weight_decay) == (2048, 1000, 1e-6)  # main.py:29-38


def test_what_makes_no_sense_is_refused():
    for pair in ((torch.ones(1, 3), torch.ones(1, 3)), (torch.ones(4, 3), torch.ones(5, 3))):
        with pytest.raises(ValueError, match="needs two N×D with N ≥ 2"):
            cross_correlation(*pair)
