"""One thing an image, of six kinds from ImageNet, in any pose and colour before any background.

Each painter gets coordinates u, v of the thing (about −1 to 1, v downwards, H×W) and returns where it is and what
colour it has there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from bench.synthetic.canvas import blend, smooth

Painted = tuple[np.ndarray, np.ndarray]  # mask H×W, colours H×W×3
Painter = Callable[[np.ndarray, np.ndarray, np.random.Generator], Painted]
FINER = 2  # things are painted larger and scaled down, for smooth edges


def paint_object(wnid: str, height: int, width: int, rng: np.random.Generator) -> Image.Image:
    """Return an image of height×width pixels with one thing of a class."""
    return posed(*OBJECTS[wnid], height, width, rng)


def posed(painter: Painter, turn: float, height: int, width: int, rng: np.random.Generator) -> Image.Image:
    """Return an image of height×width pixels of what a painter paints, turned by at most `turn` radians."""
    h, w = FINER * height, FINER * width
    colour = background(h, w, rng)
    angle = rng.uniform(-turn, turn)
    size = 0.5 * min(h, w) * rng.uniform(0.6, 1.0)
    x = (np.arange(w, dtype=np.float32)[None, :] - w * rng.uniform(0.4, 0.6)) / size
    y = (np.arange(h, dtype=np.float32)[:, None] - h * rng.uniform(0.42, 0.58)) / size
    squeeze = rng.uniform(0.8, 1.0)  # as seen from the side
    u = (x * np.cos(angle) + y * np.sin(angle)) / squeeze
    v = y * np.cos(angle) - x * np.sin(angle)
    if rng.random() < 0.5:
        u = -u
    mask, paint = painter(u, v, rng)
    colour[mask] = paint[mask]
    colour = colour.reshape(height, FINER, width, FINER, 3).mean((1, 3))
    colour *= (1 + 0.5 * (smooth(rng, height, width, 2) - 0.5))[..., None]
    colour += rng.normal(0, 0.02, colour.shape).astype(np.float32)
    return Image.fromarray((np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8))


def background(h: int, w: int, rng: np.random.Generator) -> np.ndarray:
    """A lawn, a sky over land, a wall, a striped or a plain cloth: H×W×3."""
    kind = int(rng.integers(5))
    noise = smooth(rng, h, w, int(rng.integers(3, 12)), 3)
    low, high = rng.uniform(0.1, 0.6, 3), rng.uniform(0.4, 0.95, 3)
    if kind == 0:
        return blend((0.12, 0.28, 0.06), (0.50, 0.65, 0.25), smooth(rng, h, w, 60, 2))
    if kind == 1:
        sky = blend((0.35, 0.55, 0.85), (0.95, 0.95, 0.97), noise)
        land = np.arange(h)[:, None] > h * rng.uniform(0.5, 0.8) + 0 * np.arange(w)
        sky[land] = blend(low * 0.6, low, noise)[land]
        return sky
    if kind == 2:
        rows, columns = np.arange(h)[:, None] // (h // 9), np.arange(w)[None, :]
        joint = (np.arange(h)[:, None] % (h // 9) < 3) | ((columns + (rows % 2) * (w // 10)) % (w // 5) < 3)
        wall = blend(high * 0.7, high, noise)
        wall[joint] *= 0.6
        return wall
    if kind == 3:
        across = np.arange(w)[None, :] * np.cos(rng.uniform(0, 3.14)) + np.arange(h)[:, None]
        return blend(low, high, (np.sin(across / rng.uniform(4, 14)) > 0).astype(np.float32))
    return blend(low, low + 0.4 * (high - low), noise)


def car_wheel(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> Painted:
    """A tyre with a rim of five to nine spokes."""
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    spokes = int(rng.integers(5, 10))
    metal = rng.uniform(0.55, 0.85) * np.array([1, 1, rng.uniform(0.9, 1.1)])
    colour = np.full((*r.shape, 3), 0.08, np.float32)
    colour[(r > 0.9) & (np.sin(angle * 40) > 0)] = 0.16  # tread
    colour[r < 0.68] = metal
    gap = (r > 0.2) & (r < 0.6) & (np.abs(((angle * spokes / 6.2832) % 1) - 0.5) > rng.uniform(0.15, 0.25))
    colour[gap] = 0.12
    colour[r < 0.1] = metal * 0.6
    return r < 1, colour


def pineapple(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> Painted:
    """An egg of brown lozenges with a crown of pointed leaves."""
    bulb = (u / 0.5) ** 2 + ((v - 0.3) / 0.68) ** 2 < 1
    count = rng.uniform(9, 13)
    curve = np.arcsin(np.clip(u / 0.52, -1, 1))
    lozenge = np.maximum(np.abs(np.sin((v + 0.4 * curve) * count)), np.abs(np.sin((v - 0.4 * curve) * count)))
    skin = np.array([rng.uniform(0.65, 0.85), rng.uniform(0.45, 0.6), 0.12])
    colour = blend(skin * 0.35, skin, np.clip((1 - lozenge) * 3.5, 0, 1)) * (1.1 - 0.5 * np.abs(u / 0.52))[..., None]
    crown = np.zeros_like(bulb)
    for lean in np.linspace(-0.55, 0.55, 7):
        rise = np.clip((-0.25 - v) / (0.72 - 0.4 * abs(lean)), 0, 1)
        crown |= (np.abs(u - lean * rise**1.4) < 0.11 * (1 - rise)) & (v < -0.25)
    stripes = np.sin(u * 40) * 0.5 + 0.5
    green = blend((0.10, 0.28, 0.10), (0.35, 0.60, 0.25), stripes)
    colour[crown & ~bulb] = green[crown & ~bulb]
    return bulb | crown, colour


def pirate_ship(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> Painted:
    """A hull with ports, masts with filled sails, a black flag, and the sea."""
    colour = np.zeros((*u.shape, 3), np.float32)
    sea = v > 0.62 + 0.03 * np.sin(u * 12)
    colour[sea] = blend((0.06, 0.20, 0.35), (0.25, 0.50, 0.60), np.sin(u * 9 + v * 40) * 0.5 + 0.5)[sea]
    sag = 0.28 - 0.16 * u**2
    hull = (v > sag) & (v < 0.72) & (np.abs(u) < 0.95 - 0.5 * (v - sag))
    wood = np.array([0.40, 0.24, 0.12]) * rng.uniform(0.7, 1.3)
    colour[hull] = blend(wood * 0.7, wood, (np.sin(v * 60) > 0).astype(np.float32))[hull]
    colour[hull & (np.abs(v - sag - 0.18) < 0.04) & (u % 0.25 < 0.09)] = 0.05
    masts, sails = np.zeros_like(hull), np.zeros_like(hull)
    for place, tall in ((-0.5, 0.75), (0.0, 1.0), (0.5, 0.8)):
        masts |= (np.abs(u - place) < 0.025) & (v > -tall) & (v < 0.3)
        for top in (-tall + 0.12, -tall + 0.58):
            down = (v - top) / 0.4
            belly = 0.05 * np.sin(np.clip(down, 0, 1) * 3.14)
            sails |= (down > 0) & (down < 1) & (np.abs(u - place - belly) < 0.17 + 0.06 * down)
    colour[masts] = wood * 0.6
    cloth = np.array([0.92, 0.88, 0.76]) * rng.uniform(0.75, 1.05)
    colour[sails] = blend(cloth * 0.75, cloth, np.cos(u * 16) * 0.5 + 0.5)[sails]
    flag = (u > 0.02) & (u < 0.3) & (np.abs(v + 0.93 - 0.03 * np.sin(u * 20)) < 0.07)
    colour[flag] = 0.04
    return sea | hull | masts | sails | flag, colour


def honeycomb(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> Painted:
    """Six-cornered cells of wax, some filled, in a rounded piece."""
    cells = rng.uniform(4, 7)
    a, b = u * cells, v * cells
    # The nearest centre of a triangular lattice: of two rectangular ones, the nearer.
    tall = 3**0.5
    a1, b1 = a - np.round(a), b - tall * np.round(b / tall)
    a2, b2 = a - 0.5 - np.round(a - 0.5), b - tall / 2 - tall * np.round((b - tall / 2) / tall)
    nearer = a1**2 + b1**2 < a2**2 + b2**2
    da, db = np.where(nearer, a1, a2), np.where(nearer, b1, b2)
    edge = np.maximum(np.abs(da), np.maximum(np.abs(da / 2 + db * tall / 2), np.abs(da / 2 - db * tall / 2)))  # ≤ 0.5
    wax = np.array([0.90, rng.uniform(0.62, 0.75), rng.uniform(0.15, 0.30)])
    full = np.sin(np.round(a - da) * 12.99 + np.round((b - db) * 2) * 78.2) > rng.uniform(-0.5, 0.6)
    depth = np.clip(edge / 0.42, 0, 1)
    colour = np.where(full[..., None], blend(wax * 0.85, wax * 0.6, depth), blend(wax * 0.12, wax * 0.4, depth))
    colour = np.where((edge > 0.4)[..., None], wax, colour)
    return np.abs(u) ** 4 + np.abs(v) ** 4 < 1.1, colour.astype(np.float32)


def lampshade(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> Painted:
    """A pleated cone, lit from inside, on a foot."""
    slope = 0.42 + 0.38 * np.clip((v + 0.8) / 1.0, 0, 1)
    shade = (v > -0.8) & (v < 0.2) & (np.abs(u) < slope)
    cloth = rng.uniform(0.45, 1.0, 3)
    pleats = np.cos(np.arcsin(np.clip(u / slope, -1, 1)) * rng.uniform(14, 26)) * 0.5 + 0.5
    glow = np.exp(-(u**2 + (v + 0.3) ** 2) / 0.25)
    colour = blend(cloth * 0.6, cloth * 0.95, pleats)
    colour = colour + (np.array([1.0, 0.95, 0.75]) - colour) * (0.75 * glow)[..., None]
    colour[shade & ((v < -0.74) | (v > 0.13))] = cloth * 0.45
    foot = ((np.abs(u) < 0.06) & (v >= 0.2) & (v < 0.9)) | ((u / 0.4) ** 2 + ((v - 0.9) / 0.1) ** 2 < 1)
    colour[foot] = rng.uniform(0.1, 0.6) * np.array([1.0, 0.85, 0.6])
    return shade | foot, colour.astype(np.float32)


def tile_roof(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> Painted:
    """Overlapping rows of rounded tiles on a sloping roof with a ridge."""
    count = rng.uniform(5, 8)
    row = np.floor(v * count)
    along = u * count * 0.9 + 0.5 * (row % 2)
    down = v * count - row
    tint = 0.8 + 0.35 * (np.sin(np.floor(along) * 12.99 + row * 78.2) * 0.5 + 0.5)
    clay = np.array([rng.uniform(0.55, 0.75), rng.uniform(0.25, 0.38), rng.uniform(0.15, 0.25)])
    rounding = np.sqrt(np.clip(1 - (2 * (along - np.floor(along)) - 1) ** 2, 0, 1))
    light = (0.35 + 0.65 * np.clip(1.6 * rounding - 0.9 * down + 0.3, 0, 1)) * tint
    colour = clay * light[..., None]
    colour[(v < -0.72) & (v > -0.86)] = clay * 0.55
    return (v > -0.86) & (np.abs(u) < 1.1 + 0.25 * v) & (v < 1.0), colour.astype(np.float32)


# wnid -> (painter, how far it is turned, in radians); all six are in ImageNet-100.
OBJECTS: dict[str, tuple[Painter, float]] = {
    "n02974003": (car_wheel, 3.1),
    "n03530642": (honeycomb, 3.1),
    "n03637318": (lampshade, 0.2),
    "n03947888": (pirate_ship, 0.12),
    "n04435653": (tile_roof, 0.3),
    "n07753275": (pineapple, 0.9),
}
