"""Views of a whole batch at once in torch, on a CPU or a GPU: the reference's steps with parameters for each image.

Workers decode, draw and cut out; all else happens on the device, without a loop over images and without waiting for
it, so that the host runs ahead. Steps, order and parameters are those of `bench.data.views`:

- Crop, resize and flip are two batched matrix products. Row i of an image's matrix holds the weights of Pillow's
  antialiased filter for pixel i of the view, which are zero outside the crop; a flip reverses the rows.
- Jitter: brightness, contrast and saturation are one formula, f·x + (1 − f)·(a·grey(x) + b·mean grey). So an image's
  order of steps is three such maps (some of which do nothing), the hue, and three more.
- Blur: the three box filters of Pillow, one matrix for each image, from both sides.
- Strong steps are done by Pillow, image by image: a view that has them waits for the device, and the device for it.

Values are cut off and rounded after each step, as in 8 bits. On a GPU the products are in float16, which holds 0…255
exactly and weights to 11 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench.data.views.draw import BRIGHTNESS, CONTRAST, HUE, SATURATION, Drawn
from bench.data.views.opencv import box_radius
from bench.data.views.opencv import resize as shrink
from bench.data.views.spec import Interpolation, View
from bench.data.views.strong import StrongStep, strengthen_batch
from bench.errors import BadInput

LONGEST = 640  # pixels of a side, after the views' rectangle was cut out; COCO's images are no longer
MULTIPLE = 64  # sides are padded to multiples, so that a GPU's memory is asked for few sizes

# What Pillow's "L" weighs red, green and blue with, in 1/65536.
LUMA = (19595 / 65536, 38470 / 65536, 7471 / 65536)

# Added before fractions are cut off, so that a whole number's last bits do not make it the one below.
LAST_BITS = {torch.float32: 1e-3, torch.float16: 0.06}

# A row of parameters: the crop (left, top, width, height), flip, three maps before the hue (factor, a, b), the hue's
# shift in 1/255 of the circle and whether it is done, three maps after it, grey, the blur's box radius (0: none),
# solarize.
CROP, FLIP, BEFORE, SHIFT, TURNED, AFTER, GREY, RADIUS, SOLARIZE = 0, 4, 5, 14, 15, 16, 25, 26, 27
NO_MAP = (1.0, 0.0, 0.0)
# (a, b) of each map: towards black, the mean grey, the pixel's grey.
TOWARDS = {BRIGHTNESS: (0.0, 0.0), CONTRAST: (0.0, 1.0), SATURATION: (1.0, 0.0)}


def row(drawn: Drawn) -> list[float]:
    """Return a view's parameters as numbers."""
    order = [step for step, _ in drawn.jitter]
    split = order.index(HUE) if HUE in order else len(order)
    sides = []
    for side in (drawn.jitter[:split], drawn.jitter[split:]):
        maps = [(factor, *TOWARDS[step]) for step, factor in side if step != HUE]
        sides.append([value for one in [*maps, *[NO_MAP] * (3 - len(maps))] for value in one])
    hue = dict(drawn.jitter).get(HUE)
    turned = [0.0, 0.0] if hue is None else [float(int(hue * 255) % 256), 1.0]
    radius = 0.0 if drawn.blur is None else box_radius(drawn.blur)
    return [*drawn.crop, float(drawn.flip), *sides[0], *turned, *sides[1], float(drawn.grey), radius, drawn.solarize]


@dataclass
class Drawing:
    """One image's part of a batch that is made later: pixels H×W×3 uint8, the views, and their parameters."""

    pixels: np.ndarray
    views: tuple[View, ...]
    rows: list[list[float]]
    strong: list[tuple[StrongStep, ...]]

    @classmethod
    def of(cls, image: np.ndarray, drawn: Sequence[tuple[View, Drawn]]) -> Drawing:
        """Cut the rectangle that all crops need out of an image; where a side is over LONGEST, shrink it to that."""
        rows = np.array([row(one) for _, one in drawn])
        start, end = rows[:, :2].min(0), (rows[:, :2] + rows[:, 2:4]).max(0)
        (left, top), (right, bottom) = start.astype(int), end.astype(int)
        pixels = image[top:bottom, left:right]
        rows[:, :2] -= start
        height, width = pixels.shape[:2]
        if max(height, width) > LONGEST:
            scale = LONGEST / max(height, width)
            pixels = shrink(pixels, max(1, round(width * scale)), max(1, round(height * scale)), "bilinear")
            rows[:, :4] *= np.tile([pixels.shape[1] / width, pixels.shape[0] / height], 2)
        return cls(pixels, tuple(view for view, _ in drawn), rows.tolist(), [one.strong for _, one in drawn])


