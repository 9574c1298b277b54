"""Strong steps: what is drawn, what is done, and that every back end does the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from bench.data.views import BYOL_VIEWS, View
from bench.data.views import opencv as fast_views
from bench.data.views.device import Drawing, collate_drawings
from bench.data.views.draw import Drawn, draw, draw_all
from bench.data.views.pillow import apply
from bench.data.views.strong import POOL, draw_strong, strengthen

SIZE = 48
VIEW = View(size=SIZE, jitter=None, grey=0.0, blur=0.0, strong=5)


def picture(seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def test_a_view_without_strong_steps_has_the_numbers_that_it_always_had():
    for view in BYOL_VIEWS(64):
        one, other = np.random.default_rng(3), np.random.default_rng(3)
        plain, strong = draw(view, 100, 80, one), draw(replace(view, strong=5), 100, 80, other)
        assert plain.strong == ()
        assert replace(strong, strong=()) == plain
        assert one.random() != other.random()  # the steps were drawn after all that


def test_each_step_of_the_pool_is_drawn_and_done_half_of_the_time():
    rng = np.random.default_rng(0)
    drawn = [draw_strong(5, rng) for _ in range(2000)]
    steps = Counter(name for steps in drawn for name, _, _ in steps)
    assert set(steps) == set(POOL)
    assert len(POOL) == 14
    assert sum(steps.values()) / 10_000 == pytest.approx(0.5, abs=0.02)
    assert all(count / 5000 == pytest.approx(1 / 14, abs=0.015) for count in steps.values())
    assert {magnitude for steps in drawn for _, magnitude, _ in steps} == set(range(1, 10))
    assert {negative for steps in drawn for _, _, negative in steps} == {True, False}
    assert draw_strong(0, rng) == ()


@pytest.mark.parametrize("name", POOL)
def test_each_step_but_the_identity_changes_the_image_and_keeps_its_size(name):
    image = picture()
    if name == "autocontrast":
        image = image.point(lambda value: 60 + value // 4)
    done = strengthen(image, [(name, 5, False)])
    assert (done.size, done.mode) == (image.size, "RGB")
    assert np.array_equal(np.asarray(done), np.asarray(image)) == (name == "identity")


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"])
def test_the_sign_reverses_a_geometric_step(name):
    one, other = (np.asarray(strengthen(picture(), [(name, 5, negative)])) for negative in (False, True))
    assert not np.array_equal(one, other)


def test_steps_are_done_in_their_order_by_the_documented_amounts():
    image = picture()
    steps = [("solarize", 3, False), ("posterize", 5, False)]
    expected = ImageOps.posterize(ImageOps.solarize(image, 256 - 76), 6)
    assert np.array_equal(np.asarray(strengthen(image, steps)), np.asarray(expected))
    moved = np.asarray(strengthen(image, [("translate_x", 5, False)]))
    shift = int(0.15 * SIZE)
    assert np.array_equal(moved[:, :-shift], np.asarray(image)[:, shift:])
    assert not moved[:, -shift:].any()


def test_back_ends_give_equal_images_for_the_same_draw():
    pictures = [picture(seed) for seed in range(6)]
    plain = Drawn(crop=(0, 0, SIZE, SIZE), flip=False, jitter=(), grey=False, blur=None, solarize=False)
    steps = [draw_strong(5, np.random.default_rng(seed)) for seed in range(5)] + [()]
    drawn = [replace(plain, strong=strong) for strong in steps]
    truth = [np.asarray(apply(one, VIEW, parameters)) for one, parameters in zip(pictures, drawn, strict=True)]
    assert any(not np.array_equal(one, np.asarray(original)) for one, original in zip(truth, pictures, strict=True))
    fast = [
        fast_views.apply(np.asarray(one), VIEW, parameters) for one, parameters in zip(pictures, drawn, strict=True)
    ]
    batch = collate_drawings(
        [Drawing.of(np.asarray(one), [(VIEW, parameters)]) for one, parameters in zip(pictures, drawn, strict=True)]
    )
    (device,) = batch.to("cpu").views()
    for number, expected in enumerate(truth):
        assert np.array_equal(fast[number], expected)
        assert np.array_equal(device[number].permute(1, 2, 0).numpy(), expected)


def test_of_several_views_each_has_its_own_steps():
    views = (replace(VIEW, strong=0), VIEW)
    image = np.asarray(picture())
    drawn, _ = draw_all(views, SIZE, SIZE, np.random.default_rng(1))
    assert drawn[0][1].strong == ()
    assert drawn[1][1].strong
    made = collate_drawings([Drawing.of(image, drawn)] * 2).views()
    for (view, parameters), images in zip(drawn, made, strict=True):
        bare = replace(parameters, strong=())
        (without,) = collate_drawings([Drawing.of(image, [(view, bare)])]).views()
        expected = strengthen(Image.fromarray(without[0].permute(1, 2, 0).numpy()), parameters.strong)
        assert np.array_equal(images[1].permute(1, 2, 0).numpy(), np.asarray(expected))
