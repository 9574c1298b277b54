"""A frozen trunk: loaded only with its proof, always in eval mode, and proven unchanged at the end.

Linear and kNN evaluation share it. Batch norm in train mode would let the images that are evaluated on change the
features, so that the encoder is in eval mode throughout (as in MoCo's linear evaluation) and its hash is taken again
when all is done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bench.convert.matching import trunk_hash
from bench.convert.proof import load_proven, load_strictly
from bench.data.images import Batch, EvalDataset, Sample, in_order, loader
from bench.data.layouts import Index
from bench.data.views import normalised
from bench.errors import BadInput, StageFailed
from bench.nn.encoder import Encoder, build_encoder
from bench.progress import Progress
from bench.randomness import generator
from bench.recipe import KnnTask, LinearTask, Precision
from bench.stages.job import Job
from bench.train.signals import shielded


class FrozenTrunk:
    """A proven trunk as a function from images to features.

    Args:
        folder: of the convert stage.
        precision: `bf16` runs the trunk under autocast; features are float32 either way.
        device: where it runs; None takes the GPU if there is one.

    Raises BadInput when the trunk or its proof is missing or does not hold, or under torchrun.
    """

    def __init__(self, folder: Path, precision: Precision = "bf16", device: torch.device | None = None) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise BadInput("Linear and kNN evaluation run in one process; --gpus is for pretraining and segmentation.")
        trunk = load_proven(folder)
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = precision
        self.hash = trunk.hash
        encoder = build_encoder(trunk.arch, seed=0)
        load_strictly(encoder, trunk.state, "the encoder")
        encoder.requires_grad_(False).eval()
        self.encoder: Encoder = encoder.to(self.device, memory_format=torch.channels_last)

    @property
    def feature_dim(self) -> int:
        """D, the length of a feature."""
        return self.encoder.feature_dim

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features, N×D float32 on the device, of images N×3×H×W; they carry no gradient.

        Images in uint8 are normalised first.
        """
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            images = normalised(images.to(self.device, non_blocking=True), torch.channels_last)
            features = self.encoder(images)
        return features.to(torch.float32, copy=True)  # a copy made here is no inference tensor: a head may train on it

    def check(self) -> None:
        """Prove that nothing changed: not a bit of the trunk, and no layer in train mode. Raises StageFailed."""
        training = [name or "the encoder" for name, module in self.encoder.named_modules() if module.training]
        if training:
            raise StageFailed(
                f"The frozen trunk is in train mode ({training[0]}), so that its features are not its own."
            )
        if trunk_hash(self.encoder.state_dict()) != self.hash:
            raise StageFailed("The frozen trunk changed while it was evaluated, so that the result is not about it.")

    @contextmanager
    def watched(self) -> Iterator[FrozenTrunk]:
        """Check before and after what is done with the trunk."""
        self.check()
        yield self
        self.check()


# --------------------------------------------------------------------------------------- which images


def part(index: Index, chosen: Sequence[int] | np.ndarray) -> Index:
    """Return the index of some of its images, in the order of the data set; all classes stay."""
    assert index.labels is not None
    kept = sorted(int(position) for position in chosen)
    return replace(index, files=tuple(index.files[i] for i in kept), labels=tuple(index.labels[i] for i in kept))


def subset(index: Index, count: int | None, seed: int) -> Index:
    """Return `count` images drawn by the seed alone (all, if there are no more)."""
    if count is None or count >= len(index.files):
        return index
    return part(index, generator(seed, "subset").permutation(len(index.files))[:count])


def hold_out(index: Index, share: float, seed: int) -> tuple[Index, Index]:
    """Split into (rest, held out): the share of each class, rounded, drawn by the seed alone.

    Raises BadInput when the share leaves nothing on a side.
    """
    labels = np.asarray(index.labels)
    order = generator(seed, "selection").permutation(len(labels))
    held: list[int] = []
    for label in range(len(index.classes)):
        mine = order[labels[order] == label]
        held += mine[: round(share * len(mine))].tolist()
    if not held or len(held) == len(labels):
        raise BadInput(
            f"selection_share {share} of {len(labels)} training images leaves none on one side; raise it or subset."
        )
    return part(index, sorted(set(range(len(labels))) - set(held))), part(index, held)


# ------------------------------------------------------------------------------------------- batches


@contextmanager
def loaded(
    dataset: Dataset[Sample],
    sampler: Iterable[list[Any]],
    workers: int | None,
    device: torch.device,
) -> Iterator[Iterator[Batch]]:
    """Iterate over a sampler's batches; the loader's workers never get the signals, and end with the block.

    `workers` None: half of the cores, at most 8. No result depends on it.
    """
    if workers is None:
        workers = max(1, min(8, (os.cpu_count() or 1) // 2))
    with shielded():
        batches = iter(loader(dataset, sampler, workers, pin=device.type == "cuda"))
    try:
        yield batches
    finally:
        shut = getattr(batches, "_shutdown_workers", None)
        if shut is not None:
            shut()


def evaluated(
    job: Job, task: LinearTask | KnnTask, trunk: FrozenTrunk, images: Index, title: str
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield (features N×D, labels N, skipped images) of every image once, in order, under the test transform.

    Raises BadInput for an image that cannot be read (under `skip`: when none can).
    """
    dataset = EvalDataset(images, task.size, task.resize, job.unreadable)
    batches = in_order(len(dataset), task.batch_size)
    count = 0
    with (
        loaded(dataset, batches, task.workers, trunk.device) as found,
        Progress(f"{title} {task.name}", len(dataset), "images") as progress,
    ):
        for batch in found:
            moved = batch.to(trunk.device, memory_format=torch.channels_last, non_blocking=True)
            assert moved.labels is not None
            yield trunk.features(moved.views[0]), moved.labels, batch.skipped  # N may be 0
            count += len(batch)
            progress.update(len(batch) + batch.skipped)
    if not count:
        raise BadInput(f"No image of {images.split} below {images.root} can be read; bench data check says why.")
