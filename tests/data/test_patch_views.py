"""Views that are patches of one crop, and PIRL's photometric steps: how they are drawn, and made by two back ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import functional as TF

from bench.data.images import ViewDataset
from bench.data.sets import index
from bench.data.views import View, opencv, pillow
from bench.data.views.draw import HUE, Drawn, draw, draw_all
from bench.data.views.resident import Resident
from bench.errors import BadInput
from bench.randomness import generator

PATCH = View(
    size=64, count=9, cells=(3, 255), scale=(0.6, 1.0), interpolation="bilinear", photometric=0.66, jitter_p=1.0, blur=0
)


def photograph(width: int = 310, height: int = 240) -> Image.Image:
    """Smooth colours with fine structure over them."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(40, 216, (8, 9, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    noise = rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray((np.asarray(coarse).astype(int) + noise).clip(0, 255).astype(np.uint8))


def made(backend: str, image: Image.Image, view: View, drawn: Drawn) -> np.ndarray:
    if backend == "fast":
        return opencv.apply(np.asarray(image), view, drawn)
    return np.asarray(pillow.apply(image, view, drawn))


def plain(crop: tuple[int, int, int, int], **more: Any) -> Drawn:
    """A view without anything random but its crop, and what is given."""
    return replace(Drawn(crop, False, (), False, None, False), **more)


def test_patches_have_one_crop_a_cell_each_and_all_else_of_their_own():
    places: list[set[tuple[int, int]]] = [set() for _ in range(9)]
    for number in range(300):
        drawn, boxes = draw_all((PATCH,), 310, 240, generator(0, number))
        assert len({one.crop for _, one in drawn}) == 1
        if number == 0:
            assert len({one.jitter for _, one in drawn}) == 9
            assert {one.flip for _, one in drawn} == {True, False}
            assert len({one.photometric for _, one in drawn}) > 3
        left, top, width, height = drawn[0][1].crop
        for cell, ((_, one), box) in enumerate(zip(drawn, boxes, strict=True)):
            assert one.patch is not None
            across, down, side = one.patch
            places[cell].add((across - cell % 3 * 85, down - cell // 3 * 85))
            x0, y0, x1, y1, _ = box
            assert (x0 * 310, y0 * 240) == pytest.approx((left + across * width / side, top + down * height / side))
            assert ((x1 - x0) * 310, (y1 - y0) * 240) == pytest.approx((64 * width / 255, 64 * height / 255))
    for seen in places:  # VISSL's jitter: numpy.random.randint(0, 85 - 64)
        for offsets in zip(*seen, strict=True):
            assert (min(offsets), max(offsets)) == (0, 20)
    assert places[0] != places[1]


@pytest.mark.parametrize("backend", ["reference", "fast"])
def test_a_patch_is_cut_out_of_the_resized_crop(backend):
    image, crop = photograph(), (13, 21, 251, 190)
    whole = image.crop((13, 21, 264, 211)).resize((255, 255), Image.Resampling.BILINEAR)
    for across, down in ((0, 0), (101, 96), (191, 170)):
        drawn = plain(crop, patch=(across, down, 255))
        expected = np.asarray(whole.crop((across, down, across + 64, down + 64))).astype(int)
        assert np.abs(made(backend, image, PATCH, drawn) - expected).max() <= 1  # a rounding


def test_photometric_values_are_drawn_as_in_vissl_two_times_of_three():
    drawn = [draw(PATCH, 310, 240, generator(1, number)).photometric for number in range(3000)]
    values = [one for one in drawn if one is not None]
    assert len(values) / 3000 == pytest.approx(0.66, abs=0.03)
    bits, sharpness, threshold = map(np.array, zip(*values, strict=True))
    assert set(bits.tolist()) == {4, 5, 6, 7, 8}
    assert 0.1 <= sharpness.min() < 0.15
    assert 1.85 < sharpness.max() <= 1.9
    assert (threshold.min(), threshold.max()) == (0, 256)


def test_a_view_without_them_has_the_numbers_that_it_always_had():
    view = replace(PATCH, cells=None, count=1)
    for number in range(20):
        drawn, without = (draw(one, 310, 240, generator(2, number)) for one in (view, replace(view, photometric=0.0)))
        assert replace(drawn, photometric=None) == without


@pytest.mark.parametrize("backend", ["reference", "fast"])
@pytest.mark.parametrize("hue", [0.0, 0.3])
def test_photometric_steps_come_after_the_jitter_and_before_grey(backend, hue):
    image, view = photograph(), replace(PATCH, cells=None, size=60)
    drawn = plain((0, 0, 60, 60), jitter=((HUE, hue),) if hue else (), photometric=(4, 1.7, 150))
    step = image.crop((0, 0, 60, 60))
    step = TF.adjust_hue(step, hue) if hue else step
    step = ImageEnhance.Sharpness(ImageOps.posterize(step, 4)).enhance(1.7)  # VISSL's order of the four
    step = ImageOps.autocontrast(ImageOps.solarize(step, 150))
    assert np.array_equal(made(backend, image, view, drawn), np.asarray(step))
    grey = made(backend, image, view, replace(drawn, grey=True))
    assert np.array_equal(grey, np.asarray(step.convert("L").convert("RGB")))
    before = image.crop((0, 0, 60, 60)).convert("L").convert("RGB")
    assert not np.array_equal(grey, np.asarray(before))


@pytest.mark.parametrize("view", [PATCH, replace(PATCH, cells=None), replace(PATCH, photometric=0.0)])
def test_the_device_refuses_what_it_does_not_make(coco, view):
    train = index("coco", coco, "train")
    with pytest.raises(BadInput, match="set view_backend to 'fast' or 'reference'"):
        ViewDataset(train, (view,), seed=0, backend="device")
    with pytest.raises(BadInput, match="set view_backend to 'fast' or 'reference'"):
        Resident(train, (view,), 0, torch.device("cpu"))
