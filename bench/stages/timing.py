"""What a stage will cost, from a few seconds of its parts on real data: reading and computing are timed apart.

Nothing is trained, and what is written lies in the job's folder, which is thrown away. The parts are those that `run`
of each kind is made of, so that what is timed is what will run.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from bench.config.processes import micro_batch
from bench.config.recipe import Recipe
from bench.convert.proof import load_strictly, prove, write_proof
from bench.convert.trunk import TRUNK, read_trunk, save_trunk
from bench.data.held_out import _source as held_out_source
from bench.data.images import Sample, collate
from bench.data.sampler import DrawSampler, steps_per_epoch
from bench.data.sets import Index, pretraining_index
from bench.data.views import Batch, normalised
from bench.data.views.resident import Resident
from bench.nn.encoder import build_encoder
from bench.nn.norm import set_parts
from bench.objectives.base import Objective
from bench.stages import pretrain
from bench.stages.costs import NOTHING, Amount, Costs, Phase, halves
from bench.stages.job import Job
from bench.stages.stopwatch import Stopwatch, clock
from bench.stages.timing_norms import norms_of
from bench.train.checkpoint import LAST, write
from bench.train.distributed import Ranks, ranks_of
from bench.train.feed import to_device
from bench.train.metrics_log import MetricsLog
from bench.train.monitor import FORWARDS, interval, measures, undisturbed
from bench.train.precision import is_bf16
from bench.train.state import identity
from bench.train.step import Step

# Kind of stage -> what times it: (job, stopwatch) -> Costs. A kind that is not here is not timed.
TIMED = {
    "pretrain": "bench.stages.timing:pretraining",
    "convert": "bench.stages.timing:conversion",
    "linear": "bench.stages.timing_frozen:linear",
    "knn": "bench.stages.timing_frozen:neighbours",
    "diagnostics": "bench.stages.timing_diagnostics:diagnostics",
    "segmentation": "bench.stages.segmentation.timing:segmentation",
}
READING = 0.25  # of the time, for reading images
READ_AT_ONCE = 4  # images a sample
LONG_WRITE = 2.0  # s that must be left for a checkpoint to be written


def costs(kind: str, job: Job, watch: Stopwatch) -> Costs:
    """Return what a stage of a kind takes. Raises KeyError for a kind that cannot be timed, and whatever `run` may."""
    module, _, function = TIMED[kind].partition(":")
    began = clock()
    measure = getattr(importlib.import_module(module), function)
    importing = clock() - began
    found: Costs = measure(job, watch)
    return found.model_copy(update={"start": Amount(*(value + importing for value in found.start))})


def conversion(job: Job, watch: Stopwatch) -> Costs:
    """Run a conversion whole; what it needs, `prepare` has written."""
    from bench.stages import convert

    seconds = watch.once(partial(convert.run, job))
    return Costs(
        start=Amount.of([seconds]),
        memory_mib=watch.memory(),
        disk_bytes=sum(file.stat().st_size for file in job.folder.iterdir() if not file.name.endswith(".json")),
    )


def prepare(recipe: Recipe, folder: Path) -> None:
    """Write what a pretraining of nothing leaves: a checkpoint with a trunk of the recipe's architecture."""
    plain = recipe.model_copy(update={"objective": {"name": "random_init"}, "init": None})
    objective, _ = pretrain.start(plain, 0, None)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / LAST, {"run": identity(plain, 0, 0), "step": 0, "objective": objective.state_dict()})


