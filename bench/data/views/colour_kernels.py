"""Colour jitter and grey in compiled loops over 8-bit pixels, each step equal to Pillow's to the last bit.

Importing this module imports numba and compiles (seconds) or loads what an earlier process compiled; `fast_views` does
so when a data set or the first view is made. Loops run in one thread, without Python's global lock.

How they are fast: colours are taken apart into three planes, and each step is one loop without branches over them that
LLVM turns into SIMD instructions; the planes of a view stay in the processor's second cache. How they are exact:

- Brightness, contrast and saturation are Pillow's formula in its precision, float32, fractions cut off.
- Hue: Pillow goes through HSV of 8 bits each. The brightest channel is kept; of the two divisions one has the result
  1, and the other, the step to 8 bits and the way back are done in float32. `TO_SIXTH` and `TO_STEPS` stand for a
  division by 6 and a multiplication by 255: with these two numbers every colour gets the hue that Pillow's mixture of
  float and double gives it, which tests/data/test_backends.py goes through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import float32, int32, uint8, uint32

BRIGHTNESS, CONTRAST, SATURATION, HUE, GREY = range(5)  # the first four as in bench.data.views.draw

TO_SIXTH, TO_STEPS = float32(0.6621727347373962), float32(64.18264770507812)
ZERO, HALF, ONE, FULL = float32(0), float32(0.5), float32(1), float32(255)
RED, GREEN, BLUE = uint32(19595), uint32(38470), uint32(7471)  # Pillow's weights of "L" in 1/65536 (ITU-R 601-2)
OF_PRODUCT = float32(1 / 65025)


def compiled(*signatures: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for these types now; keep the result beside this file or in numba's folder of the user.

    Where neither may be written (or is full), it is compiled anew in each process.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        options = {"nogil": True, "error_model": "numpy"}
        try:
            return numba.njit(list(signatures), cache=True, **options)(function)
        except (RuntimeError, OSError):  # numba says RuntimeError where it finds no folder
            return numba.njit(list(signatures), **options)(function)

    return decorate


@compiled("float32(float32)")
def _within(value: Any) -> Any:
    """Cut a value off at 0 and 255."""
    value = value if value > ZERO else ZERO
    return value if value < FULL else FULL


@compiled("int32(uint8, uint8, uint8)")
def _luma(red: Any, green: Any, blue: Any) -> Any:
    """Return the grey of a colour, rounded. Sums are below 2^24; without the casts numba would add in 64 bits."""
    weighted = uint32(uint32(RED * uint32(red)) + uint32(GREEN * uint32(green)))
    weighted = uint32(weighted + uint32(uint32(BLUE * uint32(blue)) + uint32(32768)))
    return int32(weighted >> uint32(16))


@compiled("void(uint8[:,::1], float32, float32)")
def _blend(planes: Any, factor: Any, level: Any) -> None:
    """Go from a grey level towards the colour, or beyond it."""
    for channel in range(3):
        plane = planes[channel]
        for i in range(plane.size):
            plane[i] = uint8(int32(_within(level + factor * (float32(plane[i]) - level))))


@compiled("void(uint8[:,::1], float32)")
def _saturate(planes: Any, factor: Any) -> None:
    """Go from the pixel's grey towards its colour, or beyond it."""
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(red.size):
        r, g, b = float32(red[i]), float32(green[i]), float32(blue[i])
        grey = float32(_luma(red[i], green[i], blue[i]))
        red[i] = uint8(int32(_within(grey + factor * (r - grey))))
        green[i] = uint8(int32(_within(grey + factor * (g - grey))))
        blue[i] = uint8(int32(_within(grey + factor * (b - grey))))


@compiled("float32(uint8[:,::1])")
def _mean_grey(planes: Any) -> Any:
    """Return the mean of the rounded greys, rounded."""
    red, green, blue = planes[0], planes[1], planes[2]
    total = 0
    for i in range(red.size):
        total += _luma(red[i], green[i], blue[i])
    return float32(int(total / red.size + 0.5))


@compiled("void(uint8[:,::1], float32)")
def _turn(planes: Any, shift: Any) -> None:
    """Turn the hue by shift/256 of the circle as Pillow's HSV has it: hue and saturation in 8 bits."""
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(red.size):
        r, g, b = red[i], green[i], blue[i]
        high, low = (r, g) if r > g else (g, r)
        middle = low if low > b else b
        middle = high if middle > high else middle
        low = b if b < low else low
        high = b if b > high else high
        value, chroma = float32(high), float32(uint8(high - low))
        part = float32(uint8(high - middle)) / (chroma if chroma > ONE else ONE)
        if r == high:  # sixths of the circle
            hue = ONE - part if g > b else part - ONE
        elif g == high:
            hue = float32(3) - part if b > r else ONE + part
        else:
            hue = float32(5) - part if r > g else float32(3) + part
        hue = hue * TO_SIXTH * TO_STEPS
        hue = np.trunc(hue + FULL if hue < ZERO else hue) + shift
        hue = (hue - float32(256) if hue >= float32(256) else hue) * float32(6)  # 0…1530
        saturation = np.trunc(chroma / (value if value > ONE else ONE) * FULL) * OF_PRODUCT
        # What each channel lacks of the brightest is its distance from the channel's third of the circle.
        away = _within(float32(510) - abs(hue - float32(765)))
        red[i] = uint8(int32(value * (ONE - saturation * away) + HALF))
        away = _within(abs(hue - float32(510)) - FULL)
        green[i] = uint8(int32(value * (ONE - saturation * away) + HALF))
        away = _within(abs(hue - float32(1020)) - FULL)
        blue[i] = uint8(int32(value * (ONE - saturation * away) + HALF))


@compiled("void(uint8[::1], uint8[:,::1], int64[::1], float64[::1], uint8[::1])")
def recolour(pixels: Any, planes: Any, steps: Any, factors: Any, out: Any) -> None:
    """Do steps of colour jitter in their order.

    Args:
        pixels: H·W·3 uint8, an image's in a line.
        planes: 3×(H·W) uint8; what is in it is overwritten.
        steps: BRIGHTNESS to GREY.
        factors: of each step; for HUE the shift in 1/256 of the circle, 0…255; GREY has none.
        out: H·W·3 uint8 of the result; may be `pixels`.
    """
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(red.size):
        red[i] = pixels[3 * i]
        green[i] = pixels[3 * i + 1]
        blue[i] = pixels[3 * i + 2]
    grey = False  # whether only the first plane counts
    for number in range(steps.size):
        step, factor = steps[number], float32(factors[number])
        if step == BRIGHTNESS:
            _blend(planes, factor, ZERO)
        elif step == CONTRAST:
            _blend(planes, factor, _mean_grey(planes))
        elif step == SATURATION:
            _saturate(planes, factor)
        elif step == HUE:
            _turn(planes, factor)
        else:
            for i in range(red.size):
                red[i] = uint8(_luma(red[i], green[i], blue[i]))
            grey = number == steps.size - 1
            if not grey:
                for i in range(red.size):
                    green[i] = red[i]
                    blue[i] = red[i]
    if grey:
        green, blue = red, red
    for i in range(red.size):
        out[3 * i] = red[i]
        out[3 * i + 1] = green[i]
        out[3 * i + 2] = blue[i]
