"""Whole scenes: a street for Cityscapes and COCO, a handful of things for COCO."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.synthetic import traffic
from bench.synthetic.canvas import Canvas, blend, smooth
from bench.synthetic.street import Street


def paint_street(
    canvas: Canvas, rng: np.random.Generator, extras: Sequence[str] = (), ego: bool = True, busy: float = 1.0
) -> None:
    """Paint a street scene, the far before the near.

    Args:
        extras: of wall, fence, truck, bus, train, motorcycle, terrain and parking, what there is besides cars, people,
            trees, poles, lights and signs.
        ego: whether the camera's own car is seen at the bottom.
        busy: how many people and cars, 1 for some.
    """
    street = Street(canvas, rng)
    street.sky()
    street.ground(extras)
    street.facades()
    for kind in ("wall", "fence"):
        if kind in extras:
            street.barrier(kind)

    things: list[tuple[float, Callable[[Street, float, float], None], float]] = []  # (z, painter, X)

    def put(painter: Callable[[Street, float, float], None], x: float, near: float, far: float) -> None:
        things.append((float(rng.uniform(near, far)), painter, x))

    for side in (-1, 1):
        put(traffic.tree, side * rng.uniform(5.8, 6.6), 11, 40)
        put(traffic.light, side * 4.5, 11, 24)
        put(traffic.sign, side * 4.6, 10, 20)
        for _ in range(int(rng.integers(1, 3) * busy + 0.5)):
            put(traffic.person, side * rng.uniform(4.6, 6.2), 9, 22)
    put(traffic.person, rng.uniform(-3.0, 3.0), 12, 28)
    put(traffic.cyclist, rng.uniform(1.2, 3.4), 9, 15)
    for _ in range(int(2 * busy + 0.5)):
        put(traffic.car, rng.choice([-2.0, 2.0]) + rng.uniform(-0.3, 0.3), 12, 45)
    if "parking" in extras:
        put(traffic.car, 3.2, 13, 20)
    if "truck" in extras:
        put(traffic.truck, 2.0, 15, 24)
    if "bus" in extras:
        put(traffic.bus, -2.0, 14, 22)
    if "train" in extras:
        put(traffic.train, -2.0, 14, 20)
    if "motorcycle" in extras:
        put(traffic.motorcyclist, rng.uniform(-3.0, -0.8), 9, 13)
    for z, painter, x in sorted(things, key=lambda thing: -thing[0]):
        painter(street, x, z)
    if ego:
        street.bonnet()


def paint_still_life(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint two to five things in front of a wall, on a table or a lawn."""
    c = canvas
    edge = c.height * rng.uniform(0.35, 0.6)
    wall = rng.uniform(0.35, 0.85, 3)
    pattern = smooth(rng, c.height, c.width, int(rng.integers(3, 9)), 2)
    c.paint(np.ones((c.height, c.width), bool), blend(wall * 0.8, wall, pattern), "static")
    if rng.random() < 0.5:
        c.shade(c.x % rng.uniform(8, 16) < 3, 0.85)
    below = c.y > edge
    if rng.random() < 0.5:
        grain = smooth(rng, c.height, 4 * c.width, 70, 2)[:, ::4]
        c.paint(below, blend((0.36, 0.22, 0.12), (0.62, 0.42, 0.24), grain), "static")
    else:
        c.paint(below, blend((0.15, 0.30, 0.08), (0.42, 0.60, 0.22), smooth(rng, c.height, c.width, 60, 2)), "terrain")
    count = int(rng.integers(2, 6))
    feet = np.sort(rng.uniform(edge + 0.1 * c.height, 0.95 * c.height, count))
    for place, y in zip(rng.permutation(count), feet, strict=True):
        radius = 0.07 * c.height * (0.6 + 1.4 * float(y) / c.height)
        x = c.width * (place + rng.uniform(0.3, 0.7)) / count
        painter = THINGS[int(rng.integers(len(THINGS)))]
        c.shade(c.ellipse(x, float(y), radius * 1.2, radius * 0.25), 0.6)
        painter(c, rng, float(x), float(y) - radius, radius)


def _round(c: Canvas, x: float, y: float, r: float, colour: np.ndarray) -> np.ndarray:
    """The colours of a ball that is lit from above left, H×W×3."""
    light = 1.25 - 0.8 * np.hypot(c.x - x + 0.35 * r, c.y - y + 0.35 * r) / (1.6 * r)
    return np.clip(colour * light[..., None], 0, 1)


