"""Whether a run's folder has room for its checkpoints, looked at before the first step."""

from __future__ import annotations

import math
from pathlib import Path

from torch import nn

from bench.config.recipe import Recipe, epoch_file
from bench.storage import check_free
from bench.train.checkpoint import LAST, before

AT_ONCE = 3  # the newest checkpoint, the one before, and the next one while it is written


def check_room(
    folder: Path, recipe: Recipe, objective: nn.Module, start: int, total: int, steps_per_epoch: int
) -> None:
    """Raise BadInput where the checkpoints that a run from step `start` on has to write are larger than what is free.

    Those are up to three whole ones at once and the epochs that are kept, without those that are there already.
    """
    assert recipe.optimizer is not None
    every = recipe.checkpoint.every_steps or steps_per_epoch
    saves = math.ceil(total / every) - start // every
    model = sum(tensor.nbytes for tensor in objective.state_dict().values())
    weights = sum(parameter.nbytes for parameter in objective.parameters() if parameter.requires_grad)
    whole = model + recipe.optimizer.kept_of_each_weight * weights
    kept = [
        folder / epoch_file(epoch) for epoch in range(recipe.epochs) if recipe.checkpoint.keeps(epoch, recipe.epochs)
    ]
    newest = folder / LAST
    there = sum(file.is_file() for file in (newest, before(newest)))
    more = max(0, min(AT_ONCE, there + saves) - there)
    what = f"{recipe.name} needs room for {more} whole checkpoints and {len(kept)} of epochs to keep, in all"
    check_free(folder, more * whole + len(kept) * model, what, "free space there or give another --work-dir")
