"""What measuring a pretraining's outputs costs: reading, forward passes, and the measures, timed apart."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.config.tasks import DiagnosticsTask
from bench.data.images import EvalDataset, ViewDataset, in_order
from bench.data.sets import index
from bench.data.views import SIMCLR_VIEWS, normalised
from bench.nn.representation import spectrum
from bench.stages.costs import Amount, Costs, Phase, halves
from bench.stages.diagnostics import SEED
from bench.stages.features import subset, workers_of
from bench.stages.job import Job
from bench.stages.pretrain import start
from bench.stages.stopwatch import Stopwatch, clock
from bench.stages.timing import reading, repeated
from bench.train.distributed import ranks_of
from bench.train.monitor import measures
from bench.train.precision import is_bf16


def diagnostics(job: Job, watch: Stopwatch) -> Costs:
    """Time what measures a pretraining's outputs; its objective has weights from the seed."""
    task, recipe, began = job.config, job.recipe, clock()
    assert isinstance(task, DiagnosticsTask)
    assert recipe is not None
    with ranks_of() as ranks:
        device = ranks.device
        images = subset(index(task.dataset, job.data_root(task.dataset), "val"), task.images, SEED)
        some = subset(images, task.pairs, SEED)
        objective, _ = start(recipe, job.pretraining_seed, None, 1000, 100_000)
        objective.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        ready = clock() - began
        pack = job.pack(task.dataset, "val", "evaluation")
        centre = EvalDataset(images, task.size, task.resize, job.unreadable, pack=pack)
        pair = ViewDataset(some, SIMCLR_VIEWS(task.size, 0.5), SEED, job.unreadable)
        one, some_images = reading(centre, in_order(len(images.files), task.batch_size)[0], watch)
        two, _ = reading(pair, [(i, i) for i in range(min(len(some.files), task.batch_size))], watch)
        outputs: dict[str, Tensor] = {}

        def unit(count: int) -> Any:
            pixels = repeated(some_images, count).views[0]

            @torch.no_grad()
            def forward() -> None:
                with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16(task.precision)):
                    outputs.update(objective.outputs(normalised(pixels.to(device), torch.channels_last)))

            return forward

        sized = watch.growing(halves(task.batch_size, 16), unit, watch.left / 2)
        measuring = _measuring(outputs, len(images.files), len(some.files), task, watch)
        workers = workers_of(task, device, len(images.files))
        phases = []
        for name, load, length, views in (("images", one, images, 1), ("pairs", two, some, 2)):
            share = len(length.files) / task.batch_size
            count = max(1, round(share))
            phases.append(
                Phase(
                    name=name,
                    count=count,
                    load=load.times(task.batch_size * share / count),
                    compute=sized.amount().times(views * share / count),
                    workers=workers,
                    shared=device.type == "cpu",
                )
            )
        phases.append(Phase(name="measures", count=1, compute=measuring))
        start_of = Amount.of([ready + sized.warmup])
        return Costs(start=start_of, phases=tuple(phases), memory_mib=sized.memory, notes=sized.notes)


def _measuring(outputs: dict[str, Tensor], images: int, pairs: int, task: DiagnosticsTask, watch: Stopwatch) -> Amount:
    """The seconds of all measures of so many outputs: pairs of images are compared, so that time grows as N²."""
    seconds = 0.0
    for z in outputs.values():
        count = min(images, 2048)
        few = torch.randn(count, z.shape[1])
        half = few[: min(count, pairs)]
        labels = torch.arange(count) % 100
        unit = partial(measures, few, (half, half), labels, k=min(task.neighbours, count - 1))
        seconds += watch.once(unit) * (images / count) ** 2 + watch.once(partial(spectrum, few)) * images / count
    return Amount.of([seconds])
