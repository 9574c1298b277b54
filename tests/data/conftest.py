"""What the tests of data sets share: tiny images, and tiny folders in the layouts of the originals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Paint = Callable[..., Path]


def paint(file: Path, size: tuple[int, int] = (40, 32), seed: int = 0) -> Path:
    """Write an image of (width, height) pixels of noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


@pytest.fixture(name="paint")
def _paint() -> Paint:
    return paint


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    root = tmp_path / "coco"
    for number in range(10):
        paint(root / "train2017" / f"{number:012d}.jpg", seed=number)
    for number in range(3):
        paint(root / "val2017" / f"{number:012d}.jpg", seed=100 + number)
    return root


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    root = tmp_path / "imagenet"
    for wnid in ("n00000001", "n00000002", "n00000003"):
        for number in range(2):
            paint(root / "train" / wnid / f"{wnid}_{number}.JPEG", seed=number)
        paint(root / "val" / wnid / "ILSVRC2012_val_1.JPEG")
    return root


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    root = tmp_path / "cityscapes"
    for split, cities in (("train", ("aachen", "bochum")), ("val", ("lindau",))):
        for city in cities:
            for number in range(2):
                stem = f"{city}_{number:06d}_000019"
                paint(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png")
                folder = root / "gtFine" / split / city
                folder.mkdir(parents=True, exist_ok=True)
                for kind in ("labelIds", "labelTrainIds"):
                    labels = np.full((32, 40), number, np.uint8)
                    Image.fromarray(labels).save(folder / f"{stem}_gtFine_{kind}.png")
    return root
