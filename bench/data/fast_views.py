"""Views made with OpenCV and torch's uint8 resampling: the reference's, several times as fast.

Takes and gives h×w×3 uint8 arrays. Steps, order and parameters are those of `bench.data.views`; how far each step is
from the reference is stated there and held by tests/data/test_backends.py.

- Crop and resize: torch's antialiased resampling of uint8 (the algorithm of Pillow, vectorised), so nothing is lost.
- Brightness, contrast, saturation and grey are affine maps of a pixel's colour. They are multiplied together and done
  in one pass for as long as no value can be cut off at 0 or 255 in between; contrast needs the image's mean grey, which
  the same map takes along.
- Hue is turned in OpenCV's HSV with 256 steps, as the reference does in Pillow's.
- Blur: Pillow approximates a Gaussian by three box filters with fractional ends (Gwosdek et al., "Theoretical
  foundations of Gaussian convolution by extended box filtering", 2011); here one filter with the kernel of the three.
- Strong steps are Pillow's, as in the reference.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from bench.data.strong_views import strengthen_pixels
from bench.data.views import BoxRow, Drawn, Interpolation, View, box

cv2.setNumThreads(0)  # DataLoader's workers are the parallelism

LUMA = np.array([19595, 38470, 7471], np.float64) / 65536  # Pillow's weights of "L" (ITU-R 601-2)
SATURATION, HUE = 2, 3  # positions in JITTERS
GREY = (SATURATION, 0.0)  # no saturation is left
# Pillow cuts off fractions where OpenCV rounds. A bit less than a half, as OpenCV's maps have 10 bits.
CUT_OFF = 0.4
NEGLIGIBLE = 1e-3  # weight at a kernel's ends: a quarter of a grey level at most


def apply(image: np.ndarray, view: View, drawn: Drawn) -> np.ndarray:
    """Return a view, size×size×3 uint8, of an RGB image H×W×3 uint8."""
    left, top, width, height = drawn.crop
    pixels = resize(image[top : top + height, left : left + width], view.size, view.size, view.interpolation)
    if drawn.flip:
        pixels = cv2.flip(pixels, 1)
    if drawn.jitter or drawn.grey:
        pixels = recolour(pixels, (*drawn.jitter, GREY) if drawn.grey else drawn.jitter)
    if drawn.blur is not None:
        pixels = blur(pixels, drawn.blur)
    if drawn.solarize:
        pixels = cv2.min(pixels, cv2.bitwise_not(pixels))
    return strengthen_pixels(pixels, drawn.strong)


def make_test_view(
    image: np.ndarray, size: int, resize_to: int, interpolation: Interpolation = "bilinear"
) -> tuple[np.ndarray, BoxRow]:
    """Return what `bench.data.views.make_test_view` does, of an array."""
    height, width = image.shape[:2]
    short = min(height, width)
    width, height = int(resize_to * width / short), int(resize_to * height / short)
    left, top = round((width - size) / 2), round((height - size) / 2)
    pixels = resize(image, width, height, interpolation)[top : top + size, left : left + size]
    return np.ascontiguousarray(pixels), box((left, top, size, size), False, width, height)


def resize(image: np.ndarray, width: int, height: int, interpolation: Interpolation) -> np.ndarray:
    """Return an image H×W×3 uint8 (of any strides) resampled to height×width×3, antialiased where it shrinks."""
    own = np.array(image, order="C")  # a crop's rows apart cost more, and torch wants memory that may be written
    if own.shape[:2] == (height, width):
        return own
    # The batch dimension comes first: were its stride not the image's size, torch would answer channels-first, and
    # putting the colours together again would take longer than the resampling.
    batch = torch.from_numpy(own)[None].permute(0, 3, 1, 2)
    resized = F.interpolate(batch, size=(height, width), mode=interpolation, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def recolour(pixels: np.ndarray, steps: tuple[tuple[int, float], ...]) -> np.ndarray:
    """Do steps of colour jitter, (position in JITTERS, factor), in this order."""
    colours = _Colours(pixels)
    for step, factor in steps:
        if step == HUE:
            colours.turn(factor)
        else:
            colours.blend(step, factor)
    return colours.pixels()


class _Colours:
    """Pixels, and an affine map of colours that is still to be done: colour ↦ matrix · colour + shift."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self._mean: np.ndarray | None = None
        self._reset()

    def _reset(self) -> None:
        self._map = np.eye(3, 4)
        self._pending = self._full = False

    def blend(self, step: int, factor: float) -> None:
        """Go from black (0), the mean grey (1) or the pixel's own grey (2) towards the colour, or beyond it."""
        if self._full:
            self.pixels()
        if step == 0:
            self._map *= factor
        elif step == 1:
            if self._mean is None:
                self._mean = np.array(cv2.mean(self._pixels)[:3])
            grey = math.floor(LUMA @ (self._map[:, :3] @ self._mean + self._map[:, 3]) + 0.5)
            self._map *= factor
            self._map[:, 3] += (1 - factor) * grey
        else:
            self._map = factor * self._map + (1 - factor) * (LUMA @ self._map)
        self._map[:, 3] -= CUT_OFF if factor else 0.0  # grey is rounded
        self._pending, self._full = True, factor > 1  # only beyond the colour can a value leave 0…255

    def turn(self, factor: float) -> None:
        """Turn the hue by a share of the circle."""
        pixels = cv2.cvtColor(self.pixels(), cv2.COLOR_RGB2HSV_FULL)
        pixels[..., 0] += np.uint8(int(factor * 255) % 256)
        self._pixels, self._mean = cv2.cvtColor(pixels, cv2.COLOR_HSV2RGB_FULL), None

    def pixels(self) -> np.ndarray:
        """Return the pixels with all done."""
        if self._pending:
            self._pixels, self._mean = cv2.transform(self._pixels, self._map), None
            self._reset()
        return self._pixels


def blur(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Return pixels under Pillow's Gaussian blur of a standard deviation in pixels."""
    kernel = blur_kernel(sigma)
    # Pillow repeats the edge, blurred, in each of its three passes: on the whole that is nearer to a reflection.
    return cv2.sepFilter2D(pixels, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT)


def blur_kernel(sigma: float) -> np.ndarray:
    """Return the kernel (odd length) of Pillow's GaussianBlur: three box filters of a fractional radius."""
    radius = box_radius(sigma)
    whole = int(radius)
    box = np.ones(2 * whole + 3)
    box[0] = box[-1] = radius - whole
    box /= 2 * radius + 1
    kernel = np.convolve(np.convolve(box, box), box)
    while len(kernel) > 3 and kernel[0] < NEGLIGIBLE:
        kernel = kernel[1:-1]
    return (kernel / kernel.sum()).astype(np.float32)


@lru_cache(maxsize=4096)
def box_radius(sigma: float, passes: int = 3) -> float:
    """Return the radius of the box filter that, done so many times, has the variance sigma² (Gwosdek et al. 2011)."""
    variance = sigma * sigma / passes
    whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    return whole + part
