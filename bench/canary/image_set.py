"""What the canary looks at: six kinds of things, upright or nearly so, each in any colour before any background.

The same files for the same version, in the layout of ImageNet, so that all of the data path is used. This module does
not import torch.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from bench.randomness import generator
from bench.synthetic.things import OBJECTS, paint_object

VERSION = 2  # raise it when the pictures change
SIDE = 80  # pixels
CLIPS, FRAMES = {"train": 16, "val": 8}, 12  # clips of each kind, and frames of a clip
COUNTS = {"train": 64, "val": 48}  # of each kind


def render_images(root: Path) -> Path:
    """Write images/<split>/<wnid>/*.png and clips/<split>/<kind>/<clip>/*.png below `root`, and return `root`.

    Nothing is written where `root` exists.
    """
    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as there:
        made = Path(there) / "made"
        for split, count in COUNTS.items():
            for wnid in OBJECTS:
                folder = made / "images" / split / wnid
                folder.mkdir(parents=True)
                for number in range(count):
                    rng = generator(0, "canary", split, wnid, number)
                    paint_object(wnid, SIDE, SIDE, rng).save(folder / f"{number:03}.png")
        for kind, wnid in enumerate(OBJECTS):  # by number: classes that all have synsets' names look like ImageNet
            for number in range(sum(CLIPS.values())):
                split = "train" if number < CLIPS["train"] else "val"
                folder = made / "clips" / split / f"kind{kind}" / f"{number:03}"
                _clip(folder, generator(0, "canary", "clip", wnid, number), wnid)
        try:
            made.rename(root)
        except OSError:  # another process was faster; its files are the same
            assert root.is_dir()
    return root


def _clip(folder: Path, rng: np.random.Generator, wnid: str) -> None:
    """A camera that pans over a thing while it gets lighter, which says where time goes: a pan has no direction."""
    folder.mkdir(parents=True)
    wide, angle, speed = np.asarray(paint_object(wnid, 120, 120, rng)), rng.uniform(0, 6.2832), rng.uniform(1.0, 3.0)
    for frame in range(FRAMES):
        gone = speed * (frame - (FRAMES - 1) / 2)
        x, y = 20 + round(gone * np.cos(angle)), 20 + round(gone * np.sin(angle))
        light = 0.4 + 0.6 * frame / (FRAMES - 1)
        Image.fromarray((light * wide[y : y + SIDE, x : x + SIDE]).astype(np.uint8)).save(folder / f"{frame:03}.png")
