"""What a training does by itself, if its recipe says so, where it could not go on: it goes back to the last good
checkpoint, and from there on at a lower rate (`on_divergence`) or in smaller micro-batches (`on_out_of_memory`).

Each is an entry of `interventions.json` in the run's folder, written after `last.ckpt` holds what the training goes
back to. A process that is killed between the two finds the same divergence again. The rate at a step is a function of
the entries and that step, so that an interrupted run equals one that was not.

After a divergence a run goes back to a checkpoint that is scheduled by the number of steps, never to one that a signal
asked for: else the result would depend on where it was interrupted.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from bench.config.recipe import Recipe
from bench.errors import BadInput, Interrupted, PeerLost, StageFailed, ran_out_of_memory
from bench.files import checked, replacing, second_name, with_checksum
from bench.made import Intervention
from bench.train.checkpoint import LAST, put_back, read
from bench.train.distributed import Ranks
from bench.train.divergence import Diverged
from bench.train.memory import halved, memory_words
from bench.train.signals import StopRequest
from bench.train.state import State

FILE = "interventions.json"
SCHEDULED = (
    "scheduled.ckpt"  # the newest checkpoint that was scheduled, where `last.ckpt` is one that a signal asked for
)
NOTE = "out_of_memory.{rank}"  # that memory ran out on one of several processes

Result = TypeVar("Result")


class Again(Exception):
    """The training has gone back, and is to be begun anew from its folder."""


def until_done(attempt: Callable[[bool], Result]) -> Result:
    """Return what `attempt` does, which is called anew as long as it raises Again; the argument says whether it was.

    The memory of the attempt before is free then.
    """
    again = False
    while True:
        try:
            return attempt(again)
        except Again:
            again = True
        gc.collect()  # outside of the block: the exception holds the frames of the attempt
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class Interventions:
    """Those of a run, and the recipe that is in force with them. All ranks make it, and before a checkpoint is read.

    `recipe` is the one in force. Raises BadInput for a file that is damaged, and StageFailed where memory ran out on
    one of several processes and their micro-batches cannot be halved.
    """

    def __init__(self, folder: Path, recipe: Recipe, ranks: Ranks) -> None:
        self.folder, self.planned, self.ranks = folder, recipe, ranks
        self.active = recipe.on_divergence != "stop" or recipe.on_out_of_memory != "stop"
        self.done: tuple[Intervention, ...] = self._read() if self.active else ()
        self.recipe = self._in_force()
        if self.active and ranks.world > 1:
            self._heed_notes()

    @property
    def plain(self) -> list[dict[str, Any]]:
        """Those of the run as a checkpoint, `done.json` and a record have them."""
        return [each.model_dump(exclude_none=True) for each in self.done]

    def lr_factor(self, step: int) -> float:
        """Return what the learning rate of the recipe is multiplied by at a step (0-based)."""
        return next((each.lr_factor for each in reversed(self.done) if each.lr_factor and each.after <= step), 1.0)

    def start(self, state: State) -> None:
        """Keep the state before the first step, so that there is one to go back to."""
        if self.active and not (self.folder / LAST).is_file():
            state.save(leaving=True)

    def before_saving(self, state: State, scheduled: Callable[[int], bool]) -> None:
        """Keep the checkpoint that was scheduled last, where one that a signal asked for is about to take its place."""
        if not self.active:
            return
        state.finish_writing()
        if self.ranks.first and scheduled(state.saved):
            if scheduled(state.step):
                (self.folder / SCHEDULED).unlink(missing_ok=True)
            else:
                second_name(self.folder / LAST, self.folder / SCHEDULED)

    def end(self) -> None:
        """Remove what the run could have gone back to."""
        if self.active and self.ranks.first:
            (self.folder / SCHEDULED).unlink(missing_ok=True)

    @contextmanager
    def acting(
        self, state: State, stop: StopRequest, scheduled: Callable[[int], bool], mean_over_images: bool
    ) -> Iterator[None]:
        """Turn a divergence, or memory that ran out, into Again where the recipe says so and it may help.

        Raises Diverged as it came, StageFailed that says what to try against a lack of memory, and Interrupted where a
        signal asked for the end meanwhile.
        """
        try:
            yield
            return
        except Diverged as error:
            act = self._lower_lr(error, state, scheduled)
        except (MemoryError, RuntimeError) as error:
            if not ran_out_of_memory(error):
                raise
            act = self._halve(error, state, mean_over_images)
        if self.ranks.first:
            print(f"{self.planned.name}: {act.words}; going back to the checkpoint of step {act.after}", flush=True)
        if self.ranks.sums(int(stop.asked))[0]:
            raise Interrupted(f"Stopped; {LAST} holds step {act.after}.")
        raise Again

    def _lower_lr(self, error: Diverged, state: State, scheduled: Callable[[int], bool]) -> Intervention:
        before = [each for each in self.done if each.action == "lower_lr"]
        if self.planned.on_divergence != "lower_lr":
            raise error
        if len(before) == self.planned.lower_lr_times:
            times = f"{len(before)} time{'s' if len(before) > 1 else ''}"
            raise StageFailed(f"{error} The rate was lowered {times} already (lower_lr_times).") from error
        after = self._go_back(state, scheduled)
        factor = self.planned.lower_lr_factor ** (len(before) + 1)
        act = Intervention(action="lower_lr", why=error.why, after=after, lr_factor=factor)
        if self.ranks.first:
            print(str(error), flush=True)
        self._add(act)
        return act

    def _halve(self, error: BaseException, state: State, mean_over_images: bool) -> Intervention:
        said = f"{memory_words(error, self.recipe, self.ranks.world, mean_over_images)} After step {state.step}; "
        said += f"{state.last_good}."
        smaller = halved(self.recipe, self.ranks.world)
        if self.planned.on_out_of_memory != "halve":
            raise StageFailed(said) from error
        if smaller is None:
            raise StageFailed(f"{said} Its micro-batches cannot be halved again.") from error
        if self.ranks.world > 1:
            # The others wait for this process in the middle of a step: all end, and the next start, which a launcher
            # of ours makes by itself, halves on all.
            (self.folder / NOTE.format(rank=self.ranks.rank)).write_text(f"{state.saved}\n", encoding="ascii")
            raise PeerLost(f"{said} Started again, it goes on with accumulate={smaller.accumulate}.") from error
        return self._halved_to(smaller, state.saved)

    def _halved_to(self, smaller: Recipe, after: int) -> Intervention:
        act = Intervention(action="halve", why="out of memory", after=after, accumulate=smaller.accumulate)
        self._add(act)
        return act

    def _heed_notes(self) -> None:
        """Halve the micro-batches on all processes where one of them noted that its memory ran out."""
        notes = sorted(self.folder.glob(NOTE.format(rank="*")))
        steps = [int(note.read_text(encoding="ascii") or 0) for note in notes]
        noted = self.ranks.sums(len(notes))[0]
        after = self.ranks.most(max(steps, default=0))
        if not noted:
            return
        smaller = halved(self.recipe, self.ranks.world)
        if smaller is not None:
            self._halved_to(smaller, after)
            self.recipe = smaller
        for note in notes:
            note.unlink(missing_ok=True)
        if smaller is None:
            raise StageFailed("Memory ran out, and micro-batches cannot be halved again; set batch_size lower.")

    def _go_back(self, state: State, scheduled: Callable[[int], bool]) -> int:
        """Let `last.ckpt` be the newest checkpoint that was scheduled; return its step."""
        kept = self.folder / SCHEDULED
        if scheduled(state.saved) or not kept.is_file():
            return state.saved
        after = int(read(kept)["step"])
        self.ranks.sums(0)  # returns when all have read it
        if self.ranks.first:
            put_back(self.folder / LAST, kept)
        return after

    def _add(self, act: Intervention) -> None:
        self.done = (*self.done, act)
        if self.ranks.first:
            content = {"interventions": self.plain}
            with replacing(self.folder / FILE, durable=True) as partial:
                partial.write_text(with_checksum(content), encoding="utf-8")
        self.ranks.sums(0)  # returns when the file is there

    def _read(self) -> tuple[Intervention, ...]:
        file = self.folder / FILE
        try:
            if (self.folder / LAST).is_file():
                text = file.read_text(encoding="utf-8") if file.is_file() else '{"interventions": []}'
                return tuple(map(Intervention.model_validate, checked(text)["interventions"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadInput(
                f"{file} is damaged, so that the run cannot go on at the rate that it had; remove {self.folder / LAST} "
                "to start it anew."
            ) from error
        if self.ranks.first:  # of a run that was given up
            for old in (file, *self.folder.glob(NOTE.format(rank="*"))):
                old.unlink(missing_ok=True)
        return ()

    def _in_force(self) -> Recipe:
        parts = [each.accumulate for each in self.done if each.accumulate]
        return self.planned.model_copy(update={"accumulate": parts[-1]}) if parts else self.planned
