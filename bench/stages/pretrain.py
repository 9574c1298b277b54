"""Pretrain: an encoder and an objective from a recipe, trained from random or given weights.

Writes `last.ckpt` (the whole training state), `epoch_….ckpt` (kept epochs), `metrics.jsonl` and `tensorboard/`. With 0
epochs nothing is trained, and only `last.ckpt` is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.config.processes import micro_batch
from bench.config.recipe import Recipe
from bench.convert.checkpoint_file import read_checkpoint
from bench.convert.dialects import load_trunk
from bench.convert.matching import match_shapes
from bench.convert.proof import load_strictly
from bench.data.clips import ClipDataset
from bench.data.held_out import held_out
from bench.data.images import ViewDataset, loader
from bench.data.sampler import DrawSampler, steps_per_epoch
from bench.data.sets import Index, get, pretraining_index
from bench.data.views import Batch, View, small_views
from bench.data.views.resident import Resident
from bench.errors import BadInput
from bench.machine import loader_workers
from bench.nn.ema import copy_of_encoder
from bench.nn.encoder import build_encoder
from bench.objectives import build
from bench.objectives.base import Objective
from bench.randomness import reseed
from bench.stages.job import Job
from bench.stages.norm_statistics import measure_norms
from bench.train.checkpoint import LAST, epoch_file, is_ours, write
from bench.train.distributed import Ranks, ranks_of
from bench.train.feed import Parts
from bench.train.interventions import Interventions, until_done
from bench.train.loop import fit
from bench.train.state import identity


def run(job: Job) -> dict[str, Any]:
    """Pretrain one recipe with one seed.

    Returns {"steps", "epochs", "loss" and its terms, "images_skipped", "init": which modules were loaded and which are
    fresh}, "norm_images" where norms were measured on so many, and "interventions" where it went back by itself. Raises
    BadInput, StageFailed or Interrupted, as `fit` does.
    """
    recipe = job.config
    assert isinstance(recipe, Recipe)
    with ranks_of() as ranks:
        images = None
        if recipe.dataset != "none":
            images = pretraining_index(recipe.dataset, job.data_root(recipe.dataset))
        return until_done(partial(_attempt, job, images, ranks))


def _attempt(job: Job, images: Index | None, ranks: Ranks, again: bool) -> dict[str, Any]:
    """Build the objective and train it, from the last checkpoint if there is one; `again` in the same process."""
    assert isinstance(job.config, Recipe)
    recipe = Interventions(job.folder, job.config, ranks).recipe
    objective, report = start(
        recipe,
        job.seed,
        starting_file(job),
        num_classes=len(images.classes) if images else 0,
        num_images=len(images.files) if images else 0,
    )
    objective.check(recipe.batch_size // recipe.accumulate, recipe.view_size)
    views_of(objective, recipe)  # refuses what does not fit
    if ranks.first and (images is None or not (job.folder / LAST).is_file()):
        print(_words(recipe, report), flush=True)
    if recipe.epochs == 0:
        measured: dict[str, Any] = {}
        if ranks.first:
            if images is not None:
                measured = measure_norms(objective.encoder, recipe, job, images, ranks)
            content = {"run": identity(recipe, job.seed, 0), "step": 0, "objective": objective.state_dict()}
            write(job.folder / LAST, content)
        return {"steps": 0, "epochs": 0, **measured, "init": report}
    assert images is not None
    if ranks.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # the shapes never change
    return _train(objective, recipe, job, images, ranks, again) | {"init": report}


def starting_file(job: Job) -> Path | None:
    """Return the checkpoint that a recipe's `init` means, or None; BadInput when the parent did not keep it."""
    recipe = job.config
    assert isinstance(recipe, Recipe)
    if recipe.init is None:
        return None
    if recipe.init.checkpoint is not None:
        return recipe.initial_checkpoint
    assert recipe.init.epoch is not None
    file = job.inputs["init"] / epoch_file(recipe.init.epoch)
    if not file.is_file():
        raise BadInput(
            f"{file} is missing; remove that folder and run the same again: {recipe.init.recipe} is then trained anew, "
            "and keeps that checkpoint."
        )
    return file


def start(
    recipe: Recipe, seed: int, checkpoint: Path | None, num_classes: int = 0, num_images: int = 0
) -> tuple[Objective, dict[str, Any]]:
    """Build the objective with weights from the seed, then from a checkpoint, and report what came from where.

    The encoder is loaded strictly, and before the objective is built, so that a target network starts as its copy. Each
    other module of the objective is loaded whole if the checkpoint has it whole, else left fresh.

    Raises BadInput for a checkpoint of another architecture or prefix, saying how many tensors of how many matched.
    """
    encoder = build_encoder(recipe.arch, seed, recipe.stem, recipe.zero_init_residual)
    if checkpoint is not None:
        trunk = load_strictly(
            encoder, load_trunk(checkpoint, recipe.arch, recipe.stem), f"the {recipe.arch} of {recipe.name}"
        )
    reseed(seed, "objective")
    objective = build(recipe.objective, encoder, num_classes, num_images)
    exported(objective, recipe)  # refuses, before anything is trained, what could not be exported
    if checkpoint is None:
        return objective, {"from": "the seed"}
    content = read_checkpoint(checkpoint)
    loaded, fresh = load_modules(objective, content["objective"] if is_ours(content) else {})
    report = {"from": checkpoint.name, "tensors": f"{trunk.matched} of {trunk.of}"}
    return objective, report | {"loaded": ["encoder", *loaded], "fresh": fresh}


