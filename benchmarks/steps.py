"""Contenders that train: this project's BYOL step on noise, from files, from small images, and with checkpoints."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from photographs import FOLDER
from views import dataset, index

from bench.config.load import load_recipe
from bench.config.recipe import Recipe
from bench.data.images import ViewDataset, loader
from bench.data.sampler import DrawSampler
from bench.data.views import Batch
from bench.data.views.resident import Resident
from bench.nn.encoder import build_encoder
from bench.objectives import build
from bench.train.distributed import Ranks
from bench.train.feed import to_device
from bench.train.precision import automatic
from bench.train.state import State
from bench.train.step import Step

Sample = Callable[[], float]
LR = 0.06


def byol(batch: int, device: str, **settings: Any) -> Step:
    """Return the step of `bench.train` of a ResNet-50, as a recipe with these settings has it."""
    values: dict[str, Any] = {"name": "byol", "summary": "", "source": "", "profile": "full", "dataset": "coco"}
    values |= {"objective": {"name": "byol"}, "epochs": 1, "batch_size": batch, "optimizer": {"name": "sgd", "lr": LR}}
    values |= {"precision": automatic(torch.device(device))}
    recipe = Recipe.model_validate(values | settings)
    return Step(build(recipe.objective, build_encoder("resnet50", 0), 0), recipe, Ranks(device=torch.device(device)))


def noise(batch: int, size: int) -> Batch:
    """Return a batch of two views of noise, on the host."""
    views = [torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    boxes = [torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0]]).repeat(batch, 1) for _ in views]
    return Batch(views, boxes, None, torch.arange(batch))


def step(batch: int, size: int, device: str = "cpu", copied: bool = False, **settings: Any) -> Sample:
    """One step a sample on noise.

    Args:
        batch: images.
        size: height and width of a view in pixels.
        device: cpu or cuda.
        copied: whether each batch is copied from page-locked memory, one step ahead, on a stream of its own; else it
            lies on the device.
        settings: of the recipe.
    """
    work = byol(batch, device, **settings)
    host, place = noise(batch, size), torch.device(device)
    stream = torch.cuda.Stream() if copied and device == "cuda" else None
    if stream is not None:
        host = host.pin_memory()

    def fetch() -> Any:
        if stream is None:
            return host.to(place, memory_format=work.memory_format)
        with torch.cuda.stream(stream):
            return host.to(place, memory_format=work.memory_format, non_blocking=True)

    following = fetch()

    def sample() -> float:
        nonlocal following
        data = following
        if stream is not None:
            current = torch.cuda.current_stream()
            current.wait_stream(stream)
            for tensor in (*data.views, *data.boxes, data.indices):
                tensor.record_stream(current)  # else its memory is given away while the step reads it
        if copied:
            following = fetch()
        work.backward(data)
        work.update(LR, 0.0)
        return batch

    return sample


def from_files(
    batch: int, size: int, folder: str, device: str = "cpu", backend: str = "reference", pack: str | None = None,
    **settings: Any,
) -> Sample:  # fmt: skip
    """One step a sample, from JPEG files or a pack of them through the data set and the loader, in this process."""
    work = byol(batch, device, **settings)
    images = dataset(size, backend, folder, pack)
    feed = iter(loader(images, DrawSampler(len(images), batch, 0), 0))

    def sample() -> float:
        work.backward(to_device(next(feed), torch.device(device), work.memory_format))
        work.update(LR, 0.0)
        return batch

    return sample


def small(
    batch: int, size: int, images: int, backend: Any = "resident", steps: int = 1, device: str = "cpu", **settings: Any
) -> Sample:
    """`steps` steps a sample on 32×32 images, as the recipe of CIFAR-10 has them, with BYOL's own views."""
    torch.backends.cudnn.benchmark = device == "cuda"
    given = {"batch_size": batch, "precision": automatic(torch.device(device)), **settings}
    recipe = load_recipe("cifar10_byol_loss1").model_copy(update=given)
    objective = build(recipe.objective, build_encoder(recipe.arch, 0, recipe.stem), 0)
    place = torch.device(device)
    work = Step(objective, recipe, Ranks(device=place))
    views, sampler = objective.views(size), DrawSampler(images, batch, 0)
    feed: Iterator[Any]
    if backend == "resident":
        feed = Resident(index(None, images), views, 0, place, compiled=recipe.compile).batches(sampler)
    else:
        feed = iter(loader(ViewDataset(index(None, images), views, 0, backend=backend), sampler, 0))

    def sample() -> float:
        for _ in range(steps):
            work.backward(to_device(next(feed), place, work.memory_format))
            work.update(3e-3, 0.0)
        return batch * steps

    return sample


def with_checkpoint(batch: int, size: int, steps: int, save: str) -> Sample:
    """`steps` steps a sample, after a save that is none, inline or background; it ends when all is written."""
    work = byol(batch, "cpu", optimizer={"name": "sgd", "lr": 1e-4})  # noise is no task: it only must not diverge
    images = noise(batch, size).to(torch.device("cpu"), memory_format=work.memory_format)
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="checkpoint-", dir=FOLDER))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    state = State(folder, {}, work.objective, work.optimizer, Ranks(), background=save == "background")

    def sample() -> float:
        if save != "none":
            state.save()
        for _ in range(steps):
            work.backward(images)
            work.update(1e-4, 0.0)
        state.finish_writing()  # where the steps were too short for the writing, the rest of it counts, too
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return steps

    return sample
