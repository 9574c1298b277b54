"""What a pretraining's representation looks like while it trains, on a few held-out images; and whether it collapsed.

Observation only: whatever is looked at, the run's weights are bit for bit those of a run that nobody watched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.config.recipe import DiagnosticsSettings, Recipe
from bench.data.held_out import HeldOut
from bench.data.views import normalised
from bench.errors import one_line
from bench.losses.uniformity import alignment
from bench.nn.representation import (
    centred,
    deviation,
    effective_rank,
    knn_percent,
    log_uniformity,
    rankme,
    singular_values,
    tolerance,
)
from bench.train.distributed import Ranks
from bench.train.divergence import Diverged
from bench.train.metrics_log import read_metrics
from bench.train.precision import is_bf16

if TYPE_CHECKING:
    from bench.objectives.base import Objective

AT_ONCE = 64  # images
SHARE = 0.01  # of the training's computing that looking may cost, where `every_steps` is left out
FORWARDS = 6  # what a training step computes for an image, at least: two views, forwards and (twice as much) backwards
ROW = "diagnostics/collapsed_checks"  # how many checks in a row saw a collapse


class Diagnostics:
    """Looks at an objective's outputs every so many steps, and tells when they have collapsed.

    `held_out()` reads the images when they are first looked at, on the first rank alone, while the others wait at their
    next step. Without it nothing is looked at.
    """

    def __init__(
        self,
        objective: Objective,
        recipe: Recipe,
        ranks: Ranks,
        total: int,
        steps_per_epoch: int,
        held_out: Callable[[], HeldOut] | None = None,
    ) -> None:
        self.objective, self.recipe, self.ranks, self.total = objective, recipe, ranks, total
        self.settings: DiagnosticsSettings = recipe.diagnostics
        self.every = self.settings.every_steps or interval(self.settings, recipe.batch_size, steps_per_epoch)
        self._load = held_out if self.settings.images else None
        self._images: HeldOut | None = None
        self._row = 0
        self._verdict = ""
        self._due = False

    def resume(self, folder: Path, start: int) -> None:
        """Go on counting checks in a row from the log of a run that stands at step `start`."""
        if self._load is None or not start:
            return
        rows = [line[ROW] for line in read_metrics(folder) if ROW in line]
        self._row = int(rows[-1]) if rows else 0

    def look(self, done: int) -> dict[str, float]:
        """Return {"diagnostics/backbone/rankme": …} after `done` steps, {} where it is not time or not this rank."""
        self._due = self._load is not None and (done % self.every == 0 or done == self.total)
        if not self._due or not self.ranks.first:
            return {}
        try:
            measured = self._measured()
        except Exception as error:
            # A run of days must not end because looking at it went wrong, unless it was asked to end by what is seen.
            if self.settings.guard == "stop":
                raise
            why = one_line(error, kind=True)
            print(f"{self.recipe.name}: no diagnostics from here on ({why}); the run goes on", flush=True)
            self._load = None
            return {}
        values = {f"diagnostics/{name}/{key}": value for name, some in measured.items() for key, value in some.items()}
        return values | self._count(measured, done)

    def judge(self) -> None:
        """Raise Diverged on all ranks where the last look says so, and the recipe wants the run to end by that."""
        if self._due and self.settings.guard == "stop" and self.ranks.sums(int(bool(self._verdict)))[0]:
            words = self._verdict or "The representation collapsed; the first process's message says how."
            raise Diverged(words, "collapsed outputs")

    def _count(self, measured: Mapping[str, Mapping[str, float]], done: int) -> dict[str, float]:
        """Count checks in a row below a threshold, say so when there are enough of them, and log the count."""
        settings = self.settings
        name = "projector" if measured.get("projector") else "backbone"
        values = measured.get(name)
        if settings.guard == "off" or not values:
            return {}
        signs = []
        if values["std_sqrt_dim"] < settings.min_std:
            signs.append(f"std·√D is {values['std_sqrt_dim']:.2g} (1 where outputs spread, below {settings.min_std:g})")
        if values["effective_rank"] < settings.min_rank:
            signs.append(f"effective rank is {values['effective_rank']:.3g} (below {settings.min_rank:g})")
        self._row = self._row + 1 if signs else 0
        self._verdict = ""
        if self._row >= settings.patience:
            verdict = (
                f"{self.recipe.name}: by step {done} the {name}'s outputs have collapsed, {self._row} checks in a row: "
                f"{' and '.join(signs)}. Lower optimizer.lr, lengthen schedule.warmup_epochs, or change what the "
                "objective does against collapse;"
            )
            self._verdict = f"{verdict} diagnostics.guard='warn' lets such a run go on."
            if settings.guard == "warn" and self._row == settings.patience:
                print(f"warning: {verdict} diagnostics.guard='stop' ends such a run.", flush=True)
        return {ROW: self._row}

    def _measured(self) -> dict[str, dict[str, float]]:
        assert self._load is not None
        held = self._images = self._images or self._load()
        with undisturbed(self.objective, self.ranks.device, self.recipe.compile):
            images, v1, v2 = (self._outputs(x) for x in (held.images, *held.views))
            bank = {} if held.bank is None else self._outputs(held.bank)
        k = self.settings.neighbours
        return {
            name: measures(z, (v1[name], v2[name]), held.labels, bank.get(name), held.bank_labels, k)
            for name, z in images.items()
        }

    def _outputs(self, images: Tensor) -> dict[str, Tensor]:
        """The objective's outputs by name, N×D float32 on the CPU."""
        device, wide = self.ranks.device, is_bf16(self.recipe.precision)
        layout = torch.channels_last if self.recipe.channels_last else None
        parts: dict[str, list[Tensor]] = {}
        for piece in images.split(AT_ONCE):
            with torch.autocast(device.type, torch.bfloat16, enabled=wide):
                outputs = self.objective.outputs(normalised(piece.to(device), layout))
            for name, z in outputs.items():
                parts.setdefault(name, []).append(z.float().cpu())
        return {name: torch.cat(some) for name, some in parts.items()}


