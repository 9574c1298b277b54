"""What is random about a view of an image, drawn from a generator that is handed in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.data.maps import Crop, covered
from bench.data.views.photometric import Photometric, draw_photometric
from bench.data.views.spec import View
from bench.data.views.strong import StrongStep, draw_strong

ATTEMPTS = 10  # to draw a crop that fits
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # the steps of colour jitter, as View.jitter has them
BoxRow = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Drawn:
    """All that is random about one view of one image."""

    crop: Crop  # left, top, width, height in pixels
    flip: bool
    jitter: tuple[tuple[int, float], ...]  # (BRIGHTNESS … HUE, factor), in the order in which they are done
    grey: bool
    blur: float | None  # standard deviation in pixels
    solarize: bool
    strong: tuple[StrongStep, ...] = ()  # in the order in which they are done
    photometric: Photometric | None = None
    patch: tuple[int, int, int] | None = None  # left, top, and the side of the resized crop that it is cut out of

    def part(self, size: int) -> tuple[float, float, float, float]:
        """Return what a view of that size shows: left, top, width and height in pixels of the image."""
        left, top, width, height = self.crop
        if self.patch is None:
            return left, top, width, height
        across, down, side = self.patch
        x, y = width / side, height / side
        return left + across * x, top + down * y, size * x, size * y


def draw(
    view: View,
    width: int,
    height: int,
    rng: np.random.Generator,
    first: Crop | None = None,
    saliency: np.ndarray | None = None,
) -> Drawn:
    """Draw a view of an image of width×height pixels.

    `first` is the first view's crop, for a view with `overlap`; without it that asks for nothing. `saliency` is the
    image's map (see bench.data.maps), for a view with `salient`.
    """
    crop = _crop(view, width, height, rng)
    if view.overlap > 0 or view.salient > 0:
        crop = _constrained_crop(crop, view, width, height, rng, first, saliency)
    flip = rng.random() < view.flip
    jitter: tuple[tuple[int, float], ...] = ()
    if view.jitter is not None and rng.random() < view.jitter_p:
        *strengths, hue = view.jitter
        factors = [rng.uniform(max(0.0, 1 - s), 1 + s) for s in strengths] + [rng.uniform(-hue, hue)]
        jitter = tuple((int(step), float(factors[step])) for step in rng.permutation(4) if view.jitter[step] > 0)
    grey = rng.random() < view.grey
    blur = float(rng.uniform(*view.blur_sigma)) if rng.random() < view.blur else None
    solarize = rng.random() < view.solarize
    strong = draw_strong(view.strong, rng)  # last: a view without has the numbers that it always had
    photometric = draw_photometric(rng) if view.photometric > 0 and rng.random() < view.photometric else None
    return Drawn(crop, bool(flip), jitter, bool(grey), blur, bool(solarize), strong, photometric)


def _constrained_crop(
    crop: Crop,
    view: View,
    width: int,
    height: int,
    rng: np.random.Generator,
    first: Crop | None,
    saliency: np.ndarray | None,
) -> Crop:
    """Return the first of up to ten crops (`crop`, and what is drawn after it) that is as the view asks.

    Where none is: the best of them for a view with `salient`, else one more crop, whatever it shows. How good one is:
    what it has of what is asked for, at most 1, where two things are asked for the lesser of both.
    """

    def quality(candidate: Crop) -> float:
        shares = [1.0]
        if view.overlap > 0 and first is not None:
            shares.append(overlap(candidate, first) / view.overlap)
        if view.salient > 0:
            if saliency is None:
                raise ValueError("a view with `salient` needs the image's saliency; make the data set with that map")
            shares.append(covered(saliency, candidate, width, height) / view.salient)
        return min(shares)

    best, highest = crop, quality(crop)
    for _ in range(ATTEMPTS - 1):
        if highest >= 1.0:
            break
        other = _crop(view, width, height, rng)
        if (reached := quality(other)) > highest:
            best, highest = other, reached
    if highest >= 1.0 or view.salient > 0:
        return best
    return _crop(view, width, height, rng)


def overlap(crop: Crop, other: Crop) -> float:
    """Return the share of a crop's area that lies in another."""
    (left, top, w, h), (left2, top2, w2, h2) = crop, other
    across = min(left + w, left2 + w2) - max(left, left2)
    down = min(top + h, top2 + h2) - max(top, top2)
    return max(0, across) * max(0, down) / (w * h)


def _crop(view: View, width: int, height: int, rng: np.random.Generator) -> Crop:
    if view.square is not None:
        return draw_square(width, height, view.square, rng)
    return draw_crop(width, height, view.scale, view.ratio, rng)


def square_side(width: int, height: int, share: float) -> int:
    """Return the side of a square that is this share of the shorter side, in whole pixels."""
    return max(1, round(share * min(width, height)))


def draw_square(width: int, height: int, share: float, rng: np.random.Generator) -> Crop:
    """Draw (left, top, side, side): a square anywhere in the image, its side that share of the shorter one."""
    side = square_side(width, height, share)
    top = int(rng.integers(height - side + 1))
    return int(rng.integers(width - side + 1)), top, side, side


def draw_crop(
    width: int, height: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw (left, top, width, height) as torchvision's RandomResizedCrop does (Szegedy et al. 2015, section 6).

    A crop that does not fit is drawn anew, up to ten times; then it is the largest central one within the ratios.
    """
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.integers(height - h + 1))
            return int(rng.integers(width - w + 1)), top, w, h
    w, h = width, height
    if width / height < min(ratio):
        h = round(width / min(ratio))
    elif width / height > max(ratio):
        w = round(height * max(ratio))
    return (width - w) // 2, (height - h) // 2, w, h


def draw_all(
    views: Sequence[View],
    width: int,
    height: int,
    rng: np.random.Generator,
    saliency: np.ndarray | None = None,
) -> tuple[list[tuple[View, Drawn]], list[BoxRow]]:
    """Draw all views of one image of width×height pixels, one after another; return them and the box of each.

    `saliency` is the image's map, for views with `salient`.
    """
    drawn: list[tuple[View, Drawn]] = []
    for view in views:
        for number in range(view.count):
            first = drawn[0][1].crop if drawn else None
            one = draw(view, width, height, rng, first, saliency)
            if view.flip_as_first and drawn:
                one = replace(one, flip=drawn[0][1].flip)
            if view.cells is not None:
                common = one.crop if number == 0 else drawn[-1][1].crop
                one = replace(one, crop=common, patch=draw_patch(view, number, rng))
            drawn.append((view, one))
    return drawn, [box(one.part(view.size), one.flip, width, height) for view, one in drawn]


def draw_patch(view: View, number: int, rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw where a patch lies in its cell, of those numbered row by row: left, top, side of the whole (`View.cells`).

    As in VISSL (img_patches_tensor.py), the last place in a cell, at its very end, is never drawn.
    """
    assert view.cells is not None
    cells, side = view.cells
    cell = side // cells
    down, across = rng.integers(max(1, cell - view.size), size=2)
    return number % cells * cell + int(across), number // cells * cell + int(down), side


def box(crop: tuple[float, float, float, float], flip: bool, width: int, height: int) -> BoxRow:
    """Return a crop in shares of the image's width and height, with 1 for flipped."""
    left, top, w, h = crop
    return left / width, top / height, (left + w) / width, (top + h) / height, float(flip)
