"""Views made with OpenCV and torch's uint8 resampling: the reference's, several times as fast.

Takes and gives h×w×3 uint8 arrays. Steps, order and parameters are those of `bench.data.views`; how far each step is
from the reference is stated there and held by tests/data/test_backends.py.

- Crop and resize: torch's antialiased resampling of uint8 (the algorithm of Pillow, vectorised), so nothing is lost.
- Colour jitter and grey: compiled loops that give what Pillow gives, to the last bit (colour_kernels.py).
- Blur: Pillow approximates a Gaussian by three box filters with fractional ends (Gwosdek et al., "Theoretical
  foundations of Gaussian convolution by extended box filtering", 2011); here one filter with the kernel of the three.
- Strong and photometric steps and patches (`View.cells`) are Pillow's, as in the reference.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from bench.data.views.draw import HUE, BoxRow, Drawn, box
from bench.data.views.photometric import change
from bench.data.views.pillow import resized
from bench.data.views.spec import Interpolation, View
from bench.data.views.strong import strengthen_pixels

cv2.setNumThreads(0)  # DataLoader's workers are the parallelism

GREY = (4, 0.0)  # a step before or after them, without a factor
NEGLIGIBLE = 1e-3  # weight at a kernel's ends: a quarter of a grey level at most


def ready() -> None:
    """Compile or load what colours need, so that workers forked later have it already."""
    from bench.data.views import colour_kernels  # noqa: F401 - not at the top: it loads numba


def apply(image: np.ndarray, view: View, drawn: Drawn) -> np.ndarray:
    """Return a view, size×size×3 uint8, of an RGB image H×W×3 uint8."""
    left, top, width, height = drawn.crop
    crop = image[top : top + height, left : left + width]
    if drawn.patch is None:
        pixels = resize(crop, view.size, view.size, view.interpolation)
    else:
        pixels = np.asarray(resized(Image.fromarray(crop), view, drawn))
    if drawn.flip:
        pixels = cv2.flip(pixels, 1)
    grey = (GREY,) if drawn.grey else ()
    steps = (*grey, *drawn.jitter) if view.grey_first else (*drawn.jitter, *grey)
    if drawn.photometric is not None:  # after the jitter: what comes before it is done now
        first, steps = (steps, ()) if view.grey_first else (drawn.jitter, grey)
        pixels = recolour(pixels, first) if first else pixels
        pixels = np.asarray(change(Image.fromarray(pixels), drawn.photometric))
    if steps:
        pixels = recolour(pixels, steps)
    if drawn.blur is not None:
        pixels = blur(pixels, drawn.blur)
    if drawn.solarize:
        pixels = cv2.min(pixels, cv2.bitwise_not(pixels))
    return strengthen_pixels(pixels, drawn.strong)


def make_test_view(image: np.ndarray, size: int, resize_to: int) -> tuple[np.ndarray, BoxRow]:
    """Return what `bench.data.views.pillow.make_test_view` does, of an array."""
    height, width = image.shape[:2]
    short = min(height, width)
    width, height = int(resize_to * width / short), int(resize_to * height / short)
    left, top = round((width - size) / 2), round((height - size) / 2)
    pixels = resize(image, width, height, "bilinear")[top : top + size, left : left + size]
    return np.ascontiguousarray(pixels), box((left, top, size, size), False, width, height)


def resize(image: np.ndarray, width: int, height: int, interpolation: Interpolation) -> np.ndarray:
    """Return an image H×W×3 uint8 (of any strides) resampled to height×width×3, antialiased where it shrinks."""
    copied = np.array(image, order="C")  # a crop's rows apart cost more, and torch wants memory that may be written
    if copied.shape[:2] == (height, width):
        return copied
    # The batch dimension comes first: were its stride not the image's size, torch would answer channels-first, and
    # putting the colours together again would take longer than the resampling.
    batch = torch.from_numpy(copied)[None].permute(0, 3, 1, 2)
    resized = F.interpolate(batch, size=(height, width), mode=interpolation, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def recolour(pixels: np.ndarray, steps: tuple[tuple[int, float], ...]) -> np.ndarray:
    """Do steps of colour jitter, (BRIGHTNESS … HUE, factor), and GREY in this order; h×w×3 uint8."""
    from bench.data.views import colour_kernels  # not at the top: it loads numba

    pixels = np.require(pixels, requirements=["C", "W"])  # compiled for memory that may be written
    done = np.empty_like(pixels)
    order = np.array([step for step, _ in steps], np.int64)
    factors = np.array([int(f * 255) % 256 if step == HUE else f for step, f in steps], np.float64)
    planes = np.empty((3, pixels.size // 3), np.uint8)
    colour_kernels.recolour(pixels.reshape(-1), planes, order, factors, done.reshape(-1))
    return done


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
def box_radius(sigma: float) -> float:
    """Return the radius of the box filter that, done three times, has the variance sigma² (Gwosdek et al. 2011)."""
    variance = sigma * sigma / 3
    whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    return whole + part