def exported(objective: Objective, recipe: Recipe) -> str:
    """Return the name of the objective's network that the recipe evaluates: `encoder`, or that of the copy of it.

    Raises BadInput where the recipe asks for a copy, and there is none.
    """
    if recipe.export == "online":
        return "encoder"
    return copy_of_encoder((name for name, _ in objective.named_children()), recipe.name)


def load_modules(objective: Objective, state: dict[str, Tensor]) -> tuple[list[str], list[str]]:
    """Load each child of the objective but the encoder from `state`, whole or not at all; return (loaded, fresh)."""
    current = objective.state_dict()
    loaded, fresh = [], []
    for child in dict.fromkeys(name.partition(".")[0] for name in current):
        if child == "encoder":
            continue
        wanted = {name: tuple(tensor.shape) for name, tensor in current.items() if name.partition(".")[0] == child}
        given = {name: tensor for name, tensor in state.items() if name.partition(".")[0] == child}
        if match_shapes(wanted, given).complete:
            objective.load_state_dict(given, strict=False)
            loaded.append(child)
        else:
            fresh.append(child)
    return loaded, fresh


def _words(recipe: Recipe, report: dict[str, Any]) -> str:
    if "tensors" not in report:
        return f"{recipe.name}: weights from the seed"
    fresh = f"; fresh: {', '.join(report['fresh'])}" if report["fresh"] else ""
    source = f"{report['from']} ({report['tensors']} tensors of the encoder matched)"
    return f"{recipe.name}: weights from {source}; loaded: {', '.join(report['loaded'])}{fresh}"


def workers_of(objective: Objective, recipe: Recipe, steps: int, ranks: Ranks) -> int:
    """Return how many processes read images for this one; `steps` are those of an epoch."""
    views = views_of(objective, recipe)
    return loader_workers(
        recipe.workers,
        device=ranks.device.type,
        images=recipe.epochs * steps * recipe.batch_size,
        batch_bytes=recipe.batch_size // ranks.world // recipe.accumulate * sum(v.count * 3 * v.size**2 for v in views),
        processes=ranks.local_world,
    )


def _train(objective: Objective, recipe: Recipe, job: Job, images: Index, ranks: Ranks, again: bool) -> dict[str, Any]:
    """Train by the recipe that is in force; `fit` is given the planned one, and finds the same."""
    assert isinstance(job.config, Recipe)
    micro_batch(recipe.batch_size, ranks.world, recipe.accumulate)
    dataset = _dataset(objective, recipe, job, images, ranks)
    length = len(dataset)
    steps = steps_per_epoch(length, recipe.batch_size)
    workers = workers_of(objective, recipe, steps, ranks)

    def source(step: int) -> Iterable[Batch]:
        batches = DrawSampler(
            length, recipe.batch_size // ranks.world, job.seed, start_step=step, rank=ranks.rank, world=ranks.world
        )
        if isinstance(dataset, Resident):
            return dataset.batches(batches, recipe.accumulate)
        return loader(dataset, Parts(batches, recipe.accumulate), workers, pin=ranks.device.type == "cuda")

    look = recipe.diagnostics
    return fit(
        objective,
        source,
        job.config,
        seed=job.seed,
        steps_per_epoch=steps,
        folder=job.folder,
        ranks=ranks,
        title=f"{recipe.name}-s{job.seed}",
        held_out=partial(held_out, images, recipe.view_size, look.images, look.classes, look.bank),
        again=again,
    )


def views_of(objective: Objective, recipe: Recipe) -> tuple[View, ...]:
    """Return the views of a recipe: the objective's, or `small` ones instead; BadInput where these cannot stand in."""
    views = objective.views(recipe.view_size)
    if recipe.augmentation == "small":
        return small_views(views, recipe.view_size, recipe.objective["name"])
    return views


def _dataset(
    objective: Objective, recipe: Recipe, job: Job, images: Index, ranks: Ranks
) -> ViewDataset | ClipDataset | Resident:
    views, clip = views_of(objective, recipe), objective.video()
    is_video = get(recipe.dataset).video
    if clip is not None and not is_video:
        raise BadInput(
            f"The objective {recipe.objective['name']} learns from videos, but dataset is {recipe.dataset!r}; set "
            "dataset='clips' (bench show names a config that does)."
        )
    if recipe.view_backend == "resident":
        if is_video or objective.map is not None:
            what = "clips" if is_video else f"maps of {objective.map}"
            raise BadInput(
                f"view_backend 'resident' makes views of images alone, and {what} are read by the loader's workers; "
                "set view_backend='fast'."
            )
        sharing = 1 if ranks.device.type == "cuda" else ranks.local_world
        return Resident(images, views, job.seed, ranks.device, recipe.subset, recipe.compile, sharing)
    if is_video:
        return ClipDataset(
            images, views, job.seed, clip, job.unreadable, subset=recipe.subset, backend=recipe.view_backend
        )
    return ViewDataset(
        images,
        views,
        job.seed,
        unreadable=job.unreadable,
        subset=recipe.subset,
        pack=job.pack(recipe.dataset, "train", "training"),
        backend=recipe.view_backend,
        map=objective.map,
    )
