"""What the pretext tasks and the generative objectives are shown, in every field of a view, written out.

A view that is stretched, coloured or cut otherwise changes no formula, and shows only here.
"""

from __future__ import annotations

import pytest
from narrow import NarrowEncoder

from bench.data.views import View
from bench.objectives import build

PLAIN = {"interpolation": "bilinear", "jitter": None, "grey": 0.0, "blur": 0.0, "solarize": 0.0, "strong": 0}
CROP = View(size=160, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), square=None, flip=0.5, **PLAIN)  # as supervised training


def square(side, **more):
    return View(size=160, square=side, **PLAIN | {"flip": 0.5} | more)


VIEWS = {
    # mmselfsup, configs/selfsup/_base_/datasets/imagenet_rotation-pred.py:7-8
    "rotation": [CROP],
    # facebookresearch/vissl, jigsaw_8gpu_resnet.yaml:19-25; 225 of 256 pixels and 30 % grey as in the paper
    "jigsaw": [square(0.8789, grey=0.3)],
    # mmselfsup, configs/selfsup/_base_/datasets/imagenet_relative-loc.py:7-8: 255 of 292, no flip
    "relative_patch": [square(0.8733, flip=0.0)],
    # richzhang/colorization, models/colorization_train_val_v2.prototxt:8-11: 176 (of 256), mirrored
    "colorization": [square(0.6875)],
    "split_brain": [CROP],  # own choice
    # pathak22/context-encoder, README.md:75 and data/donkey_folder.lua:70-86: 128 of 350, mirrored
    "context_encoder": [square(0.3657)],
    "denoising_autoencoder": [CROP],  # own choice
    "vae": [CROP],  # own choice
    # jeffdonahue/bigan, train_imagenet_highres_encoder.sh: 112 of 128; data.py:71-90 has no flip
    "bigan": [square(0.875, flip=0.0)],
}


FEW = {"jigsaw": {"permutations": 3}}  # a thousand take seconds to choose


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_the_sources(name):
    assert build({"name": name, **FEW.get(name, {})}, NarrowEncoder()).views(160) == tuple(VIEWS[name])


@pytest.mark.parametrize("name", ["pixel_cnn", "pixel_rnn"])
def test_what_is_modelled_keeps_its_colours_and_at_least_half_of_the_image(name):
    first, second = build({"name": name, "depth": 1, "width": 3}, NarrowEncoder()).views(160)
    assert first == View(
        size=160,
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        interpolation="bicubic",
        flip=0.5,
        jitter=(0.8, 0.8, 0.8, 0.2),
        jitter_p=0.8,
        grey=0.2,
        blur=0.5,
        blur_sigma=(0.1, 2.0),
        solarize=0.0,
    )  # SimCLR's
    assert second == View(size=32, scale=(0.5, 1.0), ratio=(3 / 4, 4 / 3), square=None, flip=0.5, **PLAIN)


@pytest.mark.parametrize(
    ("name", "size", "side"),
    [("relative_patch", 255, 255 / 292), ("jigsaw", 255, 225 / 256), ("context_encoder", 128, 128 / 350)],
)
def test_shares_of_the_shorter_side_are_those_of_the_sources_pixels(name, size, side):
    (view,) = build({"name": name, **FEW.get(name, {})}, NarrowEncoder()).views(size)
    assert view.square == pytest.approx(side, abs=5e-5)
