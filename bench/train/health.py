"""When a training has diverged: nan or inf, weights that grew by orders of magnitude, an encoder that tells no images
apart.

nan and inf are found where the loss is read and before a checkpoint is written, the other two before a checkpoint is
written, so that none holds a network that is beyond repair. Norms and batch norms keep the loss of such a network
finite: of 45 objectives trained with a rate of 1e6, 36 had a finite loss after twelve steps, and all of these had
weights 5 million times as large as at the start, or more. With usable rates it was 290 times at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.config.recipe import Recipe
from bench.errors import one_line
from bench.nn.representation import deviation
from bench.train.distributed import Ranks
from bench.train.divergence import REMEDY, Diverged, terms_words
from bench.train.monitor import FORWARDS, SHARE, undisturbed

GROWTH = 1e4  # of the norm of all weights since the start of the run
CONSTANT = 1e-4  # std·√D of the pooled features: images have a mean cosine of 1 − 5e-9, all but rounding
IMAGES = 8  # that are shown to the encoder


class Health:
    """Looks before a checkpoint is written whether the weights have exploded, and whether the encoder has collapsed.

    To be made before a checkpoint is loaded: what the norm is compared with is that of the weights which a run starts
    from. `every_steps` is how many steps lie between two checkpoints.

    An encoder is shown so few images, and so seldom, that it costs a hundredth of the training at most.
    """

    def __init__(self, objective: nn.Module, recipe: Recipe, ranks: Ranks, total: int, every_steps: int) -> None:
        self.objective, self.recipe, self.ranks, self.total = objective, recipe, ranks, total
        self._trained = [(name, p) for name, p in objective.named_parameters() if p.requires_grad]
        self._start = float(norm([p for _, p in self._trained]))
        self._looks = recipe.diagnostics.guard != "off" and callable(getattr(objective, "outputs", None))
        between = math.ceil(IMAGES / (SHARE * FORWARDS * recipe.batch_size * every_steps)) * every_steps
        self._between = max(between, every_steps)
        self._images: Tensor | None = None

    def due(self, step: int) -> bool:
        """Whether the encoder is to be shown images before the checkpoint of a step is written."""
        return self._looks and (step % self._between == 0 or step == self.total)

    def see(self, batch: Any) -> None:
        """Keep a copy of a few images of a batch on the device, which may hold no more than it needs."""
        views = getattr(batch, "views", None)
        if views:
            first = views[0].flatten(0, 1) if views[0].dim() == 5 else views[0]
            self._images = first[:IMAGES].detach().clone()

    def judge(self, step: int, terms: Mapping[str, float], last_good: str) -> None:
        """Raise Diverged on all ranks where the weights have exploded, or the encoder gives the same for all images.

        What is not finite passes: a checkpoint of that is refused anyway. Waits for the device.
        """
        found = self._exploded() or self._collapsed(step)
        if self.ranks.sums(int(found is not None))[0] == 0:
            return
        what, why = found or ("the training diverged on another process, whose message says how", "another process")
        said = f" ({terms_words(terms)})" if terms else ""
        raise Diverged(f"By step {step} {what}{said}; {last_good}. {REMEDY}", why)

    def _exploded(self) -> tuple[str, str] | None:
        now = float(norm([p for _, p in self._trained]))
        if math.isnan(now) or now <= GROWTH * self._start:
            return None
        name, _ = max(self._trained, key=lambda pair: float(norm([pair[1]])))
        words = f"the norm of all weights grew from {self._start:.3g} to {now:.3g}, the largest being {name}"
        return words, "exploded weights"

    def _collapsed(self, step: int) -> tuple[str, str] | None:
        images, self._images = self._images, None
        if images is None or len(images) < 2 or not self.due(step) or torch.equal(images[1:], images[:-1]):
            return None
        try:
            with undisturbed(self.objective, self.ranks.device, self.recipe.compile):
                features: Tensor = self.objective.outputs(images)["backbone"].float()  # type: ignore[operator]
        except Exception as error:  # a run of days must not end because looking at it went wrong
            print(f"{self.recipe.name}: its encoder is not watched ({one_line(error, kind=True)})", flush=True)
            self._looks = False
            return None
        spread = float(deviation(features)) * math.sqrt(features.shape[1])
        if math.isnan(spread) or spread >= CONSTANT:
            return None
        words = (
            f"the encoder gave the same for {len(images)} different images (std·√D is {spread:.1g}, and 1 where they "
            "spread; diagnostics.guard='off' lets such a run go on)"
        )
        return words, "collapsed encoder"


@torch.no_grad()
def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all tensors together, as a scalar on their device."""
    if not tensors:
        return torch.zeros(())
    return torch.stack(torch._foreach_norm(list(tensors))).double().square().sum().sqrt()
