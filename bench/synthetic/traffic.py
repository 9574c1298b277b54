"""What stands and moves in a street, each painted at (X, z) in metres."""

from __future__ import annotations

import numpy as np

from bench.synthetic.canvas import Colour
from bench.synthetic.street import CAMERA, DARK, GLASS, PAINTS, STEEL, Street


class Stand:
    """Shapes in metres around the foot of a thing at (X, z); what is painted is of one kind and instance."""

    def __init__(self, street: Street, x: float, z: float, kind: str, instance: bool = True) -> None:
        self.canvas, self.kind = street.canvas, kind
        self.s = street.focal / z
        self.x, self.y = street.middle + x * self.s, street.horizon + CAMERA * self.s
        self.instance = self.canvas.new(kind) if instance else 0

    def paint(self, mask: np.ndarray, colour: Colour) -> None:
        """Paint a mask as this thing."""
        self.canvas.paint(mask, colour, self.kind, self.instance)

    def box(self, left: float, bottom: float, right: float, top: float) -> np.ndarray:
        """A rectangle; heights count from the ground."""
        x, y, s = self.x, self.y, self.s
        return self.canvas.box(x + left * s, y - top * s, x + right * s, y - bottom * s)

    def ellipse(self, x: float, height: float, rx: float, ry: float) -> np.ndarray:
        """An ellipse around a point."""
        return self.canvas.ellipse(self.x + x * self.s, self.y - height * self.s, rx * self.s, ry * self.s)

    def polygon(self, *points: tuple[float, float]) -> np.ndarray:
        """A polygon of (x, height)."""
        return self.canvas.polygon([(self.x + x * self.s, self.y - h * self.s) for x, h in points])

    def line(self, x0: float, h0: float, x1: float, h1: float, width: float) -> np.ndarray:
        """A line."""
        x, y, s = self.x, self.y, self.s
        return self.canvas.line(x + x0 * s, y - h0 * s, x + x1 * s, y - h1 * s, width * s)

    def ring(self, x: float, height: float, radius: float, width: float) -> np.ndarray:
        """A circle's line."""
        return self.canvas.ring(self.x + x * self.s, self.y - height * self.s, radius * self.s, width * self.s)

    def shadow(self, half: float) -> None:
        """Darken the ground at the foot."""
        self.canvas.shade(self.ellipse(0, 0.02, half, 0.12 * half + 0.05), 0.55)


def car(street: Street, x: float, z: float) -> None:
    """A car from behind or from the front."""
    t = Stand(street, x, z, "car")
    paint = np.asarray(street.pick(PAINTS))
    t.shadow(1.1)
    t.paint(t.box(-0.85, 0, -0.55, 0.4) | t.box(0.55, 0, 0.85, 0.4), DARK)
    t.paint(t.box(-0.9, 0.22, 0.9, 0.85), paint)
    t.paint(t.polygon((-0.8, 0.8), (-0.62, 1.45), (0.62, 1.45), (0.8, 0.8)), paint * 0.9)
    t.paint(t.polygon((-0.64, 0.86), (-0.52, 1.36), (0.52, 1.36), (0.64, 0.86)), GLASS)
    lamps = (0.85, 0.12, 0.10) if x > 0 else (0.98, 0.95, 0.80)
    t.paint(t.box(-0.86, 0.58, -0.6, 0.78) | t.box(0.6, 0.58, 0.86, 0.78), lamps)
    t.paint(t.box(-0.25, 0.4, 0.25, 0.52), (0.9, 0.9, 0.86))


def truck(street: Street, x: float, z: float) -> None:
    """A lorry from behind."""
    t = Stand(street, x, z, "truck")
    t.shadow(1.4)
    t.paint(t.box(-1.1, 0, -0.7, 0.7) | t.box(0.7, 0, 1.1, 0.7), DARK)
    body = np.asarray(street.pick([(0.82, 0.82, 0.80), (0.25, 0.40, 0.62), (0.72, 0.45, 0.18)]))
    t.paint(t.box(-1.25, 0.6, 1.25, 3.5), body)
    t.paint(t.box(-0.04, 0.8, 0.04, 3.4), body * 0.6)
    t.paint(t.box(-1.25, 0.6, 1.25, 0.8), (0.25, 0.25, 0.26))
    t.paint(t.box(-1.2, 0.62, -0.9, 0.8) | t.box(0.9, 0.62, 1.2, 0.8), (0.85, 0.12, 0.10))


