"""Colorization and the split-brain autoencoder, which share their bins and their decoder."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import images_batch
from narrow import NarrowEncoder
from skimage.color import rgb2lab

from bench.errors import BadInput
from bench.nn.colour import MEAN, STD, from_lab, halves, lab, normalised_rgb
from bench.nn.colour_bins import gamut_bins
from bench.objectives import build
from bench.objectives.colorization import histogram, rarity_weights


def objective(name="colorization", **more):
    return build({"name": name, "hidden_dim": 8, **more}, NarrowEncoder()).double()


def photographs(n=2, size=32):
    """Smooth colours in [0, 1], and the batch of them as it would come."""
    torch.manual_seed(0)
    pixels = F.interpolate(torch.rand(n, 3, 4, 4, dtype=torch.float64), size=size, mode="bilinear")
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (MEAN, STD))
    batch = images_batch(n, (size,))
    batch.views = [(pixels - mean) / std]
    return pixels, batch


def naive_colour_loss(logits, ab, weights, grey=()):
    """Of one position after another, over dense soft labels; images of the numbers `grey` weigh nothing."""
    bins, total = gamut_bins().double(), 0.0
    n, _, h, w = logits.shape
    for i in set(range(n)) - set(grey):
        for y in range(h):
            for x in range(w):
                squared = (bins - ab[i, :, y, x]).square().sum(1)
                ten = squared.argsort()[:10]
                z = torch.exp(-squared[ten] / 50)
                z = z / z.sum()
                log_p = F.log_softmax(logits[i, :, y, x], dim=0)
                total = total - weights[ten[0]] * sum(z[k] * log_p[ten[k]] for k in range(10))
    return total / (n * h * w)


def quarter_lab(pixels):
    """L, a and b by scikit-image, of every fourth pixel of every fourth row from the first on."""
    values = torch.stack([torch.from_numpy(rgb2lab(p.movedim(0, -1).numpy())).movedim(-1, 0) for p in pixels])
    rows = torch.arange(0, values.shape[2], 4)
    return values[:, :, rows][:, :, :, rows]


@pytest.mark.parametrize("rebalance", [True, False])
def test_the_loss_and_its_gradient_are_the_papers_sum_over_pixels_and_bins(rebalance):
    ours, theirs = (objective(rebalance=rebalance) for _ in range(2))
    pixels, batch = photographs()
    pixels[1] = 0.02 * (pixels[1] - 0.5) + 0.4  # as good as grey: |a| and |b| below 5
    batch.views = [normalised_rgb(pixels)]
    prior = torch.rand(313, dtype=torch.float64).softmax(0)
    ours.prior.copy_(prior)
    returned = ours(batch)["loss"]
    returned.backward()
    ab = quarter_lab(pixels)[:, 1:]
    grey = lab(batch.views[0])[:, :1]
    x = from_lab(torch.cat([grey, 0 * grey, 0 * grey], dim=1))
    weights = rarity_weights(prior) if rebalance else torch.ones(313)
    assert 0.5 < ab[1].abs().max() < 5 < ab[0].abs().max()
    loss = naive_colour_loss(theirs.decoder(theirs.encoder.last_map(x)), ab, weights, grey=[1])
    loss.backward()
    torch.testing.assert_close(returned, loss, rtol=1e-5, atol=0)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)


def test_the_trunk_sees_lightness_alone_as_three_equal_channels():
    model, seen = objective(), []
    model.encoder.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    _, batch = photographs()
    model(batch)
    assert torch.equal(seen[1], batch.views[0])  # for running statistics alone
    assert model.encoder.conv1.in_channels == 3  # transfers to RGB as it is
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (MEAN, STD))
    rgb = seen[0] * std + mean
    torch.testing.assert_close(rgb[:, 1:], rgb[:, :1].expand(-1, 2, -1, -1), atol=5e-4, rtol=0)
    torch.testing.assert_close(lab(seen[0])[:, 0], lab(batch.views[0])[:, 0], atol=0.05, rtol=0)


def test_there_is_a_distribution_for_every_fourth_pixel():
    model = objective()
    assert model.decoder(model.encoder.last_map(images_batch(2, (64,)).views[0])).shape == (2, 313, 16, 16)


def test_a_histogram_is_the_mean_of_soft_labels():
    """Of two pixels, with two bins each."""
    nearest = torch.tensor([[[[0, 3]], [[1, 1]]]])
    shares = torch.tensor([[[[0.75, 0.5]], [[0.25, 0.5]]]])
    torch.testing.assert_close(
        histogram(nearest, shares, 5), torch.tensor([0.375, 0.375, 0, 0.25, 0], dtype=torch.float64), rtol=0, atol=0
    )


def test_the_prior_starts_uniform_and_follows_the_datas_colours():
    model = objective(prior_momentum=0.75)
    _, batch = photographs()
    start = model.prior.clone()
    torch.testing.assert_close(start, torch.full_like(start, 1 / 313))
    model(batch)
    moved = model.prior.clone()
    assert moved.sum().item() == pytest.approx(1.0)
    now = 4 * moved - 3 * start
    assert now.min() > -1e-6  # a distribution, too: that of the batch
    model(batch)
    torch.testing.assert_close(model.prior, 0.75 * moved + 0.25 * now)
    still = objective(rebalance=False)
    still(batch)
    torch.testing.assert_close(still.prior, start)


def test_grey_weighs_less_than_a_rare_colour():
    """Rebalancing: after many grey images, a coloured pixel weighs more."""
    model = objective(prior_momentum=0.0)
    batch = images_batch(2, (32,))
    batch.views = [torch.zeros(2, 3, 32, 32, dtype=torch.float64)]  # the mean colour, greyish
    model(batch)
    weights = rarity_weights(model.prior)
    assert weights[model.prior.argmax()] < 1.05
    assert weights.max() > 10 * weights[model.prior.argmax()]


def test_both_sides_of_the_split_are_predicted_from_the_other_alone():
    ours, theirs = objective("split_brain"), objective("split_brain")
    pixels, batch = photographs()
    terms = ours(batch)
    terms["loss"].backward()
    values = quarter_lab(pixels)
    full = lab(batch.views[0])
    grey = from_lab(torch.cat([full[:, :1], 0 * full[:, 1:]], dim=1))
    coloured = from_lab(torch.cat([0 * full[:, :1] + 50, full[:, 1:]], dim=1))
    maps = theirs.encoder.last_map(torch.cat([grey, coloured]))
    colour = naive_colour_loss(theirs.colour_decoder(maps[:2]), values[:, 1:], torch.ones(313, dtype=torch.float64))
    logits = theirs.lightness_decoder(maps[2:])
    level = values[:, 0].floor().long()
    lightness = -sum(
        F.log_softmax(logits[i, :, y, x], dim=0)[level[i, y, x]] for i in range(2) for y in range(8) for x in range(8)
    )
    loss = colour + lightness / 128
    loss.backward()
    torch.testing.assert_close(terms["loss_colour"], colour.detach(), rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["loss_lightness"], lightness.detach() / 128, rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["loss"].detach(), loss.detach(), rtol=1e-5, atol=0)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)


def test_neither_half_shows_anything_of_the_other():
    values = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    mild = torch.cat([40 + 20 * values[:, :1], 20 * values[:, 1:] - 10], dim=1)  # well inside the gamut
    brighter = mild + torch.tensor([15.0, 0.0, 0.0]).view(3, 1, 1)
    redder = mild + torch.tensor([0.0, 12.0, -5.0]).view(3, 1, 1)
    grey, coloured = halves(from_lab(mild))
    assert (halves(from_lab(redder))[0] - grey).abs().max() < 1e-3
    assert (halves(from_lab(brighter))[1] - coloured).abs().max() < 1e-3
    assert (halves(from_lab(brighter))[0] - grey).abs().max() > 0.1
    assert (halves(from_lab(redder))[1] - coloured).abs().max() > 0.1


def test_both_halves_share_the_norms_statistics():
    """Two batches would be normalised apart in training, and by one mixture when the trunk is frozen."""
    model, seen = objective("split_brain", image_statistics=False), []
    model.encoder.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    _, batch = photographs()
    model(batch)
    (together,) = seen
    assert torch.equal(together, torch.cat(halves(batch.views[0])))
    alone = NarrowEncoder().double()
    alone(together)
    torch.testing.assert_close(model.encoder.bn1.running_var, alone.bn1.running_var)


def test_split_brain_features_are_those_of_both_halves_joined():
    model = objective("split_brain").eval()
    _, batch = photographs()
    returned = model.outputs(batch.views[0])
    one, other = (model.encoder(half) for half in halves(batch.views[0]))
    torch.testing.assert_close(returned["halves"], torch.cat([one, other], dim=1))
    torch.testing.assert_close(returned["backbone"], model.encoder(batch.views[0]))


@pytest.mark.parametrize("name", ["colorization", "split_brain"])
def test_views_keep_their_colours_and_settings_that_cannot_work_are_refused(name):
    (view,) = objective(name).views(224)
    assert (view.jitter, view.grey, view.solarize, view.blur) == (None, 0.0, 0.0, 0.0)
    objective(name).check(2, 224)
    with pytest.raises(BadInput, match="view_size 250 is no multiple of its stride; set view_size to 256"):
        objective(name).check(2, 250)
    with pytest.raises(BadInput, match=r"objective\.hidden_dim is 0; set it to 1"):
        objective(name, hidden_dim=0)