def _ball(c: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    thing, turn = c.new("sports ball"), rng.uniform(0, 6)
    disc = c.ellipse(x, y, r, r)
    c.paint(disc, _round(c, x, y, r, np.array([0.95, 0.95, 0.93])), "sports ball", thing)
    spots = [c.ellipse(x, y, 0.28 * r, 0.28 * r)]
    spots += [
        c.ellipse(x + 0.8 * r * np.cos(turn + a), y + 0.8 * r * np.sin(turn + a), 0.25 * r, 0.25 * r)
        for a in np.arange(5) * 1.2566
    ]
    c.paint(disc & np.logical_or.reduce(spots), (0.1, 0.1, 0.12), "sports ball", thing)


def _orange(c: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    colour = np.array([0.95, 0.55, 0.10]) * (0.85 + 0.3 * smooth(rng, c.height, c.width, 60))[..., None]
    c.paint(c.ellipse(x, y, r, r), _round(c, x, y, r, colour), "orange", c.new("orange"))


def _apple(c: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    thing = c.new("apple")
    colour = np.array([0.80, 0.12, 0.12]) if rng.random() < 0.6 else np.array([0.55, 0.75, 0.18])
    both = c.ellipse(x - 0.3 * r, y, 0.75 * r, r) | c.ellipse(x + 0.3 * r, y, 0.75 * r, r)
    c.paint(both, _round(c, x, y, r, colour), "apple", thing)
    c.paint(c.line(x, y - 0.8 * r, x + 0.15 * r, y - 1.4 * r, 0.12 * r), (0.3, 0.2, 0.1), "apple", thing)
    c.paint(c.ellipse(x + 0.4 * r, y - 1.2 * r, 0.3 * r, 0.15 * r), (0.25, 0.5, 0.15), "apple", thing)


def _clock(c: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    thing, (hour, minute) = c.new("clock"), rng.uniform(0, 6.28, 2)
    c.paint(c.ellipse(x, y, 1.1 * r, 1.1 * r), rng.uniform(0.1, 0.6, 3), "clock", thing)
    c.paint(c.ellipse(x, y, 0.9 * r, 0.9 * r), (0.95, 0.94, 0.88), "clock", thing)
    hands = c.line(x, y, x + 0.5 * r * np.cos(hour), y + 0.5 * r * np.sin(hour), 0.12 * r)
    hands = hands | c.line(x, y, x + 0.75 * r * np.cos(minute), y + 0.75 * r * np.sin(minute), 0.08 * r)
    c.paint(hands, (0.08, 0.08, 0.1), "clock", thing)


def _vase(c: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    thing, colour = c.new("vase"), rng.uniform(0.2, 0.9, 3)
    y -= 0.6 * r
    profile = [(0.35, 1.6), (0.75, 0.9), (0.7, 0.2), (0.25, -0.5), (0.25, -0.9), (0.4, -1.1)]
    outline = [(x + a * r, y + b * r) for a, b in profile] + [(x - a * r, y + b * r) for a, b in reversed(profile)]
    body = c.polygon(outline)
    c.paint(body, _round(c, x, y + 0.5 * r, 1.5 * r, colour), "vase", thing)
    c.paint(body & ((c.y - y) % (0.8 * r) < 0.2 * r), colour * 0.5, "vase", thing)


def _umbrella(c: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    thing, colour = c.new("umbrella"), rng.uniform(0.2, 0.95, 3)
    c.paint(c.line(x, y + r, x, y - 1.2 * r, 0.12 * r), (0.25, 0.18, 0.12), "umbrella", thing)
    top = c.ellipse(x, y - 0.5 * r, 1.5 * r, 1.3 * r) & (c.y < y - 0.5 * r)
    ribs = (np.floor(np.arctan2(c.y - y + 0.5 * r, c.x - x) / 0.45) % 2)[..., None]
    c.paint(top, colour * (0.75 + 0.25 * ribs), "umbrella", thing)


THINGS: tuple[Callable[[Canvas, np.random.Generator, float, float, float], None], ...] = (
    *(_ball, _orange, _apple, _clock, _vase, _umbrella),
)
