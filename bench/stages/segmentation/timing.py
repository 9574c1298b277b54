"""What fine-tuning and evaluating a segmentation model costs: reading, a training step and one image's evaluation."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from mmengine.dataset import pseudo_collate

from bench.config.tasks import SegmentationTask
from bench.convert.proof import load_proven
from bench.stages.costs import Amount, Costs, Phase, halves
from bench.stages.job import Job
from bench.stages.segmentation.evaluation import EvaluationLoop  # noqa: F401 - registers it
from bench.stages.segmentation.finetune import _runner
from bench.stages.segmentation.mmseg_config import adapt
from bench.stages.segmentation.runner import plain_model
from bench.stages.stopwatch import Stopwatch, clock
from bench.stages.timing import spread
from bench.train.distributed import ranks_of

EVALUATED = 3  # images that are timed


def segmentation(job: Job, watch: Stopwatch) -> Costs:
    """Time a fine-tuning by one process."""
    task, began = job.config, clock()
    assert isinstance(task, SegmentationTask)
    trunk = load_proven(job.inputs["convert"])
    with ExitStack() as stack:
        ranks = stack.enter_context(ranks_of())
        plan = adapt(task, trunk.arch, job.data_root(task.dataset), world=1, synchronise=False)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        runner: Any = _runner(job, task, plan, ranks, [])
        wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.optim_wrapper = wrapper
        wrapper.initialize_count_status(runner.model, 0, plan.iterations)
        training = runner._train_dataloader
        runner._hooks = []  # they look at a run that is under way
        evaluation = runner.val_loop  # builds the loader and the evaluator
        images = len(evaluation.dataloader.dataset)
        ready = clock() - began

        size, keys = plan.batch_size, iter(training.sampler)
        some = [training.dataset[next(keys)]]
        seconds = watch.samples(lambda: some.append(training.dataset[next(keys)]), watch.left / 6, most=24)
        load = spread(seconds).times(size)

        def unit(count: int) -> Callable[[], object]:
            batch = pseudo_collate(list(itertools.islice(itertools.cycle(some), count)))
            return lambda: runner.model.train_step(batch, optim_wrapper=wrapper)

        runner.model.train()
        sized = watch.growing(halves(size, 2), unit, watch.left / 2)

        runner.model.eval()
        samples = iter(evaluation.dataloader.dataset[i % images] for i in itertools.count())
        reading, computing, first = [], [], 0.0
        for number in range(EVALUATED + 1):
            before = clock()
            batch = pseudo_collate([next(samples)])
            read = clock() - before
            # The first one makes the copy that evaluates.
            taken = watch.once(partial(evaluation.run_iter, number, batch))
            if number:
                reading.append(read)
                computing.append(taken)
            else:
                first = taken
            if computing and watch.left < 2 * taken:
                break
            if not number and watch.left < taken:
                computing.append(taken)
                reading.append(read)
                break
        validations = -(-plan.iterations // plan.validate_every)
        copying = max(0.0, first - sum(computing) / len(computing))
        beside = ranks.device.type == "cpu"
        model = plain_model(runner.model)
        values = [*model.state_dict().values(), *(v for s in wrapper.optimizer.state.values() for v in s.values())]
        tensors = [value for value in values if hasattr(value, "element_size")]
        memory = {name: max(mib, sized.memory.get(name, 0.0)) for name, mib in watch.memory().items()}
        return Costs(
            start=Amount.of([ready + sized.warmup]),
            phases=(
                Phase(
                    name="steps",
                    count=plan.iterations,
                    load=load,
                    compute=sized.amount(),
                    workers=int(training.num_workers),
                    shared=beside,
                ),
                Phase(
                    name="validation",
                    count=validations * images,
                    load=Amount.of(reading),
                    compute=Amount.of(computing),
                    workers=int(evaluation.dataloader.num_workers),
                    shared=beside,
                ),
                Phase(name="copies for validation", count=validations, compute=Amount.of([copying])),
            ),
            memory_mib=memory,
            disk_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
            notes=sized.notes,
        )
