"""Views of a whole batch drawn at once: what `bench.data.views.draw.draw` draws for one image, for N images in tensors.

The laws are those of `draw`: its ranges, its rates, its order of colour steps; only where the numbers come from
differs. Each image has a row of uniform numbers in [0, 1), from which all else follows without a loop over images, a
condition on a value, or a wait for the device, so that it can be compiled. A crop that does not fit is drawn anew up to
ten times: here all ten are there, and the first that fits is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.data.views.draw import ATTEMPTS, HUE, square_side
from bench.data.views.spec import View

# Numbers for a crop: area and aspect of each attempt, top, left.
CROP = 2 * ATTEMPTS + 2
# Numbers for what follows it: flip, whether there is jitter, its four factors, four that order them, grey, whether
# there is blur, its sigma, solarize.
FLIP, JITTER, FACTORS, ORDER, GREY, BLUR, SIGMA, SOLARIZE = 0, 1, 2, 6, 10, 11, 12, 13
STEPS = 14


@dataclass
class Draws:
    """All that is random about one view of N images but strong steps: `bench.data.views.draw.Drawn` in tensors."""

    crop: Tensor  # N×4 float32: left, top, width, height in pixels
    flip: Tensor  # N bool
    jitter: Tensor  # N bool: whether there is any
    factors: Tensor  # N×4 float32, brightness, contrast, saturation, hue
    order: Tensor  # N×4 int64: BRIGHTNESS … HUE, in the order in which they are done
    grey: Tensor  # N bool
    blur: Tensor  # N float32: standard deviation in pixels, 0 where there is none
    solarize: Tensor  # N bool

    def boxes(self, width: int, height: int) -> Tensor:
        """Return where the views lie in images of width×height pixels: N×5 float32, as in `Batch.boxes`."""
        left, top, w, h = self.crop.unbind(1)
        sides = (left / width, top / height, (left + w) / width, (top + h) / height)
        return torch.stack([*sides, self.flip.to(left.dtype)], 1)

    def parameters(self, hue: bool) -> Tensor:
        """Return the rows, N×28 float32, from which `bench.data.views.device.make` makes the views.

        Args:
            hue: whether the view's jitter turns it; if not, all colour maps stand before it.
        """
        place = (self.order == HUE).to(torch.int64).argmax(1)[:, None]  # of the hue among the four
        slot = torch.arange(3, device=self.order.device)
        step = torch.where(slot < place, self.order[:, :3], self.order[:, 1:])  # the three maps in their order, N×3
        maps = [self.factors.gather(1, step), (step == 2).to(torch.float32), (step == 1).to(torch.float32)]
        chosen = torch.stack(maps, 2)  # N×3×(factor, grey of the pixel, mean grey)
        nothing = torch.zeros_like(chosen)
        nothing[:, :, 0] = 1.0
        early = slot < (place if hue else 3)
        before = torch.where((early & self.jitter[:, None])[..., None], chosen, nothing)
        after = torch.where((~early & self.jitter[:, None])[..., None], chosen, nothing)
        shift = torch.remainder((self.factors[:, HUE].double() * 255).trunc(), 256)
        turned = self.jitter & hue
        single = [turned, self.grey, self.blur, self.solarize]
        turned, grey, blur, solarize = (one.to(torch.float32)[:, None] for one in single)
        return torch.cat(
            [
                *(self.crop, self.flip.to(torch.float32)[:, None]),
                *(before.flatten(1), shift.to(torch.float32)[:, None] * turned, turned, after.flatten(1)),
                *(grey, box_radii(blur).to(torch.float32), solarize),
            ],
            1,
        )


def numbers(view: View) -> int:
    """Return how many uniform numbers a view of one image is drawn from."""
    return CROP * (ATTEMPTS + 1 if view.overlap > 0 else 1) + STEPS


def draw_batch(view: View, uniform: Tensor, width: int, height: int, first: Tensor | None = None) -> Draws:
    """Draw a view of N images of width×height pixels.

    Args:
        view: its `strong` and `salient` are left to others.
        uniform: N×`numbers(view)` float32 in [0, 1).
        first: the first view's crops, N×4, for a view with `overlap`; without them that asks for nothing.
    """
    crops = uniform[:, :-STEPS].unflatten(1, (-1, CROP))  # N×A×22
    crop = draw_crops(crops.flatten(0, 1), view, width, height).unflatten(0, crops.shape[:2])
    if view.overlap > 0 and first is not None:
        enough = overlaps(crop, first[:, None]) >= view.overlap
        enough[:, -1] = True  # the one after the ten, wherever it lies
        crop = crop.gather(1, _first(enough)[:, None, None].expand(-1, 1, 4))
    u = uniform[:, -STEPS:]
    strengths = view.jitter or (0.0, 0.0, 0.0, 0.0)
    ranges = [(max(0.0, 1 - s), 1 + s) for s in strengths[:HUE]] + [(-strengths[HUE], strengths[HUE])]
    factors = [_between(u[:, FACTORS + step], *limits) for step, limits in enumerate(ranges)]
    return Draws(
        crop=crop[:, 0],
        flip=u[:, FLIP] < view.flip,
        jitter=u[:, JITTER] < (0.0 if view.jitter is None else view.jitter_p),
        factors=torch.stack(factors, 1),
        order=u[:, ORDER : ORDER + 4].argsort(1),
        grey=u[:, GREY] < view.grey,
        blur=torch.where(u[:, BLUR] < view.blur, _between(u[:, SIGMA], *view.blur_sigma), 0.0),
        solarize=u[:, SOLARIZE] < view.solarize,
    )


def draw_crops(uniform: Tensor, view: View, width: int, height: int) -> Tensor:
    """Return crops N×4 (left, top, width, height) from uniform numbers N×22, as `draw` draws them."""
    if view.square is not None:
        side = torch.full_like(uniform[:, 0], square_side(width, height, view.square))
        left, top = _whole(uniform[:, -1], width - side), _whole(uniform[:, -2], height - side)
        return torch.stack([left, top, side, side], 1)
    area = width * height * _between(uniform[:, :ATTEMPTS], *view.scale)
    low, high = view.ratio
    aspect = _between(uniform[:, ATTEMPTS : 2 * ATTEMPTS], math.log(low), math.log(high)).exp()
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    some, chosen = fits.any(1), _first(fits)[:, None]
    w, h = w.gather(1, chosen)[:, 0], h.gather(1, chosen)[:, 0]
    top = _whole(uniform[:, -2], height - h)
    left = _whole(uniform[:, -1], width - w)
    # What is taken where nothing fits is the same for all images: the largest central crop within the ratios.
    whole_w, whole_h = width, height
    if width / height < low:
        whole_h = round(width / low)
    elif width / height > high:
        whole_w = round(height * high)
    fallback = ((width - whole_w) // 2, (height - whole_h) // 2, whole_w, whole_h)
    return torch.stack(
        [torch.where(some, drawn, float(other)) for drawn, other in zip((left, top, w, h), fallback, strict=True)], 1
    )


def overlaps(crop: Tensor, other: Tensor) -> Tensor:
    """Return the shares of crops' areas, …×4, that lie in other crops."""
    across, down = (
        torch.minimum(crop[..., side] + crop[..., 2 + side], other[..., side] + other[..., 2 + side])
        - torch.maximum(crop[..., side], other[..., side])
        for side in (0, 1)
    )
    return across.clamp(min=0) * down.clamp(min=0) / (crop[..., 2] * crop[..., 3])


def box_radii(sigma: Tensor) -> Tensor:
    """Return `bench.data.views.opencv.box_radius` of each standard deviation, in float64; 0 of 0."""
    variance = sigma.double() ** 2 / 3
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    return whole + part


def split(uniform: Tensor, views: Sequence[View]) -> tuple[Tensor, ...]:
    """Return the part of the numbers, N×(sum over the views), that each view is drawn from."""
    return uniform.split([numbers(view) for view in views], 1)


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * uniform


def _whole(uniform: Tensor, most: Tensor) -> Tensor:
    """Whole numbers from 0 to `most`, each as likely. A product may round up to the next."""
    return torch.minimum((uniform * (most + 1)).floor(), most)


def _first(mask: Tensor) -> Tensor:
    """The first true column of each row of N×M, 0 where there is none."""
    column = torch.arange(mask.shape[1], device=mask.device)
    first = torch.where(mask, column, mask.shape[1]).amin(1)
    return torch.where(first < mask.shape[1], first, 0)
