"""All that a run is after an optimizer step: kept in `last.ckpt`, and taken up again from there bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.config.recipe import Recipe
from bench.errors import BadInput, StageFailed, one_line, shortened
from bench.train.background import Saving, unwritten
from bench.train.checkpoint import LAST, assert_finite, epoch_file, put_back, read, read_newest
from bench.train.distributed import Ranks
from bench.train.divergence import Diverged
from bench.train.meter import Meter


def identity(recipe: Recipe, seed: int, steps_per_epoch: int) -> dict[str, Any]:
    """Return what a checkpoint says of the run that it belongs to."""
    return {
        "recipe": recipe.name,
        "arch": recipe.arch,
        **({} if recipe.stem == "imagenet" else {"stem": recipe.stem}),  # as before there were others
        "objective": str(recipe.objective["name"]).rpartition("/")[2],  # of one that is a file, not where it lies
        "seed": seed,
        "epochs": recipe.epochs,
        "steps_per_epoch": steps_per_epoch,
        "batch_size": recipe.batch_size,
        "accumulate": recipe.accumulate,
    }


class State(Saving):
    """A run's weights (`objective` is the module without DDP), optimizer and counts, and where they are kept.

    With `background`, checkpoints are written while training goes on. `interventions` are what the training did by
    itself so far (bench/train/interventions.py).
    """

    def __init__(
        self,
        folder: Path,
        run: Mapping[str, Any],
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        ranks: Ranks,
        background: bool = False,
        interventions: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(ranks)
        self.folder, self.run = folder, dict(run)
        self.objective, self.optimizer = objective, optimizer
        self.meter = Meter()
        self.interventions = [dict(each) for each in interventions]
        self.step = 0  # optimizer steps done
        self.saved = 0  # those that `last.ckpt` holds
        self.skipped = 0  # unreadable images that were replaced by others
        self.logged: dict[str, float] = {}  # the loss terms of the last log step
        # What stays if the run ends now: true once nothing is being written, which every way out waits for.
        self.last_good = self._before = "there is no checkpoint yet"
        self._background = background

    def resume(self) -> int:
        """Take up `last.ckpt` if there is one, or the one before if it is damaged; return the number of steps done.

        All ranks call it. Raises BadInput when both are damaged, or it belongs to another run.
        """
        file = self.folder / LAST
        if not file.is_file():
            return 0
        remedy = f"remove {file} to start this run anew"
        try:
            content, used = read_newest(file, read, say=self.ranks.first)
        except BadInput as error:
            words, _, known = str(error).partition(";")
            raise BadInput(f"{words.rstrip('.')}; {known.strip() if 'both' in known else remedy + '.'}") from error
        if lacking := _lacking(content):
            raise BadInput(f"{file} holds no whole state of a run ({lacking}); {remedy}.")
        for key, value in self.run.items():
            if content["run"].get(key) != value:
                found = content["run"].get(key)
                words = str(found) if len(str(found)) < 200 else shortened(found)
                raise BadInput(f"{file} is of a run with {key} {words}, not {value}; {remedy}.")
        kept = content.get("interventions", [])
        if self.interventions[: len(kept)] != kept:
            raise BadInput(
                f"{file} was trained with interventions that {self.folder / 'interventions.json'} does not have; put "
                f"that file back, or {remedy}."
            )
        try:
            self.objective.load_state_dict(content["objective"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.meter.load(content["meter"], self.ranks.device)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:  # of torch's own reading
            raise BadInput(f"{file} does not fit this run ({one_line(error, kind=True)}); {remedy}.") from error
        self.step, self.skipped, self.logged = content["step"], content["skipped"], content["logged"]
        self.saved = self.step
        self.last_good = self._before = f"{LAST} of step {self.step} stays"
        self.ranks.sums(0)  # returns when all ranks have read
        if self.ranks.first:
            put_back(file, used)
        return self.step

    def save(self, keep_epoch: int | None = None, *, leaving: bool = False) -> None:
        """Write `last.ckpt`, after `epoch_….ckpt` if this is the end of an epoch to keep. All ranks call it.

        What goes wrong in the background is raised by the next save, by `finish_writing`, or when the `with` block
        ends. When the run is `leaving`, it is written in the foreground.

        Raises Diverged on all ranks, and writes nothing, when the loss or a tensor is not finite; StageFailed when an
        earlier checkpoint could not be written.
        """
        self.finish_writing()
        self.meter.means(self.ranks).read(self.step, self.last_good)
        self._assert_finite()
        background = self._background and not leaving
        if self.ranks.first:
            content = {"run": self.run, "step": self.step, "objective": self.objective.state_dict()}
            content |= {"interventions": self.interventions} if self.interventions else {}
            files = {}
            if keep_epoch is not None:  # first, so that last.ckpt of this epoch means that this file is there, too
                files[self.folder / epoch_file(keep_epoch)] = content | {"epoch": keep_epoch}
            rest = {"optimizer": self.optimizer.state_dict(), "meter": self.meter.state()}
            files[self.folder / LAST] = content | rest | {"skipped": self.skipped, "logged": self.logged}
            self.writer.start(files, background=background)
        self.saved = self.step
        self._before, self.last_good = self.last_good, f"{LAST} of step {self.step} stays"
        if not background:
            self.finish_writing()

    def _assert_finite(self) -> None:
        """Do it on all ranks, whose buffers may differ, so that all end where one has to."""
        failure: Diverged | None = None
        try:
            assert_finite(self.objective, self.optimizer, self.step, self.last_good)
        except Diverged as error:
            failure = error
        if self.ranks.sums(int(failure is not None))[0]:
            raise failure or Diverged("Another process held nan or inf; its message says where.")

    def explain(self, error: StageFailed) -> str:
        """Return the error, and which checkpoint stays: the one before."""
        self.last_good = self._before
        return unwritten(error, self.folder, f"; {self.last_good}.")


# What `last.ckpt` holds, besides the objective's tensors.
_KINDS = {"run": dict, "step": int, "optimizer": dict, "meter": dict, "skipped": int, "logged": dict}


def _lacking(content: Mapping[str, Any]) -> str:
    """What a state lacks, or has in another form; "" where it is whole."""
    for key, kind in _KINDS.items():
        if key not in content:
            return f"it lacks {key}"
        if not isinstance(content[key], kind):
            return f"its {key} is of the type {type(content[key]).__name__}"
    return "" if min(content["step"], content["skipped"]) >= 0 else "it counts fewer than 0 steps or images"