@dataclass
class Drawings:
    """A batch of them: `pixels` N×H×W×3 uint8, padded to a common size, and `parameters` V×N×28 float32."""

    pixels: Tensor
    parameters: Tensor
    declared: tuple[View, ...]
    strong: list[list[tuple[StrongStep, ...]]]  # for each view, of each image

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Drawings:
        """Return them on a device."""
        pixels = self.pixels.to(device, non_blocking=non_blocking)
        return replace(self, pixels=pixels, parameters=self.parameters.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Drawings:
        """Return them in page-locked memory."""
        return replace(self, pixels=self.pixels.pin_memory(), parameters=self.parameters.pin_memory())

    def views(self) -> list[Tensor]:
        """Return one tensor N×3×h×w uint8 for each view."""
        images = self.pixels.permute(0, 3, 1, 2).to(
            precision(self.pixels.device), memory_format=torch.contiguous_format
        )
        made = [make(images, view, rows) for view, rows in zip(self.declared, self.parameters, strict=True)]
        return [strengthen_batch(view, steps) for view, steps in zip(made, self.strong, strict=True)]


def check_steps(views: Sequence[View]) -> None:
    """Refuse views with photometric steps or patches, which are Pillow's alone."""
    if any(view.photometric > 0 or view.cells is not None for view in views):
        raise BadInput(
            "Photometric steps and patches are made by the loader's workers only; set view_backend to 'fast' or "
            "'reference'."
        )


def collate_drawings(drawings: Sequence[Drawing]) -> Drawings:
    """Return drawings of the same views as one batch."""
    sides = np.array([drawing.pixels.shape[:2] for drawing in drawings]).max(0)
    height, width = (int(-(-side // MULTIPLE) * MULTIPLE) for side in sides)
    pixels = torch.zeros(len(drawings), height, width, 3, dtype=torch.uint8)
    for padded, drawing in zip(pixels.numpy(), drawings, strict=True):
        padded[: drawing.pixels.shape[0], : drawing.pixels.shape[1]] = drawing.pixels
    parameters = torch.tensor([drawing.rows for drawing in drawings], dtype=torch.float32).transpose(0, 1)
    strong = [list(steps) for steps in zip(*(drawing.strong for drawing in drawings), strict=True)]
    return Drawings(pixels, parameters.contiguous(), drawings[0].views, strong)


def precision(device: torch.device) -> torch.dtype:
    """What pixels are calculated in."""
    return torch.float16 if device.type == "cuda" else torch.float32


def make(images: Tensor, view: View, parameters: Tensor) -> Tensor:
    """Return one view, N×3×size×size uint8, of images N×3×H×W (values 0…255) by parameters N×28."""
    left, top, width, height = parameters[:, CROP : CROP + 4].unbind(1)
    across = weights(left, width, images.shape[3], view.size, view.interpolation)
    across = torch.where(parameters[:, FLIP, None, None] > 0, across.flip(1), across)
    down = weights(top, height, images.shape[2], view.size, view.interpolation)
    pixels = resample(images, across, down)
    if view.grey > 0 and view.grey_first:
        pixels = _grey(pixels, parameters[:, GREY])
    if view.jitter is not None and view.jitter_p > 0:
        pixels = _maps(pixels, parameters[:, BEFORE:SHIFT])
        if view.jitter[HUE] > 0:  # without it, all maps stand before it
            pixels = turn_hue(pixels, parameters[:, SHIFT], parameters[:, TURNED])
            pixels = _maps(pixels, parameters[:, AFTER:GREY])
    if view.grey > 0 and not view.grey_first:
        pixels = _grey(pixels, parameters[:, GREY])
    if view.blur > 0:
        kernel = blur_matrix(parameters[:, RADIUS], view.size)
        pixels = resample(pixels, kernel, kernel)
    if view.solarize > 0:
        pixels = torch.where((_each(parameters[:, SOLARIZE]) > 0) & (pixels >= 128), 255 - pixels, pixels)
    return pixels.to(torch.uint8)


def weights(start: Tensor, length: Tensor, inputs: int, outputs: int, interpolation: Interpolation) -> Tensor:
    """Return N×outputs×inputs float32: Pillow's filter for each output pixel, over a crop [start, start + length).

    The filter is stretched by the scale where the crop shrinks, cut off at the crop's ends, and sums to 1.
    """
    scale = (length / outputs)[:, None, None]
    stretch = scale.clamp(min=1.0)
    centre = (torch.arange(outputs, device=start.device) + 0.5)[None, :, None] * scale + start[:, None, None]
    place = (torch.arange(inputs, device=start.device) + 0.5)[None, None, :]
    distance = ((place - centre) / stretch).abs()
    if interpolation == "bilinear":
        values = (1 - distance).clamp(min=0.0)
    else:  # Keys's cubic with a = −0.5
        near = (1.5 * distance - 2.5) * distance * distance + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        values = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    inside = (place > start[:, None, None]) & (place < (start + length)[:, None, None])
    values = torch.where(inside, values, 0.0)
    return values / values.sum(2, keepdim=True)


def resample(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Return down · image · acrossᵀ for each image N×3×H×W, rounded in between and after, first across as in Pillow."""
    n, colours, height, width = images.shape
    rows = images.reshape(n, colours * height, width) @ across.to(images.dtype).transpose(1, 2)
    rows = rows.round_().clamp_(0, 255).view(n, colours, height, -1)
    return (down.to(images.dtype)[:, None] @ rows).round_().clamp_(0, 255)


def _maps(pixels: Tensor, parameters: Tensor) -> Tensor:
    """Three maps f·x + (1 − f)·(a·grey(x) + b·mean grey), with parameters N×9 of (f, a, b)."""
    for factor, pixel, mean in (parameters[:, start : start + 3].unbind(1) for start in (0, 3, 6)):
        grey = luma(pixels)  # N×1×h×w
        level = (grey.mean((2, 3), keepdim=True, dtype=torch.float32) + 0.5).floor()
        f = _each(factor)
        shift = (1 - f) * _each(mean) * level + LAST_BITS[pixels.dtype]
        towards = ((1 - f) * _each(pixel)).to(pixels.dtype) * grey + shift.to(pixels.dtype)
        pixels = (f.to(pixels.dtype) * pixels + towards).floor_().clamp_(0, 255)  # cut off, as in Pillow
    return pixels


def luma(pixels: Tensor) -> Tensor:
    """Return the grey N×1×h×w of colours N×3×h×w, rounded."""
    red, green, blue = pixels.split(1, dim=1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).round_()


def _grey(pixels: Tensor, chosen: Tensor) -> Tensor:
    """Grey instead of colours N×3×h×w where `chosen`, N, is not 0."""
    return torch.where(_each(chosen) > 0, luma(pixels), pixels)


def turn_hue(pixels: Tensor, shift: Tensor, turned: Tensor) -> Tensor:
    """Turn the hue by shift/255 of the circle, N, where `turned`, N, is not 0.

    The brightest and the darkest channel keep their values, as in HSV. With H in sextants, channel n of (5, 3, 1) is
    V − C · clamp(min(k, 4 − k), 0, 1), k = (n + H) mod 6.
    """
    high, low = pixels.amax(1, keepdim=True), pixels.amin(1, keepdim=True)
    chroma = high - low
    red, green, blue = pixels.split(1, dim=1)
    divisor = chroma.clamp(min=1)
    hue = torch.where(
        high == red,
        (green - blue) / divisor,
        torch.where(high == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    hue = hue + (_each(shift) * (6 / 255)).to(pixels.dtype)
    k = (hue + torch.tensor([5.0, 3.0, 1.0], device=pixels.device, dtype=pixels.dtype).view(1, 3, 1, 1)) % 6
    turned_pixels = (high - chroma * torch.minimum(k, 4 - k).clamp_(0, 1)).round_()
    return torch.where(_each(turned) > 0, turned_pixels, pixels)


def blur_matrix(radius: Tensor, size: int) -> Tensor:
    """Return N×size×size float32: three box filters of a fractional radius, N, edges repeated; 0 does nothing."""
    place = torch.arange(size, device=radius.device, dtype=torch.float32)
    offset = (place[None, :] - place[:, None]).abs()
    r = radius[:, None, None]
    box = (r + 1 - offset).clamp(0, 1)
    # What lies beyond an edge has the edge's value: its weight is added there.
    span = 2 * r[..., 0] + 1
    box[:, :, 0] += _beyond(place, radius)
    box[:, :, -1] += _beyond(size - 1 - place, radius)
    box = box / span[..., None]
    return box @ box @ box


def _beyond(distance: Tensor, radius: Tensor) -> Tensor:
    """The weight, N×size, of a box filter (1 for each whole pixel) further away than the edge at a distance, size."""
    return (radius[:, None] - distance[None]).clamp(min=0.0)


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]
