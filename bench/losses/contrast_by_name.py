"""Contrastive losses to choose from by name, over two views or with a queue.

| name          | loss                                              | settings                        | with a queue |
|---------------|---------------------------------------------------|---------------------------------|--------------|
| nt_xent       | SimCLR: InfoNCE with the negatives of both views  | temperature                     | as InfoNCE   |
| cross_view    | InfoNCE with the negatives of the other view      | temperature                     | no           |
| dcl           | without the positive in the denominator           | temperature                     | yes          |
| dclw          | and hard positives weighted                       | temperature, sigma              | no           |
| simple        | no softmax: all negatives alike                   | negative_weight                 | yes          |
| hard          | InfoNCE with the hardest negatives                | temperature, hard_share         | yes          |
| align_uniform | no pairs of an anchor: alignment and uniformity   | align_weight, uniform_weight, t | no           |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from bench.errors import BadInput
from bench.losses.contrastive import info_nce
from bench.losses.pairs import (
    EVERY,
    Pairs,
    decoupled,
    hard,
    joined,
    mises_fisher_weights,
    queue_pairs,
    simple,
    softmax_loss,
    two_view_pairs,
    view_pairs,
)
from bench.losses.uniformity import align_uniform

ViewsLoss = Literal["nt_xent", "dcl", "dclw", "simple", "hard", "align_uniform", "cross_view"]
QueueLoss = Literal["nt_xent", "dcl", "simple", "hard"]
VIEWS, QUEUE = get_args(ViewsLoss), get_args(QueueLoss)


@dataclass(frozen=True)
class Contrast:
    """A loss of the table above with its settings; a loss reads only those of its row.

    Args:
        loss: its name.
        temperature: τ.
        sigma: σ of the weights of `dclw`.
        negative_weight: λ of `simple`.
        hard_share: α of `hard`.
        align_weight, uniform_weight, t: of `align_uniform`.
    """

    loss: str = "nt_xent"
    temperature: float = 0.1
    sigma: float = 0.5
    negative_weight: float = 1.0
    hard_share: float = 0.1
    align_weight: float = 1.0
    uniform_weight: float = 1.0
    t: float = 2.0

    def views(self, z1: Tensor, z2: Tensor, rows: slice = EVERY) -> Tensor:
        """Return the loss of two views, N×D each, all ranks' rows; `rows` are those of this rank.

        A mean over both views as anchors; the mean over ranks is the loss of the batch.
        """
        if self.loss == "align_uniform":
            return align_uniform(z1, z2, self.t, self.align_weight, self.uniform_weight)
        if self.loss == "cross_view":
            return self._of(joined(view_pairs(z1, z2, (z2,), rows), view_pairs(z2, z1, (z1,), rows)))
        weights = mises_fisher_weights(z1, z2, self.sigma)[rows].repeat(2) if self.loss == "dclw" else None
        return self._of(two_view_pairs(z1, z2, rows), weights)

    def crops(self, c: Tensor, z1: Tensor, z2: Tensor, rows: slice = EVERY) -> Tensor:
        """Return the loss of one small crop of each image as anchors (N×D), a mean over both views as positives.

        The negatives are those that `views` has for an anchor. Raises BadInput for `align_uniform`, whose uniformity
        is of no anchor.
        """
        if self.loss == "align_uniform":
            raise BadInput("align_uniform has no anchors, and small crops are nothing else; set objective.crops to 0.")
        losses = []
        for z in (z1, z2):
            weights = mises_fisher_weights(c, z, self.sigma)[rows] if self.loss == "dclw" else None
            losses.append(self._of(view_pairs(c, z, (z,) if self.loss == "cross_view" else (z1, z2), rows), weights))
        return torch.stack(losses).mean()

    def check_queue(self) -> None:
        """Raise BadInput for a loss that has no form with a queue."""
        if self.loss not in QUEUE:
            raise BadInput(
                f"objective.loss {self.loss!r} has no form with a queue; set objective.loss to one of "
                f"{', '.join(QUEUE)}."
            )

    def queue(self, q: Tensor, k: Tensor, negatives: Tensor) -> Tensor:
        """Return the loss of queries n×D with keys n×D and a queue K×D, whose rows are the only negatives.

        No gradient stops here: the caller detaches keys and queue. `check_queue` says in advance what this cannot do.
        """
        self.check_queue()
        if self.loss == "nt_xent":
            return info_nce(q, k, negatives, self.temperature)  # the same value, and the bits of MoCo's runs
        return self._of(queue_pairs(q, k, negatives))

    def _of(self, pairs: Pairs, weights: Tensor | None = None) -> Tensor:
        if self.loss in ("dcl", "dclw"):
            return decoupled(pairs, self.temperature, weights)
        if self.loss == "simple":
            return simple(pairs, self.negative_weight)
        if self.loss == "hard":
            return hard(pairs, self.temperature, self.hard_share)
        return softmax_loss(pairs, self.temperature)
