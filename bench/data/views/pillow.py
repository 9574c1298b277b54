"""The back end `reference`: views made with Pillow and torchvision, step by step."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional as TF

from bench.data.views.draw import BoxRow, Drawn, box
from bench.data.views.photometric import change
from bench.data.views.spec import View
from bench.data.views.strong import strengthen

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
JITTERS = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)  # as draw.BRIGHTNESS … HUE


def apply(image: Image.Image, view: View, drawn: Drawn) -> Image.Image:
    """Return a view of an RGB image, size×size pixels."""
    left, top, width, height = drawn.crop
    image = image.crop((left, top, left + width, top + height))
    image = resized(image, view, drawn)
    if drawn.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if drawn.grey and view.grey_first:
        image = _grey(image)
    for step, factor in drawn.jitter:
        image = JITTERS[step](image, factor)
    if drawn.photometric is not None:
        image = change(image, drawn.photometric)
    if drawn.grey and not view.grey_first:
        image = _grey(image)
    if drawn.blur is not None:
        image = image.filter(ImageFilter.GaussianBlur(drawn.blur))
    if drawn.solarize:
        image = ImageOps.solarize(image, 128)
    return strengthen(image, drawn.strong)


def resized(crop: Image.Image, view: View, drawn: Drawn) -> Image.Image:
    """Return the crop of an image, or the patch of it that is drawn, resized to size×size.

    A patch is what one would cut out of the whole crop after it was resized: the filter reaches beyond the patch.
    """
    place = None
    if drawn.patch is not None:
        left, top, width, height = drawn.part(view.size)
        left, top = left - drawn.crop[0], top - drawn.crop[1]
        place = left, top, min(left + width, crop.width), min(top + height, crop.height)  # the last bit of a sum
    return crop.resize((view.size, view.size), RESAMPLING[view.interpolation], box=place)


def _grey(image: Image.Image) -> Image.Image:
    return image.convert("L").convert("RGB")


def make_test_view(image: Image.Image, size: int, resize: int) -> tuple[np.ndarray, BoxRow]:
    """Return the centre size×size×3 (uint8) of an RGB image whose short side is resized to `resize`, and its box."""
    short = min(image.size)
    width, height = (int(resize * side / short) for side in image.size)  # cut off, as in torchvision
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    return pixels, box((left, top, size, size), False, width, height)
