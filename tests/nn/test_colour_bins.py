from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull
from skimage.color import lab2rgb, rgb2lab

from bench.nn.colour import MEAN, STD, from_lab, lab
from bench.nn.colour_bins import gamut_bins, soft_labels
from bench.objectives.colorization import histogram, rarity_weights


def normal(pixels):
    mean, std = (torch.tensor(v, dtype=pixels.dtype).view(3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std


def plain(images):
    mean, std = (torch.tensor(v, dtype=images.dtype).view(3, 1, 1) for v in (MEAN, STD))
    return images * std + mean


def test_from_lab_undoes_lab_and_is_scikit_images():
    pixels = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(from_lab(lab(normal(pixels))), normal(pixels), atol=1e-4, rtol=0)
    values = lab(normal(pixels))
    theirs = lab2rgb(values[0].movedim(0, -1).numpy())
    np.testing.assert_allclose(plain(from_lab(values))[0].movedim(0, -1).numpy(), theirs, atol=2e-3)


def test_lightness_alone_gives_three_equal_channels_of_that_lightness():
    levels = torch.linspace(0, 100, 64, dtype=torch.float64).view(1, 1, 8, 8)
    image = plain(from_lab(torch.cat([levels, 0 * levels, 0 * levels], dim=1)))
    torch.testing.assert_close(image[:, 1:], image[:, :1].expand(-1, 2, -1, -1), atol=5e-4, rtol=0)
    torch.testing.assert_close(lab(normal(image))[:, :1], levels, atol=0.05, rtol=0)


def test_bins_are_the_multiples_of_ten_less_than_ten_away_from_the_hull_of_srgb():
    """By other implementations: the hull of the colours, each moved by (±10, ±10), is all that is within 10 of it."""
    level = np.linspace(0, 1, 33)
    cube = np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1).reshape(1, -1, 3)
    ab = rgb2lab(cube)[0, :, 1:]
    moved = np.concatenate([ab + np.array([a, b]) for a in (-10, 10) for b in (-10, 10)])
    sides = ConvexHull(moved).equations  # outward normal, offset: below 0 is inside
    grid = np.array([(a, b) for a in range(-130, 131, 10) for b in range(-130, 131, 10)], dtype=float)
    inside = grid[(grid @ sides[:, :2].T + sides[:, 2] < 0).all(1)]
    assert len(inside) == 313  # as many as the paper has
    np.testing.assert_array_equal(gamut_bins().numpy(), inside)


def test_every_colour_has_a_bin_within_half_a_step():
    colours = torch.rand(1, 3, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ab = lab(normal(colours))[0, 1:].flatten(1).T
    assert (ab[:, None] - gamut_bins().double()).abs().amax(2).amin(1).max() <= 5


def test_soft_labels_are_gaussian_over_the_ten_nearest_bins():
    bins = gamut_bins()
    ab = torch.tensor([[3.0, -4.0], [41.0, 17.5]]).T.view(1, 2, 1, 2)
    nearest, shares = soft_labels(ab, bins)
    for pixel, color in enumerate(((3.0, -4.0), (41.0, 17.5))):
        distance = [math.dist(color, center) for center in bins.tolist()]
        order = sorted(range(len(bins)), key=lambda q: distance[q])[:10]
        weight = [math.exp(-(distance[q] ** 2) / 50) for q in order]
        assert nearest[0, :, 0, pixel].tolist() == order
        expected = torch.tensor(weight) / sum(weight)
        torch.testing.assert_close(shares[0, :, 0, pixel], expected, atol=1e-5, rtol=0)


def test_soft_labels_do_not_hold_the_distances_of_all_pixels_at_once(monkeypatch):
    bins, held, whole = gamut_bins(), [], torch.cdist
    ab = torch.rand(3, 2, 5, 7, generator=torch.Generator().manual_seed(0)) * 80 - 40
    at_once = soft_labels(ab, bins)

    def counting(pixels, centres, **more):
        held.append(len(pixels))
        return whole(pixels, centres, **more)

    monkeypatch.setattr(torch, "cdist", counting)
    monkeypatch.setattr("bench.nn.colour_bins.PIXELS", 32)
    in_parts = soft_labels(ab, bins)
    assert held == [32, 32, 32, 9]
    assert torch.equal(at_once[0], in_parts[0])
    torch.testing.assert_close(at_once[1], in_parts[1])


def test_a_histogram_is_the_mean_soft_label_in_any_order():
    torch.manual_seed(0)
    nearest = torch.stack([torch.randperm(7)[:5] for _ in range(24)]).T.reshape(1, 5, 4, 6)
    shares = torch.rand(1, 5, 4, 6).softmax(1)
    expected = torch.zeros(7)
    for pixel in range(24):
        for k in range(5):
            expected[nearest.flatten(2)[0, k, pixel]] += shares.flatten(2)[0, k, pixel] / 24
    prior = histogram(nearest, shares, 7)
    torch.testing.assert_close(prior.float(), expected, atol=1e-5, rtol=0)
    assert torch.equal(histogram(nearest.flip(3), shares.flip(3), 7), prior)


def test_rare_bins_weigh_more_and_the_mean_weight_is_one():
    prior = torch.tensor([0.7, 0.2, 0.1, 0.0])
    weights = rarity_weights(prior)
    raw = torch.tensor([1 / (0.5 * p + 0.5 / 4) for p in prior.tolist()])
    torch.testing.assert_close(weights, raw / (prior * raw).sum())
    assert (prior * weights).sum().item() == pytest.approx(1.0)
    assert (weights.diff() > 0).all()
    torch.testing.assert_close(rarity_weights(torch.full((4,), 0.25)), torch.ones(4))
