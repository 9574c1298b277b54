"""Contenders that make two BYOL views of each image by this project's back ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from photographs import listed, small

from bench.data.images import ViewDataset, collate
from bench.data.packs.reading import open_pack
from bench.data.sampler import DrawSampler
from bench.data.sets import Index
from bench.data.views import BYOL_VIEWS
from bench.data.views.resident import Resident

Sample = Callable[[], float]


def index(folder: str | None, images: int = 512) -> Index:
    """Return a split of this project: the files of a folder, or `images` arrays of 32 pixels in memory."""
    if folder is not None:
        files = listed(folder)
        return Index("coco", Path(folder), "train", tuple(f"train2017/{file.name}" for file in files), None, ())
    names = tuple(f"image:{number}" for number in range(images))
    return Index("cifar10", Path(), "train", names, (0,) * images, ("one",), pixels=small(images))


def dataset(size: int, backend: Any, folder: str | None, pack: str | None) -> ViewDataset:
    """Return this project's data set of two views of `size` pixels."""
    opened = None if pack is None else open_pack(Path(pack))
    return ViewDataset(index(folder), BYOL_VIEWS(size), seed=0, backend=backend, pack=opened)


def by_worker(
    count: int, size: int, backend: str, folder: str | None = None, pack: str | None = None, batches: int = 1
) -> Sample:
    """What a DataLoader's worker does: read, draw, make, collate; views of 32 pixels are normalised, too."""
    images = dataset(size, backend, folder, pack)
    positions, draws = itertools.cycle(range(len(images))), itertools.count()

    def sample() -> float:
        made = 0
        for _ in range(batches):
            batch = collate([images[next(positions), next(draws)] for _ in range(count)])
            made += len(batch.to("cpu").views[0] if size == 32 else batch)
        return made

    return sample


def on_device(count: int, folder: str, pack: str | None = None, device: str = "cpu", size: int = 224) -> Sample:
    """The device's part alone, of pixels and parameters that lie there: views made and normalised as whole batches."""
    images = dataset(size, "device", folder, pack)
    batch = collate([images[number % len(images), number] for number in range(count)])
    assert batch.pending is not None
    batch.pending = batch.pending.to(device)

    def sample() -> float:
        return len(batch.to(device, memory_format=torch.channels_last).views[0])

    return sample


def resident(count: int, size: int, compiled: bool = False, device: str = "cpu") -> Sample:
    """Batches of `count` images that lie on the device, drawn, made and normalised there."""
    split = Resident(index(None, 4 * count), BYOL_VIEWS(size), 0, torch.device(device), compiled=compiled)
    batches = split.batches(DrawSampler(len(split), count, 0))

    def sample() -> float:
        return len(next(batches).to(device, memory_format=torch.channels_last, non_blocking=True).views[0])

    return sample
