"""A canvas on which colour and meaning are painted by the same stroke, so that a label map cannot disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = Sequence[float] | np.ndarray  # red, green, blue in [0, 1], or H×W×3 of them

# What can be painted: (Cityscapes label id, COCO category id or 0).
KINDS: dict[str, tuple[int, int]] = {
    "unlabelled": (0, 0),
    "ego vehicle": (1, 0),
    "static": (4, 0),
    "road": (7, 0),
    "sidewalk": (8, 0),
    "parking": (9, 0),
    "rail track": (10, 0),
    "building": (11, 0),
    "wall": (12, 0),
    "fence": (13, 0),
    "pole": (17, 0),
    "traffic light": (19, 10),
    "traffic sign": (20, 0),
    "vegetation": (21, 0),
    "terrain": (22, 0),
    "sky": (23, 0),
    "person": (24, 1),
    "rider": (25, 1),
    "car": (26, 3),
    "truck": (27, 8),
    "bus": (28, 6),
    "train": (31, 7),
    "motorcycle": (32, 4),
    "bicycle": (33, 2),
    "umbrella": (5, 28),
    "sports ball": (5, 37),
    "apple": (5, 53),
    "orange": (5, 55),
    "clock": (5, 85),
    "vase": (5, 86),
}
KIND_NAMES = tuple(KINDS)


class Canvas:
    """H×W pixels, each with a colour, a kind (position in KIND_NAMES) and an instance (0: none).

    `x` and `y` are the coordinates of the pixels' centres, W and H×1.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.colour = np.zeros((height, width, 3), np.float32)
        self.kind = np.zeros((height, width), np.uint8)
        self.instance = np.zeros((height, width), np.uint16)
        self.instances: list[str] = []  # the kind of instance i + 1
        self.x = np.arange(width, dtype=np.float32)[None, :] + 0.5
        self.y = np.arange(height, dtype=np.float32)[:, None] + 0.5

    def new(self, kind: str) -> int:
        """Begin a thing of a kind and return its instance number."""
        self.instances.append(kind)
        return len(self.instances)

    def paint(self, mask: np.ndarray, colour: Colour, kind: str, instance: int = 0) -> None:
        """Give all pixels of a mask (H×W) this colour, kind and instance at once."""
        value = np.asarray(colour, np.float32)
        mask = np.broadcast_to(mask, self.kind.shape)
        self.colour[mask] = value[mask] if value.ndim == 3 else value
        self.kind[mask] = KIND_NAMES.index(kind)
        self.instance[mask] = instance

    def shade(self, mask: np.ndarray, factor: float) -> None:
        """Make pixels darker or lighter: light changes no meaning."""
        self.colour[np.broadcast_to(mask, self.kind.shape)] *= factor

    def image(self, rng: np.random.Generator, noise: float = 0.02) -> Image.Image:
        """Return the colours under an uneven light, with a camera's noise of this standard deviation."""
        light = 1 + 0.12 * (smooth(rng, self.height, self.width, 2) - 0.5)
        pixels = self.colour * light[..., None] + rng.normal(0, noise, self.colour.shape)
        return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))

    # Shapes: masks H×W of the pixels whose centres lie inside.

    def ellipse(self, x: float, y: float, rx: float, ry: float) -> np.ndarray:
        """An upright ellipse around (x, y)."""
        return ((self.x - x) / max(rx, 0.5)) ** 2 + ((self.y - y) / max(ry, 0.5)) ** 2 <= 1

    def ring(self, x: float, y: float, radius: float, width: float) -> np.ndarray:
        """A circle's line around (x, y), at least one pixel wide."""
        distance = np.hypot(self.x - x, self.y - y)
        return np.abs(distance - radius) <= max(width, 1.0) / 2

    def box(self, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
        """A rectangle, at least one pixel wide and high."""
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        return (self.x >= x0) & (self.x < x1) & (self.y >= y0) & (self.y < y1)

    def polygon(self, points: Sequence[tuple[float, float]]) -> np.ndarray:
        """A filled polygon."""
        drawn = Image.new("1", (self.width, self.height))
        ImageDraw.Draw(drawn).polygon([(float(x), float(y)) for x, y in points], fill=1)
        return np.asarray(drawn)

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float) -> np.ndarray:
        """A line, at least one pixel wide."""
        length = max(float(np.hypot(x1 - x0, y1 - y0)), 1e-6)
        along = ((self.x - x0) * (x1 - x0) + (self.y - y0) * (y1 - y0)) / length
        across = ((self.x - x0) * (y1 - y0) - (self.y - y0) * (x1 - x0)) / length
        return (np.abs(across) <= max(width, 1.0) / 2) & (along >= 0) & (along <= length)


def smooth(rng: np.random.Generator, height: int, width: int, cells: int, octaves: int = 1) -> np.ndarray:
    """Return smooth noise H×W in [0, 1] with `cells` bumps along the longer side, and finer ones on top."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        count = cells * 2**octave
        rows, columns = (max(2, round(count * side / max(height, width))) for side in (height, width))
        coarse = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
        total += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) / 2**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def blend(low: Colour, high: Colour, share: np.ndarray) -> np.ndarray:
    """Return H×W×3 between two colours by a share H×W."""
    a, b = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return a + (b - a) * share[..., None].astype(np.float32)