def bus(street: Street, x: float, z: float) -> None:
    """A bus from the front: a wide pane, a sign above, lamps below."""
    t = Stand(street, x, z, "bus")
    t.shadow(1.4)
    body = street.pick([(0.80, 0.15, 0.12), (0.88, 0.76, 0.15), (0.15, 0.45, 0.42)])
    t.paint(t.box(-1.1, 0, -0.7, 0.6) | t.box(0.7, 0, 1.1, 0.6), DARK)
    t.paint(t.box(-1.25, 0.35, 1.25, 3.1), body)
    t.paint(t.box(-1.1, 1.1, 1.1, 2.45), GLASS)
    t.paint(t.box(-0.8, 2.6, 0.8, 2.95), (0.95, 0.65, 0.10))
    t.paint(t.box(-1.1, 0.55, -0.75, 0.8) | t.box(0.75, 0.55, 1.1, 0.8), (0.98, 0.95, 0.80))


def train(street: Street, x: float, z: float) -> None:
    """A tram from the front: rounded top, tall pane, a pantograph."""
    t = Stand(street, x, z, "train")
    body = np.asarray(street.pick([(0.86, 0.86, 0.84), (0.90, 0.80, 0.55)]))
    t.shadow(1.4)
    t.paint(t.line(-0.5, 3.6, 0, 4.5, 0.08) | t.line(0.5, 3.6, 0, 4.5, 0.08), STEEL)
    t.paint(t.box(-1.3, 0.25, 1.3, 3.2) | t.ellipse(0, 3.1, 1.3, 0.5), body)
    t.paint(t.box(-1.3, 0.9, 1.3, 1.3), (0.70, 0.12, 0.15))
    t.paint(t.box(-0.95, 1.5, 0.95, 2.9), GLASS)
    t.paint(t.ellipse(-0.9, 0.65, 0.15, 0.15) | t.ellipse(0.9, 0.65, 0.15, 0.15), (0.98, 0.95, 0.80))


def figure(t: Stand, street: Street, foot: float) -> None:
    """A person whose feet are at a height."""
    trousers = np.asarray(street.pick([(0.12, 0.14, 0.24), (0.25, 0.22, 0.20), (0.42, 0.40, 0.34)]))
    stride = street.rng.uniform(0.05, 0.25)
    t.paint(t.line(-stride, foot, 0, foot + 0.85, 0.17) | t.line(stride, foot, 0, foot + 0.85, 0.17), trousers)
    coat = street.pick([*PAINTS, (0.70, 0.35, 0.50), (0.25, 0.55, 0.65)])
    t.paint(t.polygon((-0.2, foot + 0.8), (-0.27, foot + 1.42), (0.27, foot + 1.42), (0.2, foot + 0.8)), coat)
    t.paint(t.line(-0.28, foot + 1.4, -0.34, foot + 0.8, 0.1) | t.line(0.28, foot + 1.4, 0.34, foot + 0.8, 0.1), coat)
    skin = street.pick([(0.80, 0.60, 0.48), (0.55, 0.38, 0.28)])
    t.paint(t.ellipse(0, foot + 1.6, 0.13, 0.16), skin)
    hair = t.ellipse(0, foot + 1.67, 0.14, 0.11)
    t.paint(hair, street.pick([(0.15, 0.10, 0.07), (0.45, 0.30, 0.15)]))


def person(street: Street, x: float, z: float) -> None:
    """Somebody on foot."""
    t = Stand(street, x, z, "person")
    t.shadow(0.4)
    figure(t, street, 0.0)


def cyclist(street: Street, x: float, z: float) -> None:
    """A bicycle from the side, and who rides it."""
    t = Stand(street, x, z, "bicycle")
    t.shadow(0.8)
    frame = street.pick(PAINTS)
    t.paint(t.ring(-0.52, 0.34, 0.31, 0.07) | t.ring(0.52, 0.34, 0.31, 0.07), DARK)
    bars = [(-0.52, 0.34, -0.15, 0.8), (-0.15, 0.8, 0.4, 0.85), (0.4, 0.85, 0.52, 0.34), (-0.15, 0.8, 0.05, 0.34)]
    bars += [(0.05, 0.34, 0.4, 0.85), (-0.52, 0.34, 0.05, 0.34), (0.4, 0.85, 0.3, 1.05)]
    t.paint(np.logical_or.reduce([t.line(*bar, 0.07) for bar in bars]), frame)
    figure(Stand(street, x - 0.1, z, "rider"), street, 0.3)


