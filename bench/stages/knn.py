"""Weighted k-nearest-neighbour vote on the features of a frozen trunk (Wu et al. 2018, arXiv 1805.01978, §3.4).

The bank is the training set under the test transform. A neighbour with cosine s votes exp(s/τ) for its class.

With `vote="majority"` and `metric="euclidean"` it is the evaluation of Ermolov et al., "Whitening for Self-Supervised
Representation Learning" (ICML 2021; htdt/self-supervised, eval/knn.py): the class of most of the k = 5 nearest by
Euclidean distance of features that are not normalised; of classes with as many the lowest label, as there. The two
fields can also be used apart: a majority by cosine.

Features, scores and votes are float32; only the trunk, and a first coarse search, may run in bf16. Under torchrun each
process has a part of the bank.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.config.tasks import KnnTask
from bench.data.sets import Index, index
from bench.errors import StageFailed
from bench.nn.collectives import gather
from bench.nn.neighbours import Bank, euclidean, over_ranks, search, vote
from bench.stages.features import Features, collect, gathered, most_rows, subset
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.image_outcomes import keep_top
from bench.stages.job import Job
from bench.train.distributed import Ranks, ranks_of
from bench.train.precision import is_bf16

CHUNK = 16_384  # rows of the bank that are scored at once in float32


def run(job: Job) -> dict[str, Any]:
    """Evaluate the trunk that `inputs["convert"]` holds by its nearest neighbours.

    Returns top-1 and top-5 in percent, the k that was used (no more than the bank holds) and counts of images; leaves
    what was said of each image (`bench.outcomes`). Raises BadInput for missing data or a trunk without a proof,
    StageFailed when a feature is not finite or the trunk changed.
    """
    task = job.config
    assert isinstance(task, KnnTask)
    root = job.data_root(task.dataset)
    training = subset(index(task.dataset, root, "train"), task.subset, job.seed)
    validation = index(task.dataset, root, "val")
    with ranks_of() as ranks:
        trunk = FrozenTrunk(job.inputs["convert"], task.precision, ranks.device, task.trunk, task.inputs)
        forwards = (len(training.files) + len(validation.files)) // ranks.world
        trunk.compile(forwards, task.size, task.batch_size, task.compile_trunk)
        with trunk.watched():
            rows, labels, skipped = extract(job, task, trunk, training, "bank", ranks)
            asked = extract(job, task, trunk, validation, "queries", ranks)
            queries, truth, more = asked
        if task.metric == "euclidean":
            centre = mean(rows, ranks.device)
            rows = euclidean(rows, centre.to(rows.device), queries=False)
            queries = euclidean(queries, centre.to(queries.device), queries=True)
        sizes = gather(torch.tensor([len(rows)], device=ranks.device)).tolist()
        bank_labels = gathered(labels, ranks)
        queries, truth = gathered(queries.to(ranks.device), ranks), gathered(truth, ranks)
        positions = gathered(asked.positions.to(ranks.device), ranks)
        k = min(task.k, sum(sizes))
        if k < task.k and ranks.first:
            print(f"{task.name}: k is {k}, not {task.k}, as the bank holds no more images", flush=True)
        offset = sum(sizes[: ranks.rank])
        bank = Bank(rows, ranks.device, offset=offset) if is_bf16(task.search) else rows
        temperature = task.temperature if task.vote == "weighted" else None
        ranked = classify(queries, bank, bank_labels, len(training.classes), k, temperature, offset=offset)
        skipped, more = ranks.sums(skipped, more)
    hits = ranked == truth[:, None]  # N×5
    top1, top5 = hits[:, 0], hits.any(dim=1)
    if ranks.first:
        keep_top(job.folder, validation, positions, top1, top5)
    metrics = {
        "top1_percent": 100.0 * int(top1.sum()) / len(truth),
        "top5_percent": 100.0 * int(top5.sum()) / len(truth),
        "k": k,
        "bank_images": sum(sizes),
        "validation_images": len(truth),
        "images_skipped": skipped + more,
    }
    return metrics | trunk.metrics


def extract(
    job: Job, task: KnnTask, trunk: FrozenTrunk, images: Index, title: str, ranks: Ranks | None = None
) -> Features:
    """Return the features of this rank's part of the images: of unit length, but with the Euclidean metric as they are.

    Labels lie on the trunk's device, and so do features if there is room; else on the host (for a search in bf16).
    """
    device = trunk.device
    size = 2 * 6 * most_rows(images, task, ranks) * trunk.feature_dim
    if is_bf16(task.search) and device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0]:
        device = torch.device("cpu")
    prepare = F.normalize if task.metric == "cosine" else None
    result = collect(job, task, trunk, images, title, ranks, device, prepare)
    if not all(bool(rows.isfinite().all()) for rows in result.features.split(CHUNK)):
        raise StageFailed("The trunk gives features that are not finite; its pretraining diverged.")
    return result


def mean(rows: Tensor, device: torch.device) -> Tensor:
    """Return the mean of all ranks' rows, D float32, the same on each."""
    sums = torch.cat([rows.sum(0, dtype=torch.float64), rows.new_full((1,), len(rows), dtype=torch.float64)])
    total = gather(sums[None].to(device)).sum(0)
    return (total[:-1] / total[-1].clamp_min(1)).float()


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


def classify(
    queries: Tensor,
    bank: Tensor | Bank,
    bank_labels: Tensor,
    classes: int,
    k: int,
    temperature: float | None,
    most: int = 5,
    batch: int | None = None,
    offset: int = 0,
) -> Tensor:
    """Return the `most` best classes of each query, best first, N×min(most, C); −1 where no neighbour votes.

    Args:
        queries: N×D features: of unit length, or as `euclidean` makes them.
        bank: this process's part of M×D such features, float32, or a `Bank`, which is searched in bf16 first.
        bank_labels: M, int64, of all processes' parts.
        classes: C.
        k: neighbours that vote, at most M.
        temperature: τ; None for a vote of the majority.
        most: how many classes to return.
        batch: queries at once; None: 512 on a CPU, else 1,024.
        offset: position of this part's first row, for a bank without a search of its own.
    """
    ranked = []
    batch = batch or (512 if queries.device.type == "cpu" else 1024)
    for start in range(0, len(queries), batch):
        part = queries[start : start + batch]
        if isinstance(bank, Bank):
            scores, positions = search(part, bank, k)
        else:
            scores, positions = nearest(part, bank, min(k, len(bank)))
            scores, positions = over_ranks(scores, positions + offset, k)
        ranked.append(vote(scores, bank_labels[positions], classes, temperature)[:, :most])
    return torch.cat(ranked)
