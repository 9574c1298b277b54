"""Linear evaluation: linear classifiers on a frozen trunk, one a learning rate, trained side by side.

The protocol is MoCo's (He et al. 2020, main_lincls): encoder in eval mode, weights N(0, 0.01), bias 0, SGD with
momentum, random resized crop and flip, test images resized and centre-cropped. Of several learning rates, the head to
report is chosen on a held-out share of the training images, never on val.

With `optimizer="adam"`, `features="centre"` and `schedule="exponential"` it is the evaluation of Ermolov et al.,
"Whitening for Self-Supervised Representation Learning" (ICML 2021; htdt/self-supervised, eval/sgd.py): Adam on features
that are taken once, batch 1,000, rate 1e-2 to 1e-6 by a factor each epoch, weight decay 5e-6 as L2, 500 epochs; start
as torch's linear layer. Unlike SGD's, such rates are not scaled by the batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.config.no_effect import as_hashed
from bench.config.recipe import ScheduleSettings
from bench.config.tasks import LinearTask
from bench.data.images import ViewDataset
from bench.data.sampler import DrawSampler, Turns, steps_per_epoch
from bench.data.sets import Index, index, part
from bench.data.views import SUPERVISED_VIEW
from bench.data.views.resident import Resident
from bench.errors import BadInput, Interrupted, StageFailed
from bench.hashing import MACHINE_KEYS
from bench.progress import Progress
from bench.randomness import derive, generator
from bench.stages.features import Features, features_of, gathered, loaded, subset, through
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.image_outcomes import keep_top
from bench.stages.job import Job
from bench.stages.learning_rates import LossWatch, at_the_edge, named_by_rate
from bench.stages.linear_finished import check_finished, images_of
from bench.stages.linear_heads import AdamHeads, Heads
from bench.stages.linear_ranks import centre_features, in_turns
from bench.stages.linear_state import HEADS, resume, save
from bench.trackers import track
from bench.train.checkpoint import put_back
from bench.train.distributed import Ranks, ranks_of
from bench.train.readings import Every
from bench.train.schedule import factor
from bench.train.signals import StopRequest
from bench.waiting import Waits

LOWER = "give lower learning rates (--set learning_rates=...)"


def run(job: Job) -> dict[str, Any]:
    """Train and evaluate linear classifiers on the trunk that `inputs["convert"]` holds.

    Returns top-1 and top-5 in percent of the chosen head, its learning rate (per 256 images), the same for all heads
    by learning rate (None for one that diverged), and counts of images; leaves what the chosen head said of each image
    (`bench.outcomes`). Raises BadInput for missing data or a trunk without a proof, StageFailed when every head
    diverges or the trunk changed.
    """
    task = job.config
    assert isinstance(task, LinearTask)
    root = job.data_root(task.dataset)
    training, selection = subset(index(task.dataset, root, "train"), task.subset, job.seed), None
    if task.selection_share:
        training, selection = hold_out(training, task.selection_share, job.seed)
    validation = index(task.dataset, root, "val")
    passes = task.epochs if task.features == "augmented" else 1
    forwards = passes * len(training.files) + len(validation.files) + (len(selection.files) if selection else 0)
    kind = AdamHeads if task.optimizer == "adam" else Heads
    with ranks_of() as ranks:
        trunk = FrozenTrunk(job.inputs["convert"], task.precision, ranks.device, task.trunk, task.inputs)
        # Not those of one rank: features must not depend on the number of ranks, and a compiled trunk rounds otherwise.
        trunk.compile(forwards, task.size, task.batch_size, task.compile_trunk)
        with trunk.watched():
            heads = kind(len(task.learning_rates), len(training.classes), trunk.feature_dim, job.seed, trunk.device)
            skipped = train(job, task, trunk, heads, training, ranks)
            chosen, selected = 0, None
            if selection is not None:
                selected = evaluate(job, task, trunk, heads, selection, "select", ranks)
                chosen = best(selected.top1, task.learning_rates)
                if ranks.first and (note := at_the_edge(task.learning_rates, chosen)):
                    print(note, flush=True)
            result = evaluate(job, task, trunk, heads, validation, "validate", ranks, keep=chosen)
    top1, top5 = result.top1[chosen], result.top5[chosen]
    if top1 is None or top5 is None:
        raise StageFailed(f"The linear classifier diverged; {LOWER}.")
    names = [f"{rate:g}" for rate in task.learning_rates]
    metrics: dict[str, Any] = {
        "top1_percent": top1,
        "top5_percent": top5,
        "learning_rate": task.learning_rates[chosen],
        "top1_percent_by_learning_rate": dict(zip(names, result.top1, strict=True)),
        "top5_percent_by_learning_rate": dict(zip(names, result.top5, strict=True)),
        "training_images": len(training.files),
        "validation_images": result.images,
        "images_skipped": skipped + result.skipped + (selected.skipped if selected else 0),
    }
    if selected is not None:
        metrics["selection_top1_percent_by_learning_rate"] = dict(zip(names, selected.top1, strict=True))
        metrics["selection_images"] = selected.images
    return metrics | trunk.metrics


def hold_out(index: Index, share: float, seed: int) -> tuple[Index, Index]:
    """Split into (rest, held out share of each class), drawn by the seed alone; BadInput where a side is empty."""
    labels = np.asarray(index.labels)
    order = generator(seed, "selection").permutation(len(labels))
    held: list[int] = []
    for label in range(len(index.classes)):
        of_class = order[labels[order] == label]
        held += of_class[: round(share * len(of_class))].tolist()
    if not held or len(held) == len(labels):
        raise BadInput(
            f"selection_share {share} of {len(labels)} training images leaves none on one side; raise it or subset."
        )
    return part(index, sorted(set(range(len(labels))) - set(held))), part(index, held)


def best(scores: list[float | None], rates: tuple[float, ...]) -> int:
    """Return the position of the highest score (of equal ones, the lowest learning rate); StageFailed if none is."""
    pairs = enumerate(zip(scores, rates, strict=True))
    known = [(score, -rate, position) for position, (score, rate) in pairs if score is not None]
    if not known:
        raise StageFailed(f"Every linear classifier diverged; {LOWER}.")
    return max(known)[2]


def train(job: Job, task: LinearTask, trunk: FrozenTrunk, heads: Heads, training: Index, ranks: Ranks) -> int:
    """Train the heads in place and return how many images were skipped; goes on after the last step that was saved.

    The crop and flip of an image depend on (seed, draw) alone, so that a resumed training equals an undisturbed one.
    Each rank computes the features of whole batches, and takes every step with all of that step's features.
    Raises Interrupted after a signal; the step at hand is finished and saved.
    """
    seed = derive(job.seed, "linear", "data")
    centred = task.features == "centre" and not job.evaluation_only
    centre = centre_features(job, task, trunk, training, ranks) if centred else None
    images = images_of(job, training, HEADS) if centre is None else len(centre.labels)
    size = min(task.batch_size, images) if task.optimizer == "adam" else task.batch_size
    steps = steps_per_epoch(images, size)
    total = steps * task.epochs
    settings = as_hashed(task).model_dump_json(exclude={"name", "summary", "source"} | MACHINE_KEYS)
    about = {"trunk": trunk.hash, "task": settings, "seed": str(job.seed), "images": str(images)}
    start, skipped, used = resume(job.folder / HEADS, heads, about, say=ranks.first)
    if job.evaluation_only:
        check_finished(job.folder / HEADS, start, total)
        return skipped
    ranks.sums(0)  # returns when all ranks have read the file, which the first will write
    if ranks.first and start:
        put_back(job.folder / HEADS, used)
    peak = torch.tensor(task.learning_rates)
    if task.optimizer == "sgd":
        peak *= task.batch_size / 256
    watch = LossWatch(task.learning_rates, len(training.classes))
    with (
        StopRequest() as stop,
        _batches(job, task, trunk, training, centre, size, seed, range(start, total), ranks) as (batches, waits),
        Progress(f"train {task.name}", total, "steps", done=start) if ranks.first else nullcontext() as progress,
    ):
        every = Every()
        stop.announce = progress.say_stopping if progress is not None else None
        for step in range(start, total):
            features, labels, missing = next(batches)
            skipped += missing
            rates = peak * rate_factor(task, step, total)
            done = step + 1
            # Reading a loss waits for the device, hence once a second.
            read = every.due() or done == total
            losses = heads.step(features, labels, rates, task.momentum, task.weight_decay, read)
            shown = {} if losses is None else {"loss": losses.nan_to_num(math.inf).min().item()}
            if losses is not None:
                every.restart()
                track(done, named_by_rate(task.learning_rates, loss=losses.tolist(), lr=rates.tolist()))
            if progress is not None:
                progress.update(1, **shown, **(waits.shown() if waits is not None else {}))
                if shown and (warning := watch.see(shown["loss"], step, done == total)):
                    print(warning, flush=True)
            (asked,) = ranks.sums(int(stop.asked))  # all ranks stop after the same step
            if done % steps == 0 or asked:
                if not any(heads.finite()):
                    raise StageFailed(f"Every linear classifier diverged by step {done}; {LOWER}.")
                if ranks.first:
                    save(job.folder / HEADS, heads, about | {"steps": str(done), "skipped": str(skipped)})
            if asked and done < total:
                raise Interrupted(f"Stopped after step {done} of {total}; {HEADS} holds it.")
    return skipped + (centre.skipped if centre is not None else 0)


def rate_factor(task: LinearTask, step: int, total: int) -> float:
    """Return what a head's learning rate is multiplied by at `step` (0-based) of `total`.

    `exponential` falls once an epoch: final_ratio^(e/E) in epoch e (0-based) of E, as torch's ExponentialLR does.
    """
    if task.schedule == "exponential":
        return task.final_ratio ** ((step * task.epochs // total) / task.epochs)
    return factor(step, total, 0, ScheduleSettings(name=task.schedule, milestones=task.milestones))


def _shuffled(centre: Features, size: int, seed: int, start: int) -> Iterator[Features]:
    """`_batches` for Adam: each epoch is one permutation of `centre`; what fills no batch is left out of it."""
    images = len(centre.labels)
    steps = images // size
    for epoch in itertools.count(start // steps):
        order = torch.from_numpy(generator(seed, epoch).permutation(images)).to(centre.labels.device)
        for step in range(start % steps if epoch == start // steps else 0, steps):
            chosen = order[step * size : (step + 1) * size]
            yield Features(centre.features[chosen], centre.labels[chosen], 0)


@contextmanager
def _batches(
    job: Job,
    task: LinearTask,
    trunk: FrozenTrunk,
    training: Index,
    centre: Features | None,
    size: int,
    seed: int,
    steps: range,
    ranks: Ranks,
) -> Iterator[tuple[Iterator[Features], Waits | None]]:
    """Yield the features of each of the steps: parts of `centre`, or of fresh views, and how long these are waited for.

    There may be more of them than steps.
    """
    if centre is not None and task.optimizer == "adam":
        yield _shuffled(centre, size, seed, steps.start), None
        return
    if centre is not None:
        whole = DrawSampler(len(centre.labels), size, seed, start_step=steps.start)
        orders = (torch.tensor([position for position, _ in keys], device=trunk.device) for keys in whole)
        yield (Features(centre.features[order], centre.labels[order], 0) for order in orders), None
        return
    sampler = Turns(len(training.files), size, seed, steps.start, ranks.rank, ranks.world)
    pack = job.pack(task.dataset, "train", "training")
    views, backend = (SUPERVISED_VIEW(task.size),), task.view_backend
    if backend == "resident":
        there = Resident(training, views, seed, trunk.device)
        yield in_turns((through(trunk, batch) for batch in there.batches(sampler)), steps, ranks, trunk), None
        return
    dataset = ViewDataset(training, views, seed, unreadable=job.unreadable, pack=pack, backend=backend)
    with loaded(dataset, sampler, task, trunk.device, len(steps) * size // ranks.world, ranks) as batches:
        yield in_turns((through(trunk, batch) for batch in batches), steps, ranks, trunk), batches.waits


@dataclass(frozen=True)
class Scores:
    """Percentages of each head (None: it diverged), over `images` images."""

    top1: list[float | None]
    top5: list[float | None]
    images: int
    skipped: int


def evaluate(
    job: Job,
    task: LinearTask,
    trunk: FrozenTrunk,
    heads: Heads,
    images: Index,
    title: str,
    ranks: Ranks,
    keep: int | None = None,
) -> Scores:
    """Return top-1 and top-5 of each head over every image once. With fewer than 5 classes top-5 is over them all.

    What the head `keep` said of each image stays in the stage's folder.
    """
    most = min(5, len(images.classes))
    right = torch.zeros(2, len(heads.weight), dtype=torch.int64, device=trunk.device)
    count = skipped = 0
    said = []
    for batch in features_of(job, task, trunk, images, title, ranks):
        features, labels, missing = batch
        top = heads.logits(features).topk(most, dim=-1).indices  # N×L×most
        hits = top == labels[:, None, None]
        firsts, of_five = hits[..., 0], hits.any(-1)
        right += torch.stack([firsts.sum(0), of_five.sum(0)])
        count += len(labels)
        skipped += missing
        if keep is not None:
            said.append(torch.stack([batch.positions.to(trunk.device), firsts[:, keep], of_five[:, keep]], dim=1))
    if keep is not None:
        none = torch.empty(0, 3, dtype=torch.int64, device=trunk.device)
        rows = gathered(torch.cat([none, *said]), ranks)
        if ranks.first:
            keep_top(job.folder, images, rows[:, 0], rows[:, 1], rows[:, 2])
    finite = heads.finite()
    count, skipped, *hits_of_all = ranks.sums(count, skipped, *right.flatten().tolist())
    each = hits_of_all[: len(finite)], hits_of_all[len(finite) :]
    top1, top5 = ([100.0 * n / count if ok else None for n, ok in zip(r, finite, strict=True)] for r in each)
    return Scores(top1, top5, count, skipped)
