"""Features of every image of a split under the test transform: computed by a frozen trunk, or read from the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bench.config.tasks import KnnTask, LinearTask, TrunkTask
from bench.data.images import Batch, EvalDataset, Sample, in_order, loader
from bench.data.sets import Index, part
from bench.errors import BadInput
from bench.machine import loader_workers
from bench.nn.collectives import gather
from bench.progress import Progress
from bench.randomness import generator
from bench.stages.feature_cache import FeatureCache
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.job import Job
from bench.timing_gaps import note_gap
from bench.train.distributed import Ranks
from bench.train.feed import iterating
from bench.waiting import Waiting


def subset(index: Index, count: int | None, seed: int) -> Index:
    """Return `count` images drawn by the seed alone (all, if there are no more)."""
    if count is None or count >= len(index.files):
        return index
    return part(index, generator(seed, "subset").permutation(len(index.files))[:count])


def workers_of(task: TrunkTask, device: torch.device, images: int, ranks: Ranks | None = None) -> int:
    """Return how many processes read a task's images for this one, `images` of them in all."""
    settings = dict(task)
    return loader_workers(
        task.workers,
        device=device.type,
        images=images,
        batch_bytes=4 * 3 * settings.get("size", 224) ** 2 * settings.get("batch_size", 256),
        processes=ranks.local_world if ranks is not None else 1,
    )


def loaded(
    dataset: Dataset[Sample],
    sampler: Iterable[list[Any]],
    task: TrunkTask,
    device: torch.device,
    images: int,
    ranks: Ranks | None = None,
) -> AbstractContextManager[Waiting[Batch]]:
    """Iterate over a sampler's batches, of `images` images in all; no result depends on how many processes read."""
    workers = workers_of(task, device, images, ranks)
    return iterating(lambda: loader(dataset, sampler, workers, pin=device.type == "cuda"))


class _Rows(NamedTuple):
    features: Tensor
    labels: Tensor
    skipped: int


class Features(_Rows):
    """Features of N images, N×D float32, their labels, N int64, and how many images were skipped as unreadable.

    `positions`, N int64 on the host, are those of the images in their split. They are no part of the tuple, which code
    from outside unpacks.
    """

    positions: Tensor

    def at(self, positions: Tensor) -> Features:
        """Say where the images lie in their split."""
        self.positions = positions
        return self


