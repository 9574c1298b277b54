"""Views: what is drawn and how often, where a view lies, and that only the generator decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision import transforms

from bench.data.views import BYOL_VIEWS, MEAN, STD, SUPERVISED_VIEW, Batch, View
from bench.data.views.batch import normalised, stack
from bench.data.views.draw import BoxRow, Drawn, draw, draw_all, draw_crop, overlap
from bench.data.views.pillow import apply, make_test_view
from bench.randomness import generator

PLAIN = View(size=24, flip=0.0, jitter=None, grey=0.0, blur=0.0)
SIZES = [(120, 80), (80, 120), (64, 64), (400, 20), (20, 400)]  # the last two seldom hold a crop within the ratios


def noise(width: int = 60, height: int = 48, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def rng(number: int = 0) -> np.random.Generator:
    return generator(0, "view", number)


def make_views(
    image: Image.Image, views: Sequence[View], rng: np.random.Generator
) -> tuple[list[np.ndarray], list[BoxRow]]:
    drawn, boxes = draw_all(views, image.width, image.height, rng)
    return [np.asarray(apply(image, view, one)) for view, one in drawn], boxes


# ------------------------------------------------------------------------------------------------ crops


class TorchsNumbers:
    """Draws from torch's global generator, in the order in which it is asked."""

    def uniform(self, low: float, high: float) -> float:
        return torch.empty(1).uniform_(low, high).item()

    def integers(self, high: int) -> int:
        return int(torch.randint(0, high, (1,)).item())


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_crops_are_torchvisions(size: tuple[int, int]) -> None:
    width, height = size
    image = noise(width, height)
    scale, ratio = [0.08, 1.0], [3 / 4, 4 / 3]
    same = 0
    torchs_numbers: Any = TorchsNumbers()
    for seed in range(500):
        torch.manual_seed(seed)
        top, left, h, w = transforms.RandomResizedCrop.get_params(image, scale, ratio)
        torch.manual_seed(seed)
        ours = draw_crop(width, height, (0.08, 1.0), (3 / 4, 4 / 3), torchs_numbers)
        same += ours == (left, top, w, h)
    assert same >= 495  # theirs computes in float32: a side may round the other way


@pytest.mark.parametrize("size", SIZES[:3])
def test_crops_have_torchvisions_distribution(size: tuple[int, int]) -> None:
    width, height = size
    image = noise(width, height)
    torch.manual_seed(0)
    theirs = [transforms.RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(2000)]
    ours = [draw_crop(width, height, (0.2, 1.0), (3 / 4, 4 / 3), rng(number)) for number in range(2000)]
    columns = {"left": (0, 1), "top": (1, 0), "width": (2, 3), "height": (3, 2)}
    for name, (mine, other) in columns.items():
        result: Any = ks_2samp([crop[mine] for crop in ours], [crop[other] for crop in theirs])
        assert result.pvalue > 1e-3, name


@pytest.mark.parametrize("size", SIZES[:3])
def test_squares_have_their_share_of_the_shorter_side_and_lie_anywhere(size: tuple[int, int]) -> None:
    """As torchvision's Resize of the shorter side to 100 and RandomCrop of 80, in pixels of the image."""
    width, height = size
    view, side = View(size=32, square=0.8), round(0.8 * min(size))
    crops = [draw(view, width, height, rng(number)).crop for number in range(2000)]
    assert {(w, h) for _, _, w, h in crops} == {(side, side)}
    for place, room in ((0, width - side), (1, height - side)):
        drawn = [crop[place] for crop in crops]
        assert (min(drawn), max(drawn)) == (0, room) or room > 200
        assert np.mean(drawn) == pytest.approx(room / 2, abs=4 * room / np.sqrt(12 * 2000) + 1e-9)
        assert max(drawn) <= room


def test_a_square_that_is_bound_to_another_crop_is_drawn_anew_like_any_other() -> None:
    first = draw(View(size=32, square=0.5), 200, 100, rng(1))
    view = View(size=32, square=0.4, overlap=0.5)
    shares = []
    for number in range(50):
        crop = draw(view, 200, 100, rng(number), first.crop).crop
        assert crop[2:] == (40, 40)
        shares.append(overlap(crop, first.crop))
    assert np.mean(shares) > np.mean([overlap(draw(view, 200, 100, rng(n)).crop, first.crop) for n in range(50)])


def test_crops_stay_inside() -> None:
    for width, height in [*SIZES, (1, 1), (3, 1)]:
        for number in range(50):
            left, top, w, h = draw_crop(width, height, (0.08, 1.0), (3 / 4, 4 / 3), rng(number))
            assert left >= 0
            assert top >= 0
            assert w > 0
            assert h > 0
            assert left + w <= width
            assert top + h <= height


