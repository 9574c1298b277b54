"""Linear evaluation: linear classifiers on a frozen trunk, one a learning rate, trained side by side.

The protocol is MoCo's (He et al. 2020, main_lincls): encoder in eval mode, weights N(0, 0.01), bias 0, SGD with
momentum, random resized crop and flip, test images resized and centre-cropped. Several learning rates cost one forward
of the trunk; the head to report is then chosen on a held-out share of the training images, never on val.

With `optimizer="adam"`, `features="centre"` and `schedule="exponential"` it is the evaluation of Ermolov et al.,
"Whitening for Self-Supervised Representation Learning" (ICML 2021; htdt/self-supervised, eval/sgd.py): Adam on features
that are taken once, batch 1,000, rate 1e-2 to 1e-6 by a factor each epoch, weight decay 5e-6 as L2, 500 epochs; start
as torch's linear layer. Unlike SGD's, such rates are not scaled by the batch.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.config.recipe import MACHINE_KEYS, ScheduleSettings
from bench.config.tasks import LinearTask
from bench.data.images import Batch, ViewDataset
from bench.data.sampler import DrawSampler, steps_per_epoch
from bench.data.sets import Index, index
from bench.data.views import SUPERVISED_VIEW
from bench.data.views.resident import Resident
from bench.errors import BadInput, Interrupted, StageFailed
from bench.progress import Progress
from bench.randomness import derive, generator
from bench.stages.frozen_trunk import FrozenTrunk, evaluated, hold_out, loaded, subset
from bench.stages.job import Job
from bench.train.schedule import factor
from bench.train.signals import StopRequest

BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam
HEADS = "heads.safetensors"  # written after each epoch; what a resumed stage goes on from
LOWER = "give lower learning rates (--set learning_rates=...)"


def run(job: Job) -> dict[str, Any]:
    """Train and evaluate linear classifiers on the trunk that `inputs["convert"]` holds.

    Returns top-1 and top-5 in percent of the chosen head, its learning rate (per 256 images), the same for all heads
    by learning rate (None for one that diverged), counts of images, and how many were skipped as unreadable.

    Raises BadInput for missing data or a trunk without a proof, StageFailed when every head diverges or the trunk did
    not stay as it was.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BadInput("Linear evaluation runs in one process; --gpus is for pretraining, segmentation and neighbours.")
    task = job.config
    assert isinstance(task, LinearTask)
    root = job.data_root(task.dataset)
    training, selection = subset(index(task.dataset, root, "train"), task.subset, job.seed), None
    if task.selection_share:
        training, selection = hold_out(training, task.selection_share, job.seed)
    validation = index(task.dataset, root, "val")
    trunk = FrozenTrunk(job.inputs["convert"], task.precision, form=task.trunk)
    passes = task.epochs if task.features == "augmented" else 1
    forwards = passes * len(training.files) + len(validation.files) + (len(selection.files) if selection else 0)
    trunk.compile(forwards, task.size, task.batch_size, task.compile_trunk)
    with trunk.watched():
        kind = AdamHeads if task.optimizer == "adam" else Heads
        heads = kind(len(task.learning_rates), len(training.classes), trunk.feature_dim, job.seed, trunk.device)
        skipped = train(job, task, trunk, heads, training)
        chosen, selected = 0, None
        if selection is not None:
            selected = evaluate(job, task, trunk, heads, selection, "select")
            chosen = best(selected.top1, task.learning_rates)
        result = evaluate(job, task, trunk, heads, validation, "validate")
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


# ---------------------------------------------------------------------------------------------- heads


