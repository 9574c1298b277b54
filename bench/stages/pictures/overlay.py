"""Label maps as colours over an image, and what the colours mean."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

OPACITY = 0.6  # of the colours over the image
STRIPE = 32  # stripes of ignored pixels: a band of light and a band of dark, of so many on the long side of an image
ROW, MARGIN = 20, 4  # pixels, of the list of classes
Colours = np.ndarray  # C×3 uint8


def colours_of(palette: Sequence[Sequence[int]] | None, classes: int) -> Colours:
    """Return the colours of C classes: the data set's, or, of classes that it gives none, hues far apart."""
    given = [tuple(colour) for colour in (palette or ())[:classes]]
    more = [
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(number * 0.618 % 1, 0.75, 0.9))
        for number in range(len(given), classes)
    ]
    return np.asarray([*given, *more], np.uint8).reshape(-1, 3)


def overlay(image: np.ndarray, labels: np.ndarray, colours: Colours) -> np.ndarray:
    """Return an image H×W×3 uint8 under the colours of its labels, H×W; the same size.

    What is no class, as 255 (ignored) is none, is striped in grey.
    """
    known = (labels >= 0) & (labels < len(colours))
    shown = image.astype(np.float32)
    painted = np.zeros_like(shown)
    painted[known] = colours[labels[known]]
    shown = np.where(known[..., None], (1 - OPACITY) * shown + OPACITY * painted, shown)
    height, width = labels.shape
    band = max(2, max(height, width) // STRIPE)
    light = (np.add.outer(np.arange(height), np.arange(width)) // band) % 2 == 0
    striped = np.where(light, 225, 70)[..., None] * 0.75 + shown * 0.25
    return np.where(known[..., None], shown, striped).round().astype(np.uint8)


def key(names: Sequence[str], colours: Colours) -> np.ndarray:
    """Return a picture that lists classes beside their colours, and the stripes of ignored pixels; H×W×3 uint8."""
    columns = 2
    labels = [*names, "ignored"]
    font = ImageFont.load_default(13)
    widest = max(round(font.getlength(label)) for label in labels)
    width, rows = MARGIN + 2 * ROW + widest, -(-len(labels) // columns)
    picture = Image.new("RGB", (columns * width + MARGIN, rows * ROW + 2 * MARGIN), "white")
    draw = ImageDraw.Draw(picture)
    side = ROW - 2 * MARGIN
    stripes = overlay(np.full((side, 2 * side, 3), 255, np.uint8), np.full((side, 2 * side), 255), colours)
    for number, label in enumerate(labels):
        x, y = MARGIN + number // rows * width, MARGIN + number % rows * ROW
        box = (x, y + MARGIN, x + 2 * side - 1, y + MARGIN + side - 1)
        if number < len(names):
            draw.rectangle(box, fill=tuple(colours[number]), outline="black")
        else:
            picture.paste(Image.fromarray(stripes), box[:2])
            draw.rectangle(box, outline="black")
        draw.text((x + 2 * side + MARGIN, y + ROW // 2), label, fill="black", font=font, anchor="lm")
    return np.asarray(picture)


def shares(labels: np.ndarray, names: Sequence[str], most: int = 4) -> str:
    """Say what a label map shows: "road 41 %, sky 20 %, ignored 5 %", the largest first, at most so many."""
    values, counts = np.unique(labels, return_counts=True)
    of_name: dict[str, int] = {}
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        name = names[value] if 0 <= value < len(names) else "ignored"
        of_name[name] = of_name.get(name, 0) + count
    ordered = sorted(of_name.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    return ", ".join(f"{name} {100 * count / labels.size:.0f} %" for name, count in ordered)