def prepare_trunk(recipe: Recipe, folder: Path) -> None:
    """Write a trunk with weights from the seed and its proof, against a second network of the same code.

    No result may come from it; evaluations are timed with it, and a conversion takes longer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoder, other = (build_encoder(recipe.arch, seed=seed, stem=recipe.stem).eval() for seed in (0, 1))
    save_trunk(folder / TRUNK, encoder.state_dict(), recipe.arch, recipe.stem)
    load_strictly(other, read_trunk(folder / TRUNK).state, "a second encoder")
    other.forward = other.maps
    write_proof(folder, prove(encoder.state_dict(), recipe.arch, encoder.maps, other, recipe.stem))


# ------------------------------------------------------------------------------------ pretraining


def pretraining(job: Job, watch: Stopwatch) -> Costs:
    """Time the reading of images, and optimizer steps of growing batches."""
    recipe = job.config
    assert isinstance(recipe, Recipe)
    began = clock()
    with ranks_of() as ranks:
        images = None if recipe.dataset == "none" else pretraining_index(recipe.dataset, job.data_root(recipe.dataset))
        counts = (0, 0) if images is None else (len(images.classes), len(images.files))
        objective, _ = pretrain.start(recipe, job.seed, None, *counts)
        if recipe.epochs == 0:
            norms = () if images is None else (norms_of(objective.encoder, recipe, job, images, ranks, watch),)
            content = {"run": identity(recipe, job.seed, 0), "step": 0, "objective": objective.state_dict()}
            write(job.folder / LAST, content)
            start = Amount.of([clock() - began])
            size = (job.folder / LAST).stat().st_size
            return Costs(start=start, phases=norms, memory_mib=watch.memory(), disk_bytes=size)
        assert images is not None
        if ranks.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        dataset = pretrain._dataset(objective, recipe, job, images, ranks)
        work = Step(objective, recipe, ranks)
        with MetricsLog(job.folder, 0, active=True):  # imports what writes it
            start = Amount.of([clock() - began])
        return _steps(job, recipe, images, dataset, work, ranks, watch, start)


def _steps(
    job: Job, recipe: Recipe, images: Index, dataset: Any, work: Step, ranks: Ranks, watch: Stopwatch, start: Amount
) -> Costs:
    """What the steps of a pretraining take that is ready to begin, and what is done between them."""
    size, length = micro_batch(recipe.batch_size, 1, recipe.accumulate), len(dataset)
    steps = steps_per_epoch(length, recipe.batch_size)
    resident = isinstance(dataset, Resident)
    load, some = (NOTHING, []) if resident else reading(dataset, draws(length, size, job.seed), watch)
    placed = partial(to_device, device=ranks.device, memory_format=work.memory_format)

    def groups_of(count: int) -> None:
        """Let norms have as many images as they will, or all of fewer."""
        if recipe.norm_images is not None:
            most = max(1, count // recipe.norm_images)
            set_parts(work.objective, max(n for n in range(1, most + 1) if count % n == 0))

    def unit(count: int) -> Callable[[], object]:
        """Gradients of a micro-batch whose data were read, and the update by them."""
        made = (
            dataset.batches(DrawSampler(length, count, job.seed))
            if resident
            else itertools.repeat(repeated(some, count))
        )
        batches = iter(made)

        def step() -> None:
            groups_of(count)
            work.backward(placed(next(batches)))
            work.update(1e-6, 0.0)

        return step

    def update() -> float:
        """The seconds of an update alone; without gradients it would do nothing."""
        groups_of(sized.sizes[0])
        work.backward(placed(next(iter(first))))
        return watch.once(partial(work.update, 1e-6, 0.0))

    seconds = watch.left
    # A compiled step is compiled anew for every size.
    sized = watch.growing([size] if recipe.compile else halves(size, min(8, length)), unit, seconds / 2)
    first = (
        dataset.batches(DrawSampler(length, sized.sizes[0], job.seed)) if resident else [repeated(some, sized.sizes[0])]
    )
    updating = min(update(), update())
    compute = Amount(*(recipe.accumulate * one + updating for one in sized.amount(updating)))
    state = work.objective.state_dict()
    content = {
        "run": identity(recipe, job.seed, steps),
        "step": 0,
        "objective": state,
        "optimizer": work.optimizer.state_dict(),
    }
    writing = watch.left > LONG_WRITE
    saving = Amount.of([watch.once(lambda: write(job.folder / LAST, content))]) if writing else NOTHING
    training, whole = recipe.epochs * steps, sum(map(_bytes, (state, work.optimizer.state_dict()["state"])))
    every = recipe.checkpoint.keep_every_epochs
    kept = len({*range(every, recipe.epochs + 1, every), recipe.epochs}) if every else 1
    workers = 0 if resident else pretrain.workers_of(work.objective, recipe, steps, ranks)
    return Costs(
        start=Amount(*(value + sized.warmup for value in start)),
        phases=(
            Phase(
                name="steps",
                count=training,
                load=load.times(recipe.batch_size),
                compute=compute,
                workers=workers,
                shared=ranks.device.type == "cpu",
            ),
            Phase(name="diagnostics", count=_looks(recipe, steps), compute=_look(recipe, work, images, compute, watch)),
            # Others are written while training goes on.
            Phase(name="last checkpoint", count=1, compute=saving),
        ),
        # What is written in the background is copied first.
        memory_mib=_more(sized.memory, whole if recipe.checkpoint.background else 0),
        disk_bytes=whole + kept * _bytes(state),
        notes=sized.notes + (() if writing else ("without the writing of checkpoints",)),
    )


def _more(memory: dict[str, float], count: int) -> dict[str, float]:
    """Memory with so many bytes more on the host."""
    return memory | {"process": memory["process"] + count / 2**20}


def _bytes(values: Any) -> int:
    """The bytes of all tensors in dictionaries of dictionaries."""
    if isinstance(values, Tensor):
        return values.numel() * values.element_size()
    return sum(map(_bytes, values.values())) if isinstance(values, dict) else 0


def _looks(recipe: Recipe, steps: int) -> int:
    """How often a pretraining is looked at."""
    look = recipe.diagnostics
    every = look.every_steps or interval(look, recipe.batch_size, steps)
    return -(-recipe.epochs * steps // every) if look.images else 0


def _look(recipe: Recipe, work: Step, train: Index, compute: Amount, watch: Stopwatch) -> Amount:
    """The seconds of one look: forward passes, as a share of a step's `compute`, and the measures of what they give."""
    look, objective = recipe.diagnostics, work.objective
    images = min(look.images, len(held_out_source(train).files))
    bank = min(look.bank, len(train.files)) if train.labels is not None else 0
    if not images:
        return NOTHING
    piece = torch.randint(0, 256, (2, 3, recipe.view_size, recipe.view_size), dtype=torch.uint8)
    measuring = 0.0
    with undisturbed(objective, watch.device, recipe.compile):
        for z in _outputs(objective, piece, recipe, watch.device, work.memory_format).values():
            if watch.left > 0:
                z = torch.randn(images, z.shape[1])
                measuring += watch.once(partial(measures, z, (z, z), torch.arange(len(z)) % look.classes))
    share = (3 * images + bank) / (FORWARDS * recipe.batch_size)
    return Amount(*(share * one + measuring for one in compute))