def interval(settings: DiagnosticsSettings, batch_size: int, steps_per_epoch: int) -> int:
    """Return after how many steps to look: whole epochs, as few as keep the cost at a hundredth of the training's."""
    looked_at = 3 * settings.images + settings.bank
    epochs = math.ceil(looked_at / (SHARE * FORWARDS * batch_size * steps_per_epoch))
    return max(1, epochs) * steps_per_epoch


@contextmanager
def undisturbed(objective: nn.Module, device: torch.device, compiled: bool = False) -> Iterator[None]:
    """Evaluate an objective, and leave it as it was: no gradient, every module's mode and the random state put back.

    What was compiled for training runs as written meanwhile, since other shapes would have it compiled anew.
    """
    modes = [(module, module.training) for module in objective.modules()]
    eager: Any = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad(), eager:
        objective.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


def measures(
    z: Tensor,
    views: tuple[Tensor, Tensor] | None = None,
    labels: Tensor | None = None,
    bank: Tensor | None = None,
    bank_labels: Tensor | None = None,
    k: int = 20,
    temperature: float = 0.07,
) -> dict[str, float]:
    """Return what `bench.nn.representation` says of a representation, by name; {} where it is not finite.

    Args:
        z: N×D, of N ≥ 2 images.
        views: the same of two views of each of some images.
        labels: N; without them there is no `tolerance` and no `knn_percent`.
        bank, bank_labels: M×D and M, where the `k` neighbours come from; None: z itself, each image without itself.
        k, temperature: of the neighbours' vote.
    """
    if not all(bool(x.isfinite().all()) for x in (z, *(views or ()))):
        return {}
    dim = z.shape[1]
    values = {
        "std_sqrt_dim": float(deviation(z)) * math.sqrt(dim),
        "effective_rank": float(effective_rank(singular_values(centred(z)))),
        "rankme": float(rankme(z)),
        "uniformity": log_uniformity(z),
    }
    if views is not None:
        one, other = views
        values["alignment"] = float(alignment(one.double(), other.double()))
    if labels is not None:
        if (same := tolerance(z, labels)) is not None:
            values["tolerance"] = float(same)
        values["knn_percent"] = knn_percent(z, labels, bank, bank_labels, k, temperature)
    return values
