"""Features for linear evaluation by several processes: each gets all of them, to the bit those of one process.

Ranks compute whole batches, since the features of an image may depend, by rounding, on the batch that it is in.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.config.tasks import LinearTask
from bench.data.sets import Index
from bench.stages.features import Features, collect, gathered, parts
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.job import Job
from bench.train.distributed import Ranks


def centre_features(job: Job, task: LinearTask, trunk: FrozenTrunk, training: Index, ranks: Ranks) -> Features:
    """Return the features of all training images under the test transform, on every rank."""
    own = collect(job, task, trunk, training, "features", ranks)
    (skipped,) = ranks.sums(own.skipped)
    return Features(gathered(own.features, ranks), gathered(own.labels, ranks), skipped)


def in_turns(computed: Iterator[Features], steps: range, ranks: Ranks, trunk: FrozenTrunk) -> Iterator[Features]:
    """Yield the features of every step, on every rank, where `computed` are those of this rank's turns."""
    if ranks.world == 1:
        yield from computed
        return
    nothing = torch.empty(0, trunk.feature_dim, device=trunk.device)
    none = Features(nothing, torch.empty(0, dtype=torch.int64, device=trunk.device), 0)
    for first in range(0, len(steps), ranks.world):
        own = next(computed) if first + ranks.rank < len(steps) else none
        skipped = parts(torch.tensor([own.skipped], device=trunk.device), ranks)
        turns = zip(parts(own.features, ranks), parts(own.labels, ranks), skipped, strict=True)
        for features, labels, missing in list(turns)[: len(steps) - first]:
            yield Features(features, labels, int(missing))