def collect(
    job: Job,
    task: LinearTask | KnnTask,
    trunk: FrozenTrunk,
    images: Index,
    title: str,
    ranks: Ranks | None = None,
    device: torch.device | None = None,
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> Features:
    """Return the features of every image, or of this rank's part of them, in order.

    They lie on `device` (None: the trunk's), the labels on the trunk's; `prepare` changes those of each batch.
    """
    rows = most_rows(images, task, ranks)
    features = torch.empty(rows, trunk.feature_dim, device=device or trunk.device)  # ImageNet: 10 GiB, only once
    labels = torch.empty(rows, dtype=torch.int64, device=trunk.device)
    positions = torch.empty(rows, dtype=torch.int64)
    count = skipped = 0
    for batch in features_of(job, task, trunk, images, title, ranks):
        place = slice(count, count + len(batch.labels))
        features[place] = prepare(batch.features) if prepare is not None else batch.features
        labels[place] = batch.labels
        positions[place] = batch.positions
        count, skipped = place.stop, skipped + batch.skipped
    return Features(features[:count], labels[:count], skipped).at(positions[:count])


def gathered(rows: Tensor, ranks: Ranks) -> Tensor:
    """Return all ranks' rows in the order of the ranks; ranks may have different numbers of them."""
    return torch.cat(parts(rows, ranks))


def parts(rows: Tensor, ranks: Ranks) -> list[Tensor]:
    """Return each rank's rows."""
    if ranks.world == 1:
        return [rows]
    sizes = gather(torch.tensor([len(rows)], device=rows.device)).tolist()
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows
    whole = gather(padded).split(max(sizes)) if max(sizes) else [rows] * ranks.world
    return [part[:size] for part, size in zip(whole, sizes, strict=True)]


def most_rows(images: Index, task: LinearTask | KnnTask, ranks: Ranks | None) -> int:
    """Return how many images one rank has at most."""
    batches = -(-len(images.files) // (task.batch_size * (ranks.world if ranks else 1)))
    return min(len(images.files), batches * task.batch_size)


def run_of(batches: int, ranks: Ranks) -> tuple[int, int]:
    """Return which of so many batches are this rank's: from the first up to the last, which is not among them."""
    return batches * ranks.rank // ranks.world, batches * (ranks.rank + 1) // ranks.world


def features_of(
    job: Job,
    task: LinearTask | KnnTask,
    trunk: FrozenTrunk,
    images: Index,
    title: str,
    ranks: Ranks | None = None,
) -> Iterator[Features]:
    """Yield the features of every image once, in order, batch by batch.

    Features that an earlier stage left are read, not computed. Each rank gets a run of whole batches, so that no
    feature depends on the number of ranks.

    Raises BadInput for an image that cannot be read (under `skip`: when none can, on any rank).
    """
    ranks = ranks or Ranks(device=trunk.device)
    batches = in_order(len(images.files), task.batch_size)
    first, last = run_of(len(batches), ranks)
    cache = cache_of(job, task, trunk, images, (first, last))
    entry = cache.read() if cache is not None else None
    if cache is not None and entry is not None and entry.skipped and entry.positions is None:
        cache.forget()  # of a version that did not keep which images were skipped
        entry = None
    count = 0
    if entry is not None:
        note_gap(f"{len(entry.labels)} features of {images.split}")
        print(f"{title} {task.name}: {len(entry.labels)} features read from {entry.folder.name}", flush=True)
        start = first * task.batch_size
        positions = torch.arange(start, start + len(entry.labels))
        if entry.positions is not None:
            positions = torch.from_numpy(entry.positions)
        for features, labels, skipped in entry.batches(task.batch_size):
            of_batch = positions[count : count + len(labels)]
            yield Features(features.to(trunk.device), labels.to(trunk.device), skipped).at(of_batch)
            count += len(labels)
    elif first < last:
        for batch in _computed(job, task, trunk, images, batches[first:last], title, ranks):
            if cache is not None:
                cache.add(*batch, batch.positions)
            yield batch
            count += len(batch.labels)
        if cache is not None:
            trunk.check()  # what is kept must be this trunk's
            cache.publish()
    if not ranks.sums(count)[0]:
        raise BadInput(f"No image of {images.split} below {images.root} can be read; bench data check says why.")


def _computed(
    job: Job,
    task: LinearTask | KnnTask,
    trunk: FrozenTrunk,
    images: Index,
    batches: list[list[int]],
    title: str,
    ranks: Ranks,
) -> Iterator[Features]:
    pack = job.pack(task.dataset, images.split, "evaluation")
    dataset, count = EvalDataset(images, task.size, task.resize, job.unreadable, pack=pack), sum(map(len, batches))
    with (
        loaded(dataset, batches, task, trunk.device, count, ranks) as loaded_batches,
        Progress(f"{title} {task.name}", count, "images") as progress,
    ):
        for batch in loaded_batches:
            yield through(trunk, batch)  # N may be 0
            progress.update(len(batch) + batch.skipped, **loaded_batches.waits.shown())


def through(trunk: FrozenTrunk, batch: Batch) -> Features:
    """Return the features of a batch of images with labels."""
    moved = batch.to(trunk.device, memory_format=torch.channels_last, non_blocking=True)
    assert moved.labels is not None
    return Features(trunk.features(moved.views[0]), moved.labels, batch.skipped).at(batch.indices)


def cache_of(
    job: Job, task: LinearTask | KnnTask, trunk: FrozenTrunk, images: Index, span: tuple[int, int]
) -> FeatureCache | None:
    """Return the cache of a run of batches; None where it is switched off, or nothing says what the data are."""
    if job.features is None or not task.reuse_features or task.dataset not in job.data:
        return None
    files = hashlib.sha256("\0".join(images.files).encode("utf-8", "surrogateescape"))
    files.update(np.asarray(images.labels, np.int64).tobytes())
    about = {
        "trunk": trunk.hash,
        **trunk.words,
        "views": f"centre {task.size} of {task.resize}",
        "data": job.data[task.dataset],
        "files": files.hexdigest(),
        "batches": f"{task.batch_size} {span[0]} {span[1]}",
        "unreadable": job.unreadable,
    }
    rows = min(len(images.files), span[1] * task.batch_size) - span[0] * task.batch_size
    return FeatureCache(job.features, about, rows, trunk.feature_dim)
