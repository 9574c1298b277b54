from __future__ import annotations

import math

import pytest
import torch
from cases import images_batch
from narrow import NarrowEncoder

from bench.errors import BadInput
from bench.nn.colour import MEAN, STD, normalised_rgb, unnormalised
from bench.objectives import build


def make(**settings):
    all_settings = {"name": "denoising_autoencoder", "stride": 8, "width": 6, **settings}
    return build(all_settings, NarrowEncoder()).double()


def naive(y, x, kind):
    """The loss by loops over images and values."""
    total = 0.0
    for i in range(len(x)):
        for a, b in zip(y[i].flatten(), x[i].flatten(), strict=True):
            p = 1 / (1 + torch.exp(-a))
            total = total + ((b - p) ** 2 if kind == "squared" else -(b * torch.log(p) + (1 - b) * torch.log(1 - p)))
    return total / len(x)


def blocks(x, factor):
    """Averages of factor×factor pixels, by loops."""
    side = x.shape[-1] // factor
    out = torch.zeros(len(x), 3, side, side, dtype=x.dtype)
    for r in range(side):
        for c in range(side):
            out[:, :, r, c] = x[:, :, r * factor : (r + 1) * factor, c * factor : (c + 1) * factor].mean((2, 3))
    return out


@pytest.mark.parametrize("kind", ["squared", "cross_entropy"])
@pytest.mark.parametrize("training", [True, False])
def test_loss_and_gradient_are_those_of_the_formula_against_the_clean_image(kind, training):
    objective, data = make(reconstruction=kind).train(training), images_batch(2, (64,))
    (v,) = data.views
    mean, std = (torch.tensor(values, dtype=v.dtype).view(1, 3, 1, 1) for values in (MEAN, STD))
    clean = (v * std + mean).clamp(0, 1)
    torch.manual_seed(3)
    terms = objective(data)
    torch.manual_seed(3)
    seen = (objective.corrupt(clean) - mean) / std if training else v
    y = objective.decoder(objective.encoder.last_map(seen))
    assert y.shape == (2, 3, 8, 8)
    x = blocks(clean, 8)
    expected = naive(y, x, kind)
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(terms["squared_error"], (y.sigmoid() - x).square().mean(), rtol=1e-9, atol=0)
    weights = [objective.encoder.conv1.weight, objective.decoder[-1].weight]
    ours, theirs = (torch.autograd.grad(loss, weights) for loss in (terms["loss"], expected))
    assert all(grad.abs().max() > 1e-6 for grad in theirs)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10)


def test_masking_sets_exactly_that_share_of_each_images_values_to_zero():
    x = torch.rand(3, 3, 16, 16, dtype=torch.float64) * 0.8 + 0.1
    damaged = make(amount=0.25).corrupt(x)
    assert ((damaged == 0).flatten(1).sum(1) == 192).all()
    kept = damaged != 0
    assert torch.equal(damaged[kept], x[kept])
    assert (kept[0] != kept[1]).any()


@pytest.mark.parametrize("noise", ["masking", "salt_pepper", "gaussian"])
def test_values_are_damaged_one_by_one_and_not_whole_pixels(noise):
    """A colour that stays beside one that is hit is what a pixel's noise would take away."""
    torch.manual_seed(0)
    x = torch.full((2, 3, 64, 64), 0.6, dtype=torch.float64)
    damaged = make(noise=noise, amount=0.3).corrupt(x) - x
    if noise == "gaussian":
        correlation = torch.corrcoef(damaged.movedim(1, 0).flatten(1))
        assert (correlation - torch.eye(3)).abs().max() < 0.05
    else:
        hit = (damaged != 0).sum(1)  # values of each pixel
        shares = [(hit == count).double().mean().item() for count in range(4)]
        assert shares == pytest.approx([0.343, 0.441, 0.189, 0.027], abs=0.02)  # 3 coins of 0.3


def test_salt_and_pepper_are_about_as_frequent():
    x = torch.full((2, 3, 32, 32), 0.5, dtype=torch.float64)
    damaged = make(noise="salt_pepper", amount=0.5).corrupt(x)
    assert ((damaged != 0.5).flatten(1).sum(1) == 1536).all()
    share = (damaged == 1).double().mean() / 0.5
    assert share.item() == pytest.approx(0.5, abs=0.05)
    assert set(damaged.unique().tolist()) == {0.0, 0.5, 1.0}


def test_gaussian_noise_has_the_standard_deviation_that_is_asked_for():
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    noise = make(noise="gaussian", amount=0.1).corrupt(x) - x
    assert noise.std().item() == pytest.approx(0.1, rel=0.03)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.005)


def test_images_are_damaged_in_training_only_and_anew_at_every_step():
    objective, data = make(), images_batch(2, (64,))
    torch.manual_seed(0)
    first = objective(data)["loss"]
    assert objective(data)["loss"] != first
    torch.manual_seed(0)
    assert objective(data)["loss"] == first
    objective.eval()
    assert objective(data)["loss"] == objective(data)["loss"]


def test_the_loss_is_a_sum_over_values_so_that_it_grows_with_the_resolution():
    data = images_batch(2, (64,))
    losses = []
    for stride in (8, 4):
        objective = make(stride=stride).eval()
        torch.nn.init.zeros_(objective.decoder[-1].weight)
        torch.nn.init.zeros_(objective.decoder[-1].bias)
        losses.append(objective(data)["loss"].item() / (3 * (64 // stride) ** 2))
    assert losses == pytest.approx([math.log(2)] * 2)  # an even chance for each value costs ln 2 nats


def test_normalising_inverts_what_undoes_it():
    rgb = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(unnormalised(normalised_rgb(rgb)), rgb)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(BadInput, match="view_size 100 is no multiple of its stride; set view_size to 96"):
        make().check(4, 100)
    make().check(4, 224)
