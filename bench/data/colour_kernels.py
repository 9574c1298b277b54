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


@_compiled("void(uint8[:,::1], float32)")
def turn(planes, shift):
    red, green, blue = planes[0], planes[1], planes[2]
    zero, one, full = float32(0), float32(1), float32(255)
    for i in range(red.size):
        r, g, b = red[i], green[i], blue[i]
        high = r if r > g else g
        low = g if r > g else r
        middle = low if low > b else b
        middle = high if middle > high else middle
        low = b if b < low else low
        high = b if b > high else high
        value = float32(high)
        chroma = float32(uint8(high - low))
        u = float32(uint8(high - middle)) / (chroma if chroma > one else one)
        s = np.trunc(chroma / (value if value > one else one) * full) * float32(1 / 65025)
        if r == high:
            q = one - u if g > b else u - one
        elif g == high:
            q = float32(3) - u if b > r else float32(1) + u
        else:
            q = float32(5) - u if r > g else float32(3) + u
        q = q * float32(0.6621727347373962) * float32(64.18264770507812)
        hue = np.trunc(q + full if q < zero else q) + shift
        hue = (hue - float32(256) if hue >= float32(256) else hue) * float32(6)
        w = float32(510) - abs(hue - float32(765))
        w = w if w > zero else zero
        w = w if w < full else full
        red[i] = uint8(int32(value * (one - s * w) + float32(0.5)))
        w = abs(hue - float32(510)) - full
        w = w if w > zero else zero
        w = w if w < full else full
        green[i] = uint8(int32(value * (one - s * w) + float32(0.5)))
        w = abs(hue - float32(1020)) - full
        w = w if w > zero else zero
        w = w if w < full else full
        blue[i] = uint8(int32(value * (one - s * w) + float32(0.5)))


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