def _outputs(
    objective: Objective, images: Tensor, recipe: Recipe, device: torch.device, layout: torch.memory_format | None
) -> dict[str, Tensor]:
    with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16(recipe.precision)):
        return objective.outputs(normalised(images.to(device), layout))


# ------------------------------------------------------------------------------------ reading


def draws(length: int, batch: int, seed: int) -> list[Any]:
    """Return the keys of the first images that a training reads, a batch or what there is."""
    return next(iter(DrawSampler(length, min(batch, length), seed)))


def reading(dataset: Dataset[Sample], keys: Sequence[Any], watch: Stopwatch) -> tuple[Amount, list[Sample]]:
    """Return the seconds in which this process reads an image, and the samples that were read meanwhile."""
    dataset[keys[0]]  # what is imported or opened with the first
    some: list[Sample] = []
    around = itertools.cycle(keys)

    def unit() -> None:
        some.extend(dataset[next(around)] for _ in range(READ_AT_ONCE))
        collate(some[-READ_AT_ONCE:])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a process that reads
    try:
        seconds = watch.samples(unit, READING * watch.left, most=64)
    finally:
        torch.set_num_threads(threads)
    return spread(seconds).times(1 / READ_AT_ONCE), some


def spread(samples: Sequence[float]) -> Amount:
    """Return the mean of many short samples with its own interval: the means of the first, second and last third.

    One image is slower to read than another, and that does not make a thousand of them uncertain.
    """
    count = len(samples)
    if count < 6:
        return Amount.of(samples)
    thirds = [samples[part * count // 3 : (part + 1) * count // 3] for part in range(3)]
    means = [sum(third) / len(third) for third in thirds]
    return Amount(min(means), sum(samples) / count, max(means))


def repeated(some: Sequence[Sample], count: int) -> Batch:
    """Return a batch of `count` images, of samples that may be fewer."""
    return collate(list(itertools.islice(itertools.cycle(some), count)))