class Heads:
    """L linear classifiers, each trained by SGD with a learning rate of its own, as one wide matrix product.

    No head sees another: its gradient is that of its own mean cross-entropy. All start from the same weights,
    N(0, 0.01) drawn by the seed alone, so that head i among many is head i alone.
    """

    def __init__(self, count: int, classes: int, dim: int, seed: int, device: torch.device | str = "cpu") -> None:
        start = generator(seed, "linear", "head").normal(0.0, 0.01, (classes, dim)).astype(np.float32)
        self.weight = torch.from_numpy(start).to(device).repeat(count, 1, 1)  # L×C×D
        self.bias = torch.zeros(count, classes, device=device)  # L×C
        self.weight_momentum = torch.zeros_like(self.weight)
        self.bias_momentum = torch.zeros_like(self.bias)

    def logits(self, features: Tensor) -> Tensor:
        """Return N×L×C of features N×D."""
        heads, classes, dim = self.weight.shape
        wide = torch.addmm(self.bias.view(-1), features, self.weight.view(heads * classes, dim).t())
        return wide.view(-1, heads, classes)

    def step(
        self, features: Tensor, labels: Tensor, rates: Tensor, momentum: float, decay: float, losses: bool = True
    ) -> Tensor | None:
        """Take one step of SGD (torch's form: v ← m·v + g, w ← w − lr·v) and return the losses before it, L.

        What is as large as the weights, L×C×D, is read and written as seldom as it can be: the matrix product of the
        gradient adds to the decayed velocity in place, and no gradient is ever stored.

        Args:
            features: N×D float32 without gradient.
            labels: N int64.
            rates: L, this step's learning rate of each head.
            momentum: m.
            decay: weight decay; g includes decay·w.
            losses: without, they are not computed, and None is returned.
        """
        heads, classes, dim = self.weight.shape
        wide, found = self._slope(features, labels, losses)
        self.weight_momentum.view(heads * classes, dim).addmm_(wide.t(), features, beta=momentum)
        self.bias_momentum.view(-1).mul_(momentum).add_(wide.sum(dim=0))
        for value, velocity in ((self.weight, self.weight_momentum), (self.bias, self.bias_momentum)):
            if decay:
                velocity.add_(value, alpha=decay)
            value.addcmul_(velocity, rates.to(value.dtype).view(-1, *[1] * (value.ndim - 1)), value=-1.0)
        return found

    def _slope(self, features: Tensor, labels: Tensor, losses: bool) -> tuple[Tensor, Tensor | None]:
        """Return the gradient with respect to the logits, N×(L·C), and the losses, L, if they are wanted."""
        logits = self.logits(features)
        index = labels[:, None, None].expand(-1, logits.shape[1], 1)
        found = None
        if losses:
            found = (logits.logsumexp(-1) - logits.gather(2, index)[..., 0]).mean(0)
        # The gradient of the mean cross-entropy is (softmax − one-hot) / N.
        slope = logits.softmax(dim=-1)
        slope.scatter_add_(2, index, torch.full_like(slope[..., :1], -1.0))
        slope /= len(features)
        return slope.flatten(1), found

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed training needs, by name."""
        names = ("weight", "bias", "weight_momentum", "bias_momentum")
        return {name: getattr(self, name) for name in names}

    def finite(self) -> list[bool]:
        """Which heads have not diverged."""
        return (self.weight.flatten(1).isfinite().all(1) & self.bias.isfinite().all(1)).tolist()


class AdamHeads(Heads):
    """L linear classifiers, each trained by Adam (Kingma & Ba 2015, in torch's form) with a learning rate of its own.

    All start from the same weights and biases, uniform in ±1/√D as torch's linear layer starts, drawn by the seed.
    """

    def __init__(self, count: int, classes: int, dim: int, seed: int, device: torch.device | str = "cpu") -> None:
        super().__init__(count, classes, dim, seed, device)
        bound = 1 / math.sqrt(dim)
        start = generator(seed, "linear", "adam").uniform(-bound, bound, (classes, dim + 1)).astype(np.float32)
        whole = torch.from_numpy(start).to(device).repeat(count, 1, 1)  # L×C×(D+1), the last column the biases
        self.weight, self.bias = whole[..., :dim].contiguous(), whole[..., dim].contiguous()
        self.weight_square, self.bias_square = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        self.steps = torch.zeros((), dtype=torch.int64)  # on the host: it is read at every step

    def step(
        self, features: Tensor, labels: Tensor, rates: Tensor, momentum: float, decay: float, losses: bool = True
    ) -> Tensor | None:
        """Take one step of Adam, β = (0.9, 0.999), ε = 1e-8, and return the losses before it, L.

        m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², w ← w − lr·m̂/(√v̂ + ε), m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ), g with decay·w.

        Args:
            features, labels, rates, decay, losses: as of SGD's heads; decay concerns the biases, too.
            momentum: not used.
        """
        del momentum
        wide, found = self._slope(features, labels, losses)
        self.steps += 1
        first, second = (1 - beta ** int(self.steps) for beta in BETAS)
        gradients = ((wide.t() @ features).view_as(self.weight), wide.sum(dim=0).view_as(self.bias))
        for name, gradient in zip(("weight", "bias"), gradients, strict=True):
            value, m, v = (getattr(self, name + suffix) for suffix in ("", "_momentum", "_square"))
            if decay:
                gradient.add_(value, alpha=decay)
            m.lerp_(gradient, 1 - BETAS[0])
            v.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            size = v.sqrt().div_(math.sqrt(second)).add_(EPSILON)
            moved = (m / size).mul_(rates.to(value.dtype).view(-1, *[1] * (value.ndim - 1)))
            value.sub_(moved, alpha=1 / first)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed training needs, by name."""
        return super().tensors() | {
            "weight_square": self.weight_square,
            "bias_square": self.bias_square,
            "steps": self.steps,
        }


