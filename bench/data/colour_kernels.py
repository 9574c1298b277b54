"""Colours of views in compiled loops, equal to Pillow's to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import float32, float64, int32, uint8, uint32, int64, boolean


def _compiled(*signatures: str) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(list(signatures), cache=True, nogil=True, error_model="numpy")(function)
        except (RuntimeError, OSError):
            return numba.njit(list(signatures), cache=False, nogil=True, error_model="numpy")(function)

    return decorate


@_compiled("void(uint8[:,::1], float32, float32)")
def towards(planes, factor, level):
    """Pillow's blend with one level."""
    for channel in range(3):
        plane = planes[channel]
        for i in range(plane.size):
            value = level + factor * (float32(plane[i]) - level)
            value = value if value > float32(0) else float32(0)
            value = value if value < float32(255) else float32(255)
            plane[i] = uint8(int32(value))


@_compiled("void(uint8[:,::1], float32)")
def saturate(planes, factor):
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(red.size):
        r, g, b = float32(red[i]), float32(green[i]), float32(blue[i])
        grey = float32(int32((r * float32(19595) + g * float32(38470) + b * float32(7471) + float32(32768)) * float32(1 / 65536)))
        r = grey + factor * (r - grey)
        g = grey + factor * (g - grey)
        b = grey + factor * (b - grey)
        r = r if r > float32(0) else float32(0)
        g = g if g > float32(0) else float32(0)
        b = b if b > float32(0) else float32(0)
        r = r if r < float32(255) else float32(255)
        g = g if g < float32(255) else float32(255)
        b = b if b < float32(255) else float32(255)
        red[i] = uint8(int32(r))
        green[i] = uint8(int32(g))
        blue[i] = uint8(int32(b))


@_compiled("int64(uint8[:,::1])")
def grey_sum(planes):
    red, green, blue = planes[0], planes[1], planes[2]
    total = 0
    for i in range(red.size):
        r, g, b = float32(red[i]), float32(green[i]), float32(blue[i])
        total += int32((r * float32(19595) + g * float32(38470) + b * float32(7471) + float32(32768)) * float32(1 / 65536))
    return total


@_compiled("void(uint8[:,::1], int32)")
def turn(planes, shift):
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(red.size):
        r, g, b = float32(red[i]), float32(green[i]), float32(blue[i])
        high = r if r > g else g
        high = b if b > high else high
        low = r if r < g else g
        low = b if b < low else low
        chroma = high - low
        chroma_ = chroma if chroma > float32(0) else float32(1)
        value_ = high if high > float32(0) else float32(1)
        middle = r + g + b - high - low
        u = (high - middle) / chroma_
        # sextant
        is_red = r == high
        is_green = g == high
        # r: min is b -> 1 - gc ; min is g -> bc - 1.  When both g and b are min, either gives 0.
        sign = (g > b) if is_red else ((b > r) if is_green else (r > g))
        base = float64(0) if is_red else (float64(2) if is_green else float64(4))
        one = float64(1) - float64(u)
        h = float64(float32(base + one if sign else base - one))
        h = h / 6.0 + 1.0
        h = h - 1.0 if h >= 1.0 else h
        hue = int32(float64(float32(h)) * 255.0)
        s = int32(float64(chroma / value_) * 255.0)
        hue = hue if chroma > float32(0) else int32(0)
        hue = (hue + shift) & int32(255)
        six = float64(hue) * 6.0 / 255.0
        sextant = int32(six)
        f = float32(six - float64(sextant))
        fs = float32(float64(s) / 255.0)
        p = int32(float64(high) * (1.0 - float64(fs)) + 0.5)
        odd = (sextant & int32(1)) != 0
        product = float64(fs * f) if odd else float64(fs) * (1.0 - float64(f))
        m = int32(float64(high) * (1.0 - product) + 0.5)
        v = int32(high)
        k = sextant if sextant < 6 else int32(0)
        red[i] = uint8(v if (k == 0 or k == 5) else (m if (k == 1 or k == 4) else p))
        green[i] = uint8(v if (k == 1 or k == 2) else (m if (k == 0 or k == 3) else p))
        blue[i] = uint8(v if (k == 3 or k == 4) else (m if (k == 2 or k == 5) else p))


@_compiled("void(uint8[::1], uint8[:,::1])")
def split(pixels, planes):
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(red.size):
        red[i] = pixels[3 * i]
        green[i] = pixels[3 * i + 1]
        blue[i] = pixels[3 * i + 2]


@_compiled("void(uint8[:,::1], uint8[::1])")
def merge(planes, pixels):
    red, green, blue = planes[0], planes[1], planes[2]
    for i in range(red.size):
        pixels[3 * i] = red[i]
        pixels[3 * i + 1] = green[i]
        pixels[3 * i + 2] = blue[i]
