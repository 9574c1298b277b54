"""Ten plain shapes, which a few pixels are enough to tell apart: the classes of the rendered small images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from bench.synthetic.things import Painted, posed

Inside = Callable[[np.ndarray, np.ndarray], np.ndarray]  # u, v (H×W, about −1 to 1) -> H×W boolean


def paint_shape(name: str, side: int, rng: np.random.Generator) -> Image.Image:
    """Return an image of side×side pixels with one shape, of any colour before any background."""
    inside, turn = SHAPES[name]
    return posed(partial(_coloured, inside), turn, side, side, rng)


def _coloured(inside: Inside, u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> Painted:
    colour = rng.uniform(0.0, 1.0, 3)
    colour[int(rng.integers(3))] = rng.uniform(0.7, 1.0)  # none is lost in the dark
    return inside(u, v), np.broadcast_to(colour.astype(np.float32), (*u.shape, 3))


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v))


def _flower(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.hypot(u, v) < 0.65 + 0.35 * np.cos(5 * np.arctan2(u, -v))


def _checks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (_square(u, v) < 0.8) & ((np.floor(u * 2.5 + 2) + np.floor(v * 2.5 + 2)) % 2 == 0)


# name -> (where it is, how far it is turned, in radians)
SHAPES: dict[str, tuple[Inside, float]] = {
    "bars": (lambda u, v: (_square(u, v) < 0.85) & (np.abs(v) % 0.6 < 0.25), 0.4),
    "checks": (_checks, 0.4),
    "crescent": (lambda u, v: (np.hypot(u, v) < 0.9) & (np.hypot(u - 0.45, v) > 0.7), 0.6),
    "cross": (lambda u, v: (np.minimum(np.abs(u), np.abs(v)) < 0.25) & (_square(u, v) < 0.9), 0.3),
    "disc": (lambda u, v: np.hypot(u, v) < 0.85, 3.1),
    "flower": (_flower, 0.6),
    "frame": (lambda u, v: (_square(u, v) < 0.85) & (_square(u, v) > 0.5), 0.3),
    "ring": (lambda u, v: np.abs(np.hypot(u, v) - 0.7) < 0.2, 3.1),
    "square": (lambda u, v: _square(u, v) < 0.8, 0.3),
    "triangle": (lambda u, v: (v < 0.7) & (v > 1.9 * np.abs(u) - 0.9), 0.4),
}