def best(scores: list[float | None], rates: tuple[float, ...]) -> int:
    """Return the position of the highest score (of equal ones, the lowest learning rate); StageFailed if none is."""
    pairs = enumerate(zip(scores, rates, strict=True))
    known = [(score, -rate, position) for position, (score, rate) in pairs if score is not None]
    if not known:
        raise StageFailed(f"Every linear classifier diverged; {LOWER}.")
    return max(known)[2]


# ------------------------------------------------------------------------------------------- training


def train(job: Job, task: LinearTask, trunk: FrozenTrunk, heads: Heads, training: Index) -> int:
    """Train the heads in place and return how many images were skipped; goes on after the last step that was saved.

    The crop and flip of an image depend on (seed, draw) alone, so that a resumed training equals an undisturbed one
    whatever the number of workers. On `centre` features an epoch is a permutation of them, by the seed. Raises
    Interrupted after a signal; the step at hand is finished and saved.
    """
    seed = derive(job.seed, "linear", "data")
    centre = collect(job, task, trunk, training) if task.features == "centre" else None
    images = len(training.files) if centre is None else len(centre.labels)
    size = min(task.batch_size, images) if task.optimizer == "adam" else task.batch_size
    steps = steps_per_epoch(images, size)
    total = steps * task.epochs
    settings = task.model_dump_json(exclude={"name", "summary", "source"} | MACHINE_KEYS)
    about = {"trunk": trunk.hash, "task": settings, "seed": str(job.seed), "images": str(images)}
    start, skipped = _resume(job.folder / HEADS, heads, about)
    peak = torch.tensor(task.learning_rates, device=trunk.device)
    if task.optimizer == "sgd":
        peak *= task.batch_size / 256
    if centre is not None and task.optimizer == "adam":
        source: AbstractContextManager[Iterator[tuple[Tensor, Tensor, int]]]
        source = nullcontext(_shuffled(centre, size, seed, start))
    else:
        sampler = DrawSampler(images, size, seed, start_step=start)
        source = _batches(job, task, trunk, training, centre, sampler, seed)
    with (
        StopRequest() as stop,
        source as batches,
        Progress(f"train {task.name}", total, "steps", done=start) as progress,
    ):
        for step in range(start, total):
            features, labels, missing = next(batches)
            skipped += missing
            rates = peak * rate_factor(task, step, total)
            # Reading a loss waits for the device, hence not at every step.
            losses = heads.step(features, labels, rates, task.momentum, task.weight_decay, step % 10 == 0)
            shown = {} if losses is None else {"loss": losses.nan_to_num(math.inf).min().item()}
            progress.update(1, **shown)
            done = step + 1
            if done % steps == 0 or stop.asked:
                if not any(heads.finite()):
                    raise StageFailed(f"Every linear classifier diverged by step {done}; {LOWER}.")
                _save(job.folder / HEADS, heads, about | {"steps": str(done), "skipped": str(skipped)})
            if stop.asked and done < total:
                raise Interrupted(f"Stopped after step {done} of {total}; {HEADS} holds it.")
    return skipped + (centre.skipped if centre is not None else 0)


