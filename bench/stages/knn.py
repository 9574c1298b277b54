"""Weighted k-nearest-neighbour vote on the features of a frozen trunk (Wu et al. 2018, arXiv 1805.01978, §3.4).

The bank is the training set under the test transform. A neighbour with cosine s votes exp(s/τ) for its class.
Features, scores and votes are float32; only the trunk may run in bf16.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.data.layouts import Index, index
from bench.errors import StageFailed
from bench.recipe import KnnTask
from bench.stages.frozen import FrozenTrunk, evaluated, subset
from bench.stages.job import Job

CHUNK = 16_384  # rows of the bank that are scored at once


def run(job: Job) -> dict[str, Any]:
    """Evaluate the trunk that `inputs["convert"]` holds by its nearest neighbours.

    Returns top-1 and top-5 in percent, the k that was used (no more than the bank holds), counts of images, and how
    many were skipped as unreadable. Raises BadInput for missing data or a trunk without a proof, StageFailed when a
    feature is not finite or the trunk did not stay as it was.
    """
    task = job.config
    assert isinstance(task, KnnTask)
    root = job.data_root(task.dataset)
    training = subset(index(task.dataset, root, "train"), task.subset, job.seed)
    validation = index(task.dataset, root, "val")
    with FrozenTrunk(job.inputs["convert"], task.precision).watched() as trunk:
        bank, bank_labels, skipped = extract(job, task, trunk, training, "bank")
        queries, labels, more = extract(job, task, trunk, validation, "queries")
    k = min(task.k, len(bank))
    if k < task.k:
        print(f"{task.name}: k is {k}, not {task.k}, as the bank holds no more images", flush=True)
    ranked = classify(queries, bank, bank_labels, len(training.classes), k, task.temperature)
    hits = ranked == labels[:, None]  # N×5
    return {
        "top1_percent": 100.0 * int(hits[:, 0].sum()) / len(labels),
        "top5_percent": 100.0 * int(hits.any(dim=1).sum()) / len(labels),
        "k": k,
        "bank_images": len(bank),
        "validation_images": len(labels),
        "images_skipped": skipped + more,
    }


def extract(job: Job, task: KnnTask, trunk: FrozenTrunk, images: Index, title: str) -> tuple[Tensor, Tensor, int]:
    """Return (unit-length features N×D, labels N, skipped images) of every image once, on the trunk's device."""
    features = torch.empty(len(images.files), trunk.feature_dim, device=trunk.device)  # ImageNet: 10 GiB, only once
    labels: list[Tensor] = []
    count = skipped = 0
    for found, theirs, missing in evaluated(job, task, trunk, images, title):
        features[count : count + len(found)] = F.normalize(found, dim=1)
        labels.append(theirs)
        count += len(found)
        skipped += missing
    if not features[:count].isfinite().all():
        raise StageFailed("The trunk gives features that are not finite; its pretraining diverged.")
    return features[:count], torch.cat(labels), skipped


def nearest(queries: Tensor, bank: Tensor, k: int, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """Return (scores N×k, positions N×k) of the k rows of `bank` (M×D) with the largest inner product, best first.

    The bank is scored `chunk` rows at a time with a running top-k, so that memory is N × (chunk + k).
    """
    scores = queries.new_full((len(queries), 0), 0.0)
    positions = torch.zeros(len(queries), 0, dtype=torch.int64, device=queries.device)
    for start in range(0, len(bank), chunk):
        here, local = (queries @ bank[start : start + chunk].t()).topk(min(k, len(bank) - start, chunk), dim=1)
        scores, positions = torch.cat([scores, here], dim=1), torch.cat([positions, local + start], dim=1)
        scores, order = scores.topk(min(k, scores.shape[1]), dim=1)
        positions = positions.gather(1, order)
    return scores, positions


def vote(scores: Tensor, labels: Tensor, classes: int, temperature: float) -> Tensor:
    """Return the classes by weight of vote, best first, N×C; classes without a vote are −1.

    Args:
        scores: N×k cosines of the neighbours.
        labels: N×k their classes.
        classes: C.
        temperature: τ; a neighbour's vote is exp(s/τ), here relative to its query's best neighbour.
    """
    weights = ((scores - scores.max(dim=1, keepdim=True).values) / temperature).exp()
    votes = scores.new_zeros(len(scores), classes).scatter_add_(1, labels, weights)
    voted = torch.zeros(votes.shape, dtype=torch.bool, device=votes.device).scatter_(1, labels, True)
    # Stable: classes with equal votes are ranked by number, not by chance.
    ranked = votes.masked_fill(~voted, -1.0).sort(dim=1, descending=True, stable=True).indices
    return torch.where(voted.gather(1, ranked), ranked, -1)


def classify(
    queries: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    classes: int,
    k: int,
    temperature: float,
    most: int = 5,
    batch: int = 256,
) -> Tensor:
    """Return the `most` best classes of each query, best first, N×min(most, C); −1 where no neighbour votes.

    Args:
        queries: N×D unit-length features.
        bank: M×D unit-length features.
        bank_labels: M int64.
        classes: C.
        k: neighbours that vote, at most M.
        temperature: τ.
        most: how many classes to return.
        batch: queries at once.
    """
    ranked = []
    for start in range(0, len(queries), batch):
        scores, positions = nearest(queries[start : start + batch], bank, k)
        ranked.append(vote(scores, bank_labels[positions], classes, temperature)[:, :most])
    return torch.cat(ranked)
