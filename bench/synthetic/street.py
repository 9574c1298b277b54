"""Street scenes in perspective: a road between facades, and what stands and moves on it.

Lengths are metres: X across from the middle of the road, z along it, heights above the ground. A thing at depth z is
drawn with s = focal / z pixels for a metre.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.synthetic.canvas import Canvas, Colour, blend, smooth

CAMERA = 2.2  # height
FAR = 90.0  # where the street ends
ROAD, WALK = 4.0, 7.0  # half widths: of the road, and to the facades

BRICKS: tuple[tuple[float, float, float], ...] = (
    (0.55, 0.38, 0.32),
    (0.66, 0.60, 0.50),
    (0.50, 0.51, 0.54),
    (0.72, 0.68, 0.63),
    (0.60, 0.48, 0.36),
)
PAINTS: tuple[tuple[float, float, float], ...] = (
    (0.72, 0.10, 0.10),
    (0.12, 0.22, 0.55),
    (0.85, 0.85, 0.87),
    (0.12, 0.12, 0.14),
    (0.45, 0.47, 0.50),
    (0.75, 0.62, 0.15),
    (0.15, 0.40, 0.25),
)
DARK, GLASS, STEEL = (0.06, 0.06, 0.07), (0.20, 0.27, 0.33), (0.42, 0.43, 0.44)


class Street:
    """Paints one scene on a canvas; `rng` decides what stands where."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator) -> None:
        self.canvas, self.rng = canvas, rng
        self.middle = canvas.width * rng.uniform(0.42, 0.58)
        self.horizon = canvas.height * rng.uniform(0.38, 0.46)
        self.focal = 1.1 * canvas.width
        # Where the road lies at each pixel below the horizon.
        self.below = canvas.y > self.horizon + 0.5
        self.scale = np.maximum(canvas.y - self.horizon, 0.5) / CAMERA  # H×1, pixels a metre
        self.across = (canvas.x - self.middle) / self.scale  # H×W, X
        self.depth = np.broadcast_to(self.focal / self.scale, self.across.shape)  # H×W, z
        self._textures: dict[int, np.ndarray] = {}
        self.panes = blend(GLASS, (0.55, 0.65, 0.75), smooth(rng, canvas.height, canvas.width, 20))

    def pick(self, colours: Sequence[Colour]) -> Colour:
        """One of some colours, a little off."""
        colour = np.asarray(colours[int(self.rng.integers(len(colours)))])
        return np.clip(colour + self.rng.uniform(-0.05, 0.05, 3), 0, 1)

    def texture(self, cells: int) -> np.ndarray:
        """Smooth noise H×W in [0, 1], made once for each `cells` and shifted by chance."""
        if cells not in self._textures:
            self._textures[cells] = smooth(self.rng, self.canvas.height, self.canvas.width, cells, 2)
        return np.roll(self._textures[cells], int(self.rng.integers(self.canvas.width)), axis=1)

    def grain(self, colour: Colour, strength: float, cells: int = 60) -> np.ndarray:
        """A colour with a texture: H×W×3."""
        return np.asarray(colour, np.float32) * (1 + strength * (self.texture(cells) - 0.5))[..., None]

    # Background, from the back to the front.

    def sky(self) -> None:
        """A gradient with clouds."""
        c = self.canvas
        top = self.pick([(0.35, 0.55, 0.85), (0.55, 0.66, 0.80), (0.70, 0.74, 0.78)])
        fall = np.broadcast_to(np.clip(c.y / self.horizon, 0, 1), (c.height, c.width))
        clouds = np.clip(smooth(self.rng, c.height, c.width, 4, 3) * 2 - 1, 0, 1) * 0.8
        blue = blend(top, (0.88, 0.91, 0.94), fall)
        c.paint(np.ones((c.height, c.width), bool), blue + (0.96 - blue) * clouds[..., None], "sky")

    def ground(self, extras: Sequence[str]) -> None:
        """Road with markings, sidewalks with a kerb, and what lies beyond them."""
        c, x = self.canvas, self.across
        wide = np.abs(x)
        walk = self.grain(self.pick([(0.58, 0.55, 0.53), (0.64, 0.60, 0.56)]), 0.25)
        c.paint(self.below, walk, "sidewalk")
        slabs = (np.abs((self.depth % 1.5) - 0.1) < 0.1) & self.below & (self.scale > 8)
        c.shade(slabs, 0.88)
        if "terrain" in extras:
            side = -1 if self.rng.random() < 0.5 else 1
            grass = self.grain((0.36, 0.47, 0.20), 0.7)
            c.paint(self.below & (x * side > 5.4), grass, "terrain")
        asphalt = self.grain(self.pick([(0.30, 0.30, 0.32), (0.36, 0.36, 0.37)]), 0.25)
        road = self.below & (wide < ROAD)
        c.paint(road, asphalt, "road")
        c.shade(self.below & (np.abs(wide - ROAD - 0.1) < 0.1), 1.25)
        line = np.maximum(0.07, 0.5 / self.scale)  # half a metre's share, at least a pixel
        dashes = road & (np.abs(x) < line) & (self.depth % 5 < 2.5)
        edges = road & (np.abs(wide - ROAD + 0.35) < line)
        crossing = road & (np.abs(self.depth - self.rng.uniform(8, 22)) < 1.2) & (x % 1.0 < 0.5)
        stripes = [dashes, edges] + ([crossing] if self.rng.random() < 0.5 else [])
        c.paint(np.logical_or.reduce(stripes), (0.86, 0.86, 0.84), "road")
        if "parking" in extras:
            c.paint(self.below & (x > 2.4) & (x < ROAD), self.grain((0.44, 0.41, 0.40), 0.3), "parking")
        if "train" in extras:
            bed = self.below & (x > -3.4) & (x < -0.6)
            c.paint(bed, self.grain((0.38, 0.34, 0.30), 0.5), "rail track")
            rails = np.abs(np.abs(x + 2.0) - 0.72) < np.maximum(0.06, 0.5 / self.scale)
            c.paint(bed & rails, (0.66, 0.66, 0.68), "rail track")

    def facades(self) -> None:
        """Houses with windows on both sides, and trees in the gaps."""
        c = self.canvas
        for side in (-1, 1):
            s = np.maximum((c.x - self.middle) * side / WALK, 1e-3)  # 1×W
            z = self.focal / s
            seen = ((c.x - self.middle) * side > 0) & (z < FAR)
            height = CAMERA - (c.y - self.horizon) / s  # H×W above the ground
            start = 0.0
            while start < FAR:
                end = start + self.rng.uniform(8, 18)
                here = seen & (z >= start) & (z < end) & (height >= 0)
                if not here.any():
                    pass  # smaller than a pixel
                elif self.rng.random() < 0.2:
                    top = self.rng.uniform(3, 6) + 1.5 * smooth(self.rng, 2, c.width, 24, 2)[:1]
                    c.paint(here & (height < top), self.leaves(), "vegetation")
                else:
                    self.house(here, height, z - start, s)
                start = end

    def house(self, here: np.ndarray, height: np.ndarray, along: np.ndarray, s: np.ndarray) -> None:
        """One facade: walls, rows of windows, a ground floor of another colour, a roof's edge."""
        c = self.canvas
        tall = self.rng.uniform(6, 15)
        here = here & (height < tall)
        c.paint(here, self.grain(self.pick(BRICKS), 0.2), "building")
        storey, bay = self.rng.uniform(2.8, 3.4), self.rng.uniform(2.2, 3.2)
        close = s > 1.5  # farther away windows are smaller than pixels
        windows = (height % storey > 0.9) & (height % storey < 2.3) & (along % bay > 0.6) & (along % bay < bay - 0.6)
        c.paint(here & windows & close & (height > storey) & (height < tall - 0.6), self.panes, "building")
        c.paint(here & (height < storey) & (height > 0.4) & (along % 5 > 0.8) & close, self.pick(PAINTS), "building")
        c.shade(here & (height > tall - 0.5), 0.7)

    def leaves(self) -> np.ndarray:
        """Foliage, light above dark."""
        green = self.pick([(0.20, 0.36, 0.13), (0.27, 0.40, 0.16), (0.38, 0.36, 0.14)])
        return blend(np.asarray(green) * 0.45, np.asarray(green) * 1.5, self.texture(60))

    def barrier(self, kind: str) -> None:
        """A low wall or a fence along one side."""
        c, side = self.canvas, 1 if self.rng.random() < 0.5 else -1
        s = np.maximum((c.x - self.middle) * side / 6.2, 1e-3)
        z = self.focal / s
        height = CAMERA - (c.y - self.horizon) / s
        begin = self.rng.uniform(8, 12)
        here = ((c.x - self.middle) * side > 0) & (z > begin) & (z < begin + 25)
        here = here & (height >= 0) & (height < (2.4 if kind == "wall" else 1.7))
        if kind == "wall":
            c.paint(here, self.grain((0.56, 0.53, 0.47), 0.3), "wall")
            c.shade(here & ((height % 0.6 < 0.09) | (height > 2.2)) & (s > 3), 0.75)
        else:
            # Cityscapes labels a fence as a whole, gaps included.
            c.paint(here, self.grain((0.46, 0.50, 0.40), 0.3), "fence")
            c.paint(here & ((z % 0.9 < 0.3) | (np.abs(height - 1.5) < 0.12)), (0.28, 0.30, 0.24), "fence")

    def bonnet(self) -> None:
        """The front of the car that carries the camera."""
        c = self.canvas
        c.paint(
            c.ellipse(c.width / 2, c.height * 1.06, c.width * 0.42, c.height * 0.13), self.pick(PAINTS), "ego vehicle"
        )