def motorcyclist(street: Street, x: float, z: float) -> None:
    """A motorcycle from behind, and who rides it."""
    t = Stand(street, x, z, "motorcycle")
    t.shadow(0.6)
    paint = street.pick(PAINTS)
    t.paint(t.ellipse(0, 0.33, 0.16, 0.33), DARK)
    t.paint(t.box(-0.32, 0.45, 0.32, 0.95), paint)
    t.paint(t.box(-0.12, 0.62, 0.12, 0.74), (0.9, 0.12, 0.1))
    mirrors = t.ellipse(-0.5, 1.18, 0.09, 0.07) | t.ellipse(0.5, 1.18, 0.09, 0.07)
    t.paint(t.line(-0.5, 1.1, 0.5, 1.1, 0.07) | mirrors, DARK)
    rider = Stand(street, x, z, "rider")
    rider.paint(rider.polygon((-0.24, 0.85), (-0.3, 1.5), (0.3, 1.5), (0.24, 0.85)), street.pick(PAINTS))
    rider.paint(rider.ellipse(0, 1.68, 0.17, 0.18), street.pick([(0.9, 0.9, 0.9), (0.75, 0.1, 0.1), (0.1, 0.1, 0.12)]))


def tree(street: Street, x: float, z: float) -> None:
    """A trunk and a crown of several balls."""
    t = Stand(street, x, z, "vegetation", instance=False)
    t.paint(t.line(0, 0, 0, 3.0, 0.3), (0.30, 0.22, 0.15))
    tall = street.rng.uniform(3.6, 5.0)
    balls = [t.ellipse(street.rng.uniform(-0.9, 0.9), tall + street.rng.uniform(-0.9, 0.9), 1.2, 1.0) for _ in range(5)]
    t.paint(np.logical_or.reduce(balls) & (street.texture(60) > 0.3), street.leaves())


def light(street: Street, x: float, z: float) -> None:
    """Traffic lights on a pole."""
    pole = Stand(street, x, z, "pole", instance=False)
    pole.paint(pole.box(-0.08, 0, 0.08, 3.6), STEEL)
    # Cityscapes counts no single traffic lights, COCO does.
    t = Stand(street, x, z, "traffic light")
    t.paint(t.box(-0.24, 2.7, 0.24, 3.8), (0.09, 0.10, 0.09))
    on = int(street.rng.integers(3))
    for place, colour in enumerate([(0.95, 0.15, 0.10), (0.98, 0.75, 0.10), (0.15, 0.90, 0.40)]):
        lamp = t.ellipse(0, 3.58 - 0.33 * place, 0.13, 0.13)
        t.paint(lamp, colour if place == on else np.asarray(colour) * 0.25)


def sign(street: Street, x: float, z: float) -> None:
    """A traffic sign on a pole: a disc, a triangle or a board."""
    pole = Stand(street, x, z, "pole", instance=False)
    pole.paint(pole.box(-0.06, 0, 0.06, 2.6), STEEL)
    t = Stand(street, x, z, "traffic sign", instance=False)
    shape = int(street.rng.integers(3))
    red, white, blue = (0.80, 0.08, 0.10), (0.94, 0.94, 0.92), (0.10, 0.25, 0.65)
    if shape == 0:
        t.paint(t.ellipse(0, 2.6, 0.42, 0.42), red)
        t.paint(t.ellipse(0, 2.6, 0.27, 0.27), white)
    elif shape == 1:
        t.paint(t.polygon((-0.5, 2.2), (0.5, 2.2), (0, 3.05)), red)
        t.paint(t.polygon((-0.27, 2.33), (0.27, 2.33), (0, 2.8)), white)
    else:
        t.paint(t.box(-0.4, 2.2, 0.4, 3.0), blue)
        t.paint(t.polygon((-0.22, 2.4), (0.22, 2.4), (0, 2.85)), white)
