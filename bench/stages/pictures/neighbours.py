"""The training images nearest to a few validation images, as the kNN evaluation of a trunk has them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.config.tasks import KnnTask
from bench.data.sets import index
from bench.nn.neighbours import euclidean
from bench.stages.features import subset
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.job import Job
from bench.stages.knn import extract, mean, nearest
from bench.stages.pictures.choice import fixed
from bench.stages.pictures.evaluation_views import Shown, shown


@dataclass(frozen=True)
class Query:
    """A validation image and its nearest training images, nearest first, with their cosines, or their distances."""

    image: Shown
    neighbours: tuple[Shown, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Neighbours:
    """Those of some validation images, and the names of the classes that labels are positions in."""

    classes: tuple[str, ...]
    queries: tuple[Query, ...]
    cosine: bool  # else scores are Euclidean distances


def neighbours(job: Job, images: int, count: int = 5) -> Neighbours:
    """Return the `count` nearest training images of `images` fixed validation images of a kNN task.

    Features are those that the evaluation compares, of its bank; they are read from the cache where it has them. Raises
    as `bench.stages.knn.run` does.
    """
    task = job.config
    assert isinstance(task, KnnTask)
    root = job.data_root(task.dataset)
    training = subset(index(task.dataset, root, "train"), task.subset, job.seed)
    validation = index(task.dataset, root, "val")
    trunk = FrozenTrunk(job.inputs["convert"], task.precision, None, task.trunk, task.inputs)
    trunk.compile(len(training.files) + len(validation.files), task.size, task.batch_size, task.compile_trunk)
    with trunk.watched():
        bank = extract(job, task, trunk, training, "bank")
        asked = extract(job, task, trunk, validation, "queries")
    rows, queries = bank.features, asked.features
    positions = asked.positions.tolist()
    chosen = fixed([validation.files[position] for position in positions], images)
    queries = queries[chosen].to(rows.device)
    cosine, sought = task.metric == "cosine", (queries, rows)
    if not cosine:
        centre = mean(rows, rows.device)
        sought = (euclidean(queries, centre, queries=True), euclidean(rows, centre, queries=False))
    scores, found = nearest(*sought, min(count, len(rows)))
    if not cosine:
        scores = torch.linalg.vector_norm(queries[:, None] - rows[found], dim=-1)
    return Neighbours(
        training.classes,
        tuple(
            Query(
                shown(job, validation, positions[query]),
                tuple(shown(job, training, int(bank.positions[place])) for place in places),
                tuple(values),
            )
            for query, places, values in zip(chosen, found.tolist(), scores.tolist(), strict=True)
        ),
        cosine,
    )