def rate_factor(task: LinearTask, step: int, total: int) -> float:
    """Return what a head's learning rate is multiplied by at `step` (0-based) of `total`.

    `exponential` falls once an epoch: final_ratio^(e/E) in epoch e (0-based) of E, as torch's ExponentialLR does.
    """
    if task.schedule == "exponential":
        return task.final_ratio ** ((step * task.epochs // total) / task.epochs)
    return factor(step, total, 0, ScheduleSettings(name=task.schedule, milestones=task.milestones))


@dataclass(frozen=True)
class Centre:
    """Features of the training images under the test transform, N×D float32 and N, on the trunk's device."""

    features: Tensor
    labels: Tensor
    skipped: int


def collect(job: Job, task: LinearTask, trunk: FrozenTrunk, images: Index) -> Centre:
    """Take the features of every image once, or read them where an earlier stage left them."""
    features = torch.empty(len(images.files), trunk.feature_dim, device=trunk.device)  # ImageNet: 10 GiB
    labels = torch.empty(len(images.files), dtype=torch.int64, device=trunk.device)
    count = skipped = 0
    for found, theirs, missing in evaluated(job, task, trunk, images, "features"):
        features[count : count + len(found)] = found
        labels[count : count + len(found)] = theirs
        count += len(found)
        skipped += missing
    return Centre(features[:count], labels[:count], skipped)


def _shuffled(centre: Centre, size: int, seed: int, start: int) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield (features N×D, labels N, 0) of each step from `start` on, without an end.

    Each epoch is one permutation, by the seed and the epoch; what fills no batch is left out of it.
    """
    images = len(centre.labels)
    steps = images // size
    for epoch in itertools.count(start // steps):
        order = torch.from_numpy(generator(seed, epoch).permutation(images)).to(centre.labels.device)
        for step in range(start % steps if epoch == start // steps else 0, steps):
            chosen = order[step * size : (step + 1) * size]
            yield centre.features[chosen], centre.labels[chosen], 0


@contextmanager
def _batches(
    job: Job,
    task: LinearTask,
    trunk: FrozenTrunk,
    training: Index,
    centre: Centre | None,
    sampler: DrawSampler,
    seed: int,
) -> Iterator[Iterator[tuple[Tensor, Tensor, int]]]:
    """Yield (features N×D, labels N, skipped images) of each step, without an end."""
    if centre is not None:
        orders = (torch.tensor([position for position, _ in keys], device=trunk.device) for keys in sampler)
        yield ((centre.features[order], centre.labels[order], 0) for order in orders)
        return
    pack = job.pack(task.dataset, "train", "training")
    views, backend = (SUPERVISED_VIEW(task.size),), task.view_backend
    if backend == "resident":
        there = Resident(training, views, seed, trunk.device)
        yield (_features(trunk, batch) for batch in there.batches(sampler))
        return
    dataset = ViewDataset(training, views, seed, unreadable=job.unreadable, pack=pack, backend=backend)
    with loaded(dataset, sampler, task.workers, trunk.device) as batches:
        yield (_features(trunk, batch) for batch in batches)


def _features(trunk: FrozenTrunk, batch: Batch) -> tuple[Tensor, Tensor, int]:
    moved = batch.to(trunk.device, memory_format=torch.channels_last, non_blocking=True)
    assert moved.labels is not None
    return trunk.features(moved.views[0]), moved.labels, batch.skipped


def _save(file: Path, heads: Heads, about: dict[str, str]) -> None:
    """Write the heads whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    tensors = {name: tensor.cpu().contiguous() for name, tensor in heads.tensors().items()}
    safetensors.torch.save_file(tensors, temporary, metadata=about)
    temporary.replace(file)


def _resume(file: Path, heads: Heads, about: dict[str, str]) -> tuple[int, int]:
    """Load what an earlier start left; return (finished steps, skipped images), (0, 0) if it left nothing of use."""
    if not file.is_file():
        return 0, 0
    try:
        with safe_open(file, framework="pt") as opened:
            found = dict(opened.metadata() or {})
        tensors = safetensors.torch.load_file(file)
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{file} is damaged; delete it, and the linear stage starts anew.") from error
    if {key: found.get(key) for key in about} != about:
        print(f"{file.name} is about another trunk or task: starting anew", flush=True)
        return 0, 0
    for name, tensor in heads.tensors().items():
        tensor.copy_(tensors[name])
    return int(found["steps"]), int(found["skipped"])


# ----------------------------------------------------------------------------------------- evaluation


@dataclass(frozen=True)
class Scores:
    """Percentages of each head (None: it diverged), over `images` images."""

    top1: list[float | None]
    top5: list[float | None]
    images: int
    skipped: int


def evaluate(job: Job, task: LinearTask, trunk: FrozenTrunk, heads: Heads, images: Index, title: str) -> Scores:
    """Return top-1 and top-5 of each head over every image once. With fewer than 5 classes top-5 is over them all."""
    most = min(5, len(images.classes))
    right = torch.zeros(2, len(heads.weight), dtype=torch.int64, device=trunk.device)
    count = skipped = 0
    for features, labels, missing in evaluated(job, task, trunk, images, title):
        top = heads.logits(features).topk(most, dim=-1).indices  # N×L×most
        hits = top == labels[:, None, None]
        right += torch.stack([hits[..., 0].sum(0), hits.any(-1).sum(0)])
        count += len(labels)
        skipped += missing
    return Scores(
        top1=_percent(right[0], count, heads), top5=_percent(right[1], count, heads), images=count, skipped=skipped
    )


def _percent(right: Tensor, count: int, heads: Heads) -> list[float | None]:
    pairs = zip(right.tolist(), heads.finite(), strict=True)
    return [100.0 * hits / count if finite else None for hits, finite in pairs]