# ------------------------------------------------------------------------------------------------ boxes


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_boxes_say_where_a_view_lies(flip: float) -> None:
    width, height, size = 240, 160, 32
    # Red is the place across, green down.
    across = np.broadcast_to((np.arange(width) + 0.5) / width * 255, (height, width))
    down = np.broadcast_to(((np.arange(height) + 0.5) / height * 255)[:, None], (height, width))
    image = Image.fromarray(np.stack([across, down, 0 * down], axis=2).round().astype(np.uint8))
    view = replace(PLAIN, size=size, flip=flip, interpolation="bilinear", scale=(0.3, 0.8), count=20)
    pixels, boxes = make_views(image, [view], rng())
    assert len(pixels) == len(boxes) == 20
    assert len({box[:4] for box in boxes}) == 20
    centre = (np.arange(size) + 0.5) / size
    for shown, (x0, y0, x1, y1, flipped) in zip(pixels, boxes, strict=True):
        assert flipped == flip
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        x = x0 + (1 - centre if flipped else centre) * (x1 - x0)
        y = y0 + centre * (y1 - y0)
        inside = slice(2, -2)  # at its edge, a resized image has less to average over
        assert np.abs(shown[..., 0] / 255 - x)[:, inside].max() < 0.012
        assert np.abs(shown[..., 1] / 255 - y[:, None])[inside].max() < 0.012


def test_the_test_view_is_torchvisions() -> None:
    bilinear = transforms.InterpolationMode.BILINEAR
    theirs = transforms.Compose([transforms.Resize(36, interpolation=bilinear), transforms.CenterCrop(32)])
    for width, height in [(60, 48), (48, 61), (36, 36), (101, 37), (52, 48)]:
        image = noise(width, height)
        pixels, (x0, y0, x1, y1, flipped) = make_test_view(image, 32, 36)
        assert np.array_equal(pixels, np.asarray(theirs(image)))
        assert flipped == 0
        assert x0 + x1 == pytest.approx(1, abs=0.04)
        assert y0 + y1 == pytest.approx(1, abs=0.04)


# -------------------------------------------------------------------------------------- how often, how far


def within_binomial_bounds(hits: int, count: int, probability: float) -> bool:
    return abs(hits - count * probability) <= 4.5 * (count * probability * (1 - probability)) ** 0.5 + 1e-9


@pytest.mark.parametrize(
    "view",
    [
        View(),
        *BYOL_VIEWS(32),
        SUPERVISED_VIEW(32),
        View(flip=0.1, jitter_p=0.35, grey=0.6, blur=0.9, solarize=0.7),
    ],
)
def test_everything_happens_as_often_as_declared(view: View) -> None:
    count = 3000
    drawn = [draw(view, 60, 48, rng(number)) for number in range(count)]
    hits = {
        "flip": (sum(d.flip for d in drawn), view.flip),
        "jitter": (sum(bool(d.jitter) for d in drawn), view.jitter_p if view.jitter else 0.0),
        "grey": (sum(d.grey for d in drawn), view.grey),
        "blur": (sum(d.blur is not None for d in drawn), view.blur),
        "solarize": (sum(d.solarize for d in drawn), view.solarize),
    }
    for name, (times, probability) in hits.items():
        assert within_binomial_bounds(times, count, probability), name


def test_jitter_in_any_order_and_range() -> None:
    view = View(jitter_p=1.0, jitter=(0.4, 0.3, 0.2, 0.1), blur=1.0)
    drawn = [draw(view, 60, 48, rng(number)) for number in range(2400)]
    orders = [tuple(step for step, _ in d.jitter) for d in drawn]
    assert len(set(orders)) == 24
    for order in set(orders):
        assert within_binomial_bounds(orders.count(order), 2400, 1 / 24)
    ranges = [(0.6, 1.4), (0.7, 1.3), (0.8, 1.2), (-0.1, 0.1)]
    for step, (low, high) in enumerate(ranges):
        factors = [dict(d.jitter)[step] for d in drawn]
        assert low <= min(factors) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < max(factors) <= high
    sigmas = [d.blur for d in drawn if d.blur is not None]
    assert 0.1 <= min(sigmas) < 0.12
    assert 1.98 < max(sigmas) <= 2.0


def test_declared_views() -> None:
    first, second = BYOL_VIEWS(96)
    assert (first.size, first.blur, first.solarize) == (96, 1.0, 0.0)
    assert (second.size, second.blur, second.solarize) == (96, 0.1, 0.2)
    assert first.jitter == second.jitter == (0.4, 0.4, 0.2, 0.1)
    assert first.scale == (0.08, 1.0)
    view = SUPERVISED_VIEW(64)
    assert (view.jitter, view.grey, view.blur, view.solarize, view.flip) == (None, 0.0, 0.0, 0.0, 0.5)


