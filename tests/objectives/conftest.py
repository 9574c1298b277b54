"""Small objectives in float64, and batches for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from narrow import NarrowEncoder
from PIL import Image

from bench.config.recipe import Recipe
from bench.data.clips import ClipDataset
from bench.data.images import ViewDataset, collate
from bench.data.sets import index
from bench.data.views import Batch
from bench.nn.encoder import Encoder
from bench.objectives import build
from bench.objectives.base import Objective

N = 4


@pytest.fixture
def encoder() -> Callable[..., Encoder]:
    """Return encoder(seed): a narrow one."""
    return NarrowEncoder


@pytest.fixture
def make() -> Callable[..., Objective]:
    """Return make(name, **settings): an objective in float64 with a narrow encoder and small heads."""

    def objective(name: str, num_classes: int = 0, **settings: Any) -> Objective:
        heads = {"hidden_dim": 12, "projection_dim": 6} if name not in ("supervised", "random_init") else {}
        return build({"name": name, **heads, **settings}, NarrowEncoder(), num_classes).double()

    return objective


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """Return batch(size, …): N images with one view of each size, boxes over the whole image, labels 0 to 2."""

    def images(*sizes: int, seed: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        views = [torch.randn(N, 3, size, size, dtype=torch.float64, generator=generator) for size in sizes]
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0]], dtype=torch.float64).repeat(N, 1)
        return Batch(
            views=views, boxes=[whole.clone() for _ in sizes], labels=torch.arange(N) % 3, indices=torch.arange(N)
        )

    return images


class Rendered:
    """rendered(objective, recipe): a batch as pretraining would read it, of images on the disk."""

    num_images = 8

    def __init__(self, root: Path) -> None:
        self.root = root
        rng = np.random.default_rng(0)
        for number in range(self.num_images):
            file = root / "train" / f"class{number % 2}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            small = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
            Image.fromarray(small).resize((120, 96), Image.Resampling.BICUBIC).save(file)

    def __call__(self, objective: Objective, recipe: Recipe) -> Batch:
        clip = objective.video()
        if clip is not None:  # the images, shown over and over, are the frames of two videos
            for number in range(2 * clip.span):
                frame = self.root.parent / f"{self.root.name} clips" / f"train/{number % 2}/{number:03}.png"
                frame.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.root / f"train/class{number % 2}/{number % self.num_images}.png", frame)
            clips = index("clips", frame.parents[2], "train")
            videos = ClipDataset(clips, objective.views(recipe.view_size), 0, clip)
            return collate([videos[number % 2, number] for number in range(recipe.batch_size)]).to("cpu")
        images = index("imagenet", self.root, "train")
        dataset = ViewDataset(images, objective.views(recipe.view_size), seed=0, map=objective.map)
        return collate([dataset[number, number] for number in range(recipe.batch_size)]).to("cpu")


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Return rendered(objective, recipe)."""
    return Rendered(tmp_path_factory.mktemp("images"))
