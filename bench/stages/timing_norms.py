"""What a pretraining costs that trains nothing and measures its norms."""

from __future__ import annotations

from functools import partial

from bench.config.recipe import Recipe
from bench.data.images import Sample, collate
from bench.data.sets import Index
from bench.data.views import normalised
from bench.nn.encoder import Encoder
from bench.nn.norm_statistics import set_statistics
from bench.stages.costs import Amount, Phase
from bench.stages.job import Job
from bench.stages.norm_statistics import AT_ONCE, images_of
from bench.stages.stopwatch import Stopwatch
from bench.train.distributed import Ranks


def norms_of(encoder: Encoder, recipe: Recipe, job: Job, images: Index, ranks: Ranks, watch: Stopwatch) -> Phase:
    """Time the reading of one batch and the statistics of the norms from it, for all batches."""
    dataset, some = images_of(recipe, job, images), list[Sample]()
    count = min(AT_ONCE, len(dataset))
    load = watch.once(lambda: some.extend(dataset[i] for i in range(count)))
    batch = normalised(collate(some).views[0].to(ranks.device))
    compute = watch.once(partial(set_statistics, encoder.to(ranks.device), [batch]))
    batches = -(-len(dataset) // AT_ONCE)
    return Phase(name="norms", count=batches, load=Amount.of([load]), compute=Amount.of([compute]))