def test_each_step_does_what_it_says() -> None:
    image = noise(24, 24)
    nothing = Drawn(crop=(0, 0, 24, 24), flip=False, jitter=(), grey=False, blur=None, solarize=False)

    def done(**changes: Any) -> np.ndarray:
        return np.asarray(apply(image, PLAIN, replace(nothing, **changes))).astype(int)

    plain = done()
    assert np.array_equal(plain, np.asarray(image))
    assert np.array_equal(done(flip=True), plain[:, ::-1])
    grey = done(grey=True)
    assert (grey == grey[..., :1]).all()
    assert done(blur=2.0).std() < 0.5 * plain.std()
    assert np.array_equal(done(solarize=True), np.where(plain < 128, plain, 255 - plain))
    brighter = done(jitter=((0, 1.4),))
    assert np.abs(brighter - np.minimum(plain * 1.4, 255)).max() <= 1
    # In the order that was drawn: half the brightness before or after a contrast is not the same.
    assert not np.array_equal(done(jitter=((0, 0.6), (1, 1.4))), done(jitter=((1, 1.4), (0, 0.6))))
    theirs = transforms.functional.adjust_hue(transforms.functional.adjust_saturation(image, 0.8), 0.1)
    assert np.array_equal(done(jitter=((2, 0.8), (3, 0.1))), np.asarray(theirs))


def test_the_order_of_grey_and_jitter_is_declared_and_not_drawn() -> None:
    """Against torchvision's transforms in the order of MoCo v1 (main_moco.py:240-241) and in that of SimCLR."""
    image = noise(24, 24)
    grey, saturate = transforms.Grayscale(3), lambda x: transforms.functional.adjust_saturation(x, 0.3)
    contrast = lambda x: transforms.functional.adjust_contrast(x, 1.4)  # noqa: E731
    drawn = Drawn((0, 0, 24, 24), flip=False, jitter=((2, 0.3), (1, 1.4)), grey=True, blur=None, solarize=False)
    first, last = replace(PLAIN, grey_first=True), PLAIN
    theirs = contrast(saturate(grey(image))), grey(contrast(saturate(image)))
    for view, expected in zip((first, last), theirs, strict=True):
        assert np.array_equal(np.asarray(apply(image, view, drawn)), np.asarray(expected))
    assert not np.array_equal(np.asarray(theirs[0]), np.asarray(theirs[1]))
    for seed in range(20):
        pair = (draw(replace(view, jitter=(0.4,) * 4, grey=0.5), 40, 30, generator(0, seed)) for view in (first, last))
        assert len(set(pair)) == 1


def test_only_the_generator_decides() -> None:
    image, views = noise(), (*BYOL_VIEWS(24), View(size=16, count=2))
    first, boxes = make_views(image, views, rng(1))
    torch.manual_seed(5)
    again, boxes_again = make_views(image, views, rng(1))
    other, other_boxes = make_views(image, views, rng(2))
    assert [view.shape for view in first] == [(24, 24, 3)] * 2 + [(16, 16, 3)] * 2
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert boxes == boxes_again != other_boxes
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert not np.array_equal(first[2], first[3])  # each of `count` is a view of its own


# ------------------------------------------------------------------------------------------------ batch


def test_normalise_is_torchvisions() -> None:
    images = [noise(seed=seed) for seed in range(3)]
    theirs = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    ours = normalised(stack([np.asarray(image) for image in images]))
    assert ours.dtype == torch.float32
    assert ours.is_contiguous()
    assert torch.allclose(ours, torch.stack([theirs(image) for image in images]), atol=1e-6)


def test_a_batch_moves_whole() -> None:
    batch = Batch([torch.zeros(2, 3, 4, 4)], [torch.zeros(2, 5)], torch.tensor([1, 0]), torch.tensor([7, 8]), 1)
    moved = batch.to("meta", memory_format=torch.channels_last)
    assert len(batch) == len(moved) == 2
    assert moved.labels is not None
    assert {t.device.type for t in (*moved.views, *moved.boxes, moved.labels, moved.indices)} == {"meta"}
    assert moved.views[0].is_contiguous(memory_format=torch.channels_last)
    assert moved.skipped == 1
    assert replace(batch, labels=None).to("cpu").labels is None


def test_a_square_that_never_overlaps_enough_is_a_square_all_the_same():
    view = View(square=0.5, overlap=0.9, ratio=(2.0, 3.0))
    for number in range(20):
        left, top, width, height = draw(view, 300, 200, generator(3, number), first=(0, 0, 1, 1)).crop
        assert (width, height) == (100, 100)
        assert 0 <= left <= 200
        assert 0 <= top <= 100
