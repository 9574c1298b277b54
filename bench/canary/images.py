"""What the canary looks at: six kinds of things, upright or nearly so, each in any colour before any background.

The same files for the same version, in the layout of ImageNet, so that all of the data path is used. This module does
not import torch.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.data.objects import OBJECTS, paint_object
from bench.randomness import generator

VERSION = 1  # raise it when the pictures change
SIDE = 80  # pixels
COUNTS = {"train": 64, "val": 48}  # of each kind


def render_images(root: Path) -> Path:
    """Write train/<wnid>/*.png and val/<wnid>/*.png below `root` unless they are there, and return `root`."""
    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as there:
        made = Path(there) / "images"
        for split, count in COUNTS.items():
            for wnid in OBJECTS:
                folder = made / split / wnid
                folder.mkdir(parents=True)
                for number in range(count):
                    rng = generator(0, "canary", split, wnid, number)
                    paint_object(wnid, SIDE, SIDE, rng).save(folder / f"{number:03}.png")
        try:
            made.rename(root)
        except OSError:  # another process was faster; its files are the same
            assert root.is_dir()
    return root
