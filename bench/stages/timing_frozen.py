"""What evaluations of a frozen trunk cost: reading, the forward pass, and what is done with features, timed apart."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from bench.config.tasks import KnnTask, LinearTask
from bench.data.images import EvalDataset, Sample, ViewDataset, in_order
from bench.data.sampler import DrawSampler, steps_per_epoch
from bench.data.sets import Index, index
from bench.data.views import SUPERVISED_VIEW
from bench.data.views.resident import Resident
from bench.nn.neighbours import Bank, euclidean
from bench.stages.compiled_trunk import amx, pays
from bench.stages.costs import NOTHING, Amount, Costs, Phase, halves, total
from bench.stages.features import subset, through, workers_of
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.job import Job
from bench.stages.knn import classify
from bench.stages.linear import hold_out
from bench.stages.linear_heads import AdamHeads, Heads
from bench.stages.stopwatch import Sized, Stopwatch, clock
from bench.stages.timing import draws, reading, repeated
from bench.train.distributed import Ranks, ranks_of
from bench.train.precision import is_bf16

BANK = 16_384  # rows of the bank that a search is timed with
QUERIES = 512
COMPILING = 25.0  # s that must be left for a trunk to be compiled


class _Passes:
    """The forward passes of one task: its trunk, how long it takes to read an image, and to compute a batch."""

    def __init__(self, job: Job, task: LinearTask | KnnTask, images: Index, watch: Stopwatch, ranks: Ranks) -> None:
        began = clock()
        self.job, self.task, self.watch, self.device = job, task, watch, ranks.device
        self.trunk = FrozenTrunk(job.inputs["convert"], task.precision, ranks.device, task.trunk, task.inputs)
        with self.trunk.watched():
            self.start = clock() - began
        pack = job.pack(task.dataset, images.split, "evaluation")
        dataset = EvalDataset(images, task.size, task.resize, job.unreadable, pack=pack)
        self.workers = workers_of(task, self.device, len(images.files), ranks)
        keys = in_order(len(images.files), task.batch_size)[0]
        self.load, self.some = reading(dataset, keys, watch)
        self.forward = self._forwards(self.some)

    def compiled(self, forwards: int) -> tuple[str, ...]:
        """Compile the trunk if the stage will, time it again, and return what there is to say of it.

        Without AMX a CPU gains too little by it to be timed twice (`compiled_trunk.BREAK_EVEN`).
        """
        task, trunk, before = self.task, self.trunk, clock()
        wanted = task.compile_trunk
        if wanted is None:
            wanted = pays(trunk.encoder.arch, trunk.passes * forwards, task.size, self.device, trunk.encoder.stem)
        if trunk.folded is None or not wanted or (self.device.type == "cpu" and not amx()):
            return ()
        if self.watch.left < COMPILING:
            return ("the stage will compile its trunk and be faster: there was no time for that",)
        trunk.compile(forwards, task.size, task.batch_size, True)
        if trunk.compiled is None:
            return ()
        self.start += clock() - before
        self.forward = self._forwards(self.some)
        return ("with a compiled trunk",)

    def phase(self, name: str, images: int, makes: Mapping[str, int], more: Amount = NOTHING) -> Phase:
        """Return one pass over the images under the test transform, which `makes` these features.

        `more` is computed with each batch.
        """
        batch = self.task.batch_size
        share = images / batch  # the last batch is smaller
        count = max(1, round(share))
        scale = share / count
        return Phase(
            name=name,
            count=count,
            load=self.load.times(batch * scale),
            compute=total([self.forward.amount(), more]).times(scale),
            workers=self.workers,
            shared=self.device.type == "cpu",
            makes="".join(makes),
        )

    def features(self, words: str, images: int) -> dict[str, int]:
        """Return what a split adds to the features that are kept: {what they are: bytes}."""
        task = self.task
        if self.job.features is None or not task.reuse_features:
            return {}
        about = (
            f"{task.dataset} {words} {task.size} of {task.resize} by {task.batch_size}, {task.trunk} {task.precision} "
            f"{task.inputs}"
        )
        return {about: images * (4 * self.trunk.feature_dim + 8)}

    def rows_mib(self, images: int) -> float:
        """Return the memory of so many features, in MiB."""
        return images * 4 * self.trunk.feature_dim / 2**20

    def _forwards(self, some: list[Sample]) -> Sized:
        def unit(images: int) -> Any:
            return partial(through, self.trunk, repeated(some, images))

        return self.watch.growing(halves(self.task.batch_size, 16), unit, self.watch.left / 3)


def _in_memory(memory: dict[str, float], mib: float, device: torch.device) -> dict[str, float]:
    """Add what the features of all images take to what was held while a few were computed."""
    name = "gpu" if device.type == "cuda" and "gpu" in memory else "process"
    return {**memory, name: memory[name] + mib}


def linear(job: Job, watch: Stopwatch) -> Costs:
    """Time a linear evaluation."""
    task, began = job.config, clock()
    assert isinstance(task, LinearTask)
    root = job.data_root(task.dataset)
    training, selection = subset(index(task.dataset, root, "train"), task.subset, job.seed), None
    if task.selection_share:
        training, selection = hold_out(training, task.selection_share, job.seed)
    validation = index(task.dataset, root, "val")
    centre, ready = task.features == "centre", clock() - began
    with ranks_of() as ranks:
        passes = _Passes(job, task, validation, watch, ranks)
        trunk, device = passes.trunk, passes.device
        images = len(training.files)
        size = min(task.batch_size, images) if task.optimizer == "adam" else task.batch_size
        steps = task.epochs * steps_per_epoch(images, size)
        kind = AdamHeads if task.optimizer == "adam" else Heads
        heads = kind(len(task.learning_rates), len(training.classes), trunk.feature_dim, job.seed, device)
        features = torch.randn(size, trunk.feature_dim, device=device)
        labels = torch.randint(0, len(training.classes), (size,), device=device)
        rates = torch.full((len(task.learning_rates),), 1e-6)
        head = partial(heads.step, features, labels, rates, task.momentum, task.weight_decay, False)
        watch.once(head)
        heading = Amount.of(watch.samples(head, watch.left / 10))
        scoring = Amount.of(watch.samples(lambda: heads.logits(features).topk(1), watch.left / 20, most=5))
        held = 0 if selection is None else len(selection.files)
        ready += passes.start + passes.forward.warmup
        before = passes.start
        notes = passes.compiled((1 if centre else task.epochs) * images + len(validation.files) + held)
        ready += passes.start - before
        split = f"s{job.seed} {task.subset} {task.selection_share:g}" if held or task.subset else ""
        kept: dict[str, int] = {}
        if centre:
            kept |= (makes := passes.features(f"train {split}", images))
            phases = [passes.phase("features", images, makes), Phase(name="heads", count=steps, compute=heading)]
        else:
            phases = [_augmented(job, task, training, passes, size, steps, heading)]
        if selection is not None:
            kept |= (makes := passes.features(f"held out {split}", held))
            phases.append(passes.phase("selection", held, makes, scoring))
        kept |= (makes := passes.features("val", len(validation.files)))
        phases.append(passes.phase("validation", len(validation.files), makes, scoring))
        memory = passes.forward.memory | {k: max(v, passes.forward.memory.get(k, 0)) for k, v in watch.memory().items()}
        return Costs(
            start=Amount.of([ready]),
            phases=tuple(phases),
            memory_mib=_in_memory(memory, passes.rows_mib(images) if centre else 0.0, device),
            disk_bytes=2 * heads.weight.numel() * 4,
            features=kept,
            notes=passes.forward.notes + notes,
        )


def _augmented(
    job: Job, task: LinearTask, training: Index, passes: _Passes, size: int, steps: int, heading: Amount
) -> Phase:
    """The training of heads on fresh views of the images."""
    device, workers = passes.device, passes.workers
    load, views = NOTHING, (SUPERVISED_VIEW(task.size),)
    making = NOTHING
    if task.view_backend == "resident":
        there = Resident(training, views, job.seed, device)
        batches = iter(there.batches(DrawSampler(len(training.files), size, job.seed)))
        making = Amount.of(passes.watch.samples(lambda: next(batches).to(device), passes.watch.left / 4))
        workers = 0
    else:
        pack = job.pack(task.dataset, "train", "training")
        dataset = ViewDataset(
            training, views, job.seed, unreadable=job.unreadable, pack=pack, backend=task.view_backend
        )
        load, some = reading(dataset, draws(len(training.files), size, job.seed), passes.watch)
        if task.view_backend == "device":
            batch = repeated(some, size)
            making = Amount.of(passes.watch.samples(lambda: batch.to(device), passes.watch.left / 4))
    return Phase(
        name="steps",
        count=steps,
        load=load.times(size),
        compute=total([passes.forward.amount(), heading, making]),
        workers=workers,
        shared=device.type == "cpu",
    )


def neighbours(job: Job, watch: Stopwatch) -> Costs:
    """Time an evaluation by nearest neighbours."""
    task, began = job.config, clock()
    assert isinstance(task, KnnTask)
    root = job.data_root(task.dataset)
    training = subset(index(task.dataset, root, "train"), task.subset, job.seed)
    validation = index(task.dataset, root, "val")
    ready = clock() - began
    with ranks_of() as ranks:
        passes = _Passes(job, task, training, watch, ranks)
        warmup = passes.forward.warmup
        rows, asked = len(training.files), len(validation.files)
        searched = _search(task, passes.trunk, training, rows, watch)
        notes = passes.compiled(rows + asked)
        bank = passes.features(f"train {f's{job.seed} {task.subset} 0' if task.subset else ''}", rows)
        val = passes.features("val", asked)
        return Costs(
            start=Amount.of([ready + passes.start + warmup]),
            phases=(
                passes.phase("bank", rows, bank),
                passes.phase("queries", asked, val),
                Phase(name="search", count=1, compute=searched.times(asked)),
            ),
            # The bank, its coarse copy, and what queries are compared with.
            memory_mib=_in_memory(
                watch.memory(), passes.rows_mib(rows) * (1.5 if is_bf16(task.search) else 1), passes.device
            ),
            features=bank | val,
            notes=passes.forward.notes + notes,
        )


def _search(task: KnnTask, trunk: FrozenTrunk, training: Index, rows: int, watch: Stopwatch) -> Amount:
    """The seconds of one query: features are random, and the bank has BANK rows at most."""
    device, some = trunk.device, min(rows, BANK)
    bank = torch.nn.functional.normalize(torch.randn(some, trunk.feature_dim, device=device))
    queries = torch.nn.functional.normalize(torch.randn(QUERIES, trunk.feature_dim, device=device))
    if task.metric == "euclidean":
        centre = torch.zeros(trunk.feature_dim, device=device)
        bank, queries = euclidean(bank, centre, queries=False), euclidean(queries, centre, queries=True)
    labels = torch.randint(0, len(training.classes), (some,), device=device)
    temperature = task.temperature if task.vote == "weighted" else None
    held = Bank(bank, device) if is_bf16(task.search) else bank
    unit = partial(classify, queries, held, labels, len(training.classes), min(task.k, some), temperature)
    watch.once(unit)
    return Amount.of(watch.samples(unit, watch.left / 6, most=5)).times(rows / some / QUERIES)
