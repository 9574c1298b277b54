"""The training loop, in plain PyTorch.

Everything random is a function of (seed, step, rank) or (seed, draw), so a run that stops after any step and goes on
later equals one that never stopped, bit for bit on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.processes import micro_batch
from bench.config.recipe import Recipe
from bench.errors import Interrupted
from bench.progress import Progress
from bench.randomness import reseed
from bench.timing_gaps import note_gap
from bench.train.checkpoint import LAST
from bench.train.distributed import Ranks
from bench.train.feed import Source, iterating, to_device
from bench.train.health import Health
from bench.train.interventions import Interventions
from bench.train.metrics_log import MetricsLog
from bench.train.monitor import Diagnostics
from bench.train.readings import Line, Readings
from bench.train.room import check_room
from bench.train.schedule import learning_rate, peak_rate
from bench.train.signals import StopRequest
from bench.train.state import State, identity
from bench.train.step import Step

if TYPE_CHECKING:
    from bench.data.held_out import HeldOut
    from bench.objectives.base import Objective


def fit(
    objective: Objective,
    source: Source,
    recipe: Recipe,
    *,
    seed: int,
    steps_per_epoch: int,
    folder: Path,
    ranks: Ranks | None = None,
    title: str = "pretrain",
    held_out: Callable[[], HeldOut] | None = None,
    again: bool = False,
) -> dict[str, Any]:
    """Train an objective by its recipe, from `last.ckpt` in `folder` if there is one, and return its metrics.

    `source(step)` yields micro-batches of batch_size / (processes × accumulate) images from an optimizer step on. The
    objective's `forward(batch)` returns {"loss": scalar, and its terms}; `after_step(k / K)` is called after optimizer
    step k (0-based) of K. `held_out()` reads the images that diagnostics are of; without it there are none. `again`
    says that this process has trained in this folder before. Where the recipe lets a training go back by itself,
    `source` is of `Interventions.recipe`.

    Returns {"steps", "epochs", "images_skipped", "loss" and the terms}, means over the last log interval, and
    "interventions" where the training went back by itself.

    Raises BadInput for a batch that does not divide evenly, a checkpoint of another run and a disk without room for
    checkpoints, Diverged (a StageFailed) when the loss or a weight is not finite, weights have exploded or the encoder
    has collapsed, and where `diagnostics.guard` ends the run, StageFailed where memory runs out, Interrupted after a
    signal, and Again where the training went back and is to be begun anew.
    """
    ranks = ranks or Ranks()
    assert recipe.optimizer is not None
    run = identity(recipe, seed, steps_per_epoch)
    acts = Interventions(folder, recipe, ranks)
    recipe = acts.recipe
    assert recipe.optimizer is not None
    micro_batch(recipe.batch_size, ranks.world, recipe.accumulate)
    total = recipe.epochs * steps_per_epoch
    work = Step(objective, recipe, ranks)
    peak = peak_rate(recipe.optimizer, recipe.batch_size)
    rate = learning_rate(recipe.schedule, peak, total, steps_per_epoch)
    health = Health(objective, recipe, ranks, total, recipe.checkpoint.every_steps or steps_per_epoch)
    state = State(folder, run, objective, work.optimizer, ranks, recipe.checkpoint.background, acts.plain)
    start, meter = state.resume(), state.meter
    watch = Diagnostics(objective, recipe, ranks, total, steps_per_epoch, held_out)
    placed = partial(to_device, device=ranks.device, memory_format=work.memory_format)
    shown: dict[str, str | float] = {}
    if start and not again:
        note_gap(f"{start} of {total} steps")
    if start and ranks.first:
        print(f"{title}: going on after step {start} of {total}, with the weights of {LAST}", flush=True)
    if start == total:
        acts.end()
        return _metrics(state, recipe)
    check_room(folder, recipe, objective, start, total, steps_per_epoch)

    def scheduled(done: int) -> bool:
        return _keeps(recipe, done, steps_per_epoch) or _saves(recipe, done, total, steps_per_epoch)

    acts.start(state)
    with (
        StopRequest() as stop,
        acts.acting(state, stop, scheduled, bool(getattr(objective, "mean_over_images", False))),
        state,
        MetricsLog(folder, start, active=ranks.first) as log,
        Readings(log, meter, ranks.world) as readings,
        iterating(partial(source, start)) as batches,
        Progress(title, total, "steps", done=start) if ranks.first else nullcontext() as progress,
    ):
        stop.announce = progress.say_stopping if progress is not None else None
        watch.resume(folder, start)
        for step in range(start, total):
            reseed(seed, "step", step, ranks.rank)
            skipped = 0
            for _ in range(recipe.accumulate):
                batch = meter.next_of(batches)
                skipped += batch.skipped
                batch = placed(batch)
                if health.due(step + 1):
                    health.see(batch)
                meter.add(work.backward(batch))
            work.update(rate(step), step / total, acts.lr_factor(step))

            state.step = done = step + 1
            epoch = step // steps_per_epoch
            # All ranks stop after the same step, and read at the same one: a loss that is lost ends them together.
            asked, skipped, due = ranks.sums(int(stop.asked), skipped, int(readings.every.due()))
            state.skipped += skipped
            seen = watch.look(done)
            keep = epoch if _keeps(recipe, done, steps_per_epoch) else None
            saves = asked or scheduled(done)
            if done % recipe.log_every == 0 or done == total:
                readings.add(Line(done, epoch, meter.means(ranks), {"lr": rate(step) * acts.lr_factor(step), **seen}))
                meter.clear()
            elif seen:
                readings.add(Line(done, epoch, None, seen))
            if saves or (due and done % recipe.log_every == 0):
                means, speed = readings.read(state.last_good)
                if means:
                    state.logged, shown = means, _shown(means["loss"], speed, state.skipped)
            if progress is not None:
                progress.update(1, **shown)
            watch.judge()  # before the last checkpoint, or the run would count as finished
            if saves:
                if scheduled(done):  # the same steps whenever a signal comes
                    health.judge(done, state.logged, state.last_good)
                acts.before_saving(state, scheduled)
                state.save(keep, leaving=bool(asked) or done == total)
            if asked and done < total:  # the file is whole on all ranks' way out
                raise Interrupted(f"Stopped after step {done} of {total}; {LAST} holds it.")
    acts.end()
    return _metrics(state, recipe)


def _metrics(state: State, recipe: Recipe) -> dict[str, Any]:
    metrics = {"steps": state.step, "epochs": recipe.epochs, "images_skipped": state.skipped, **state.logged}
    return metrics | ({"interventions": state.interventions} if state.interventions else {})


def _keeps(recipe: Recipe, done: int, steps_per_epoch: int) -> bool:
    """Whether `done` steps end an epoch whose checkpoint is kept for ever."""
    epochs, within = divmod(done, steps_per_epoch)
    return within == 0 and recipe.checkpoint.keeps(epochs - 1, recipe.epochs)


def _saves(recipe: Recipe, done: int, total: int, steps_per_epoch: int) -> bool:
    """Whether a checkpoint is due after `done` steps."""
    return done % (recipe.checkpoint.every_steps or steps_per_epoch) == 0 or done == total


def _shown(loss: float, speed: dict[str, float], skipped: int) -> dict[str, str | float]:
    waiting = f"{speed['data_wait_share']:.0%}"
    shown: dict[str, str | float] = {"loss": loss, "images/s": speed["images_per_second"], "waiting for data": waiting}
    return shown | ({"skipped images": skipped} if skipped else {})
