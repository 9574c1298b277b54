"""No pretraining: the encoder as its seed initialises it, the control that every pretraining has to beat.

Claim:     none; what a downstream task reaches from scratch under the same protocol.
Paper:     He et al., "Delving Deep into Rectifiers" (2015), for the initialisation.
Equation:  no loss; a recipe with this objective has 0 epochs and reads no data.
Reference: torchvision's ResNet.
Departs from it: nothing.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.data.views import Batch, View
from bench.errors import BadInput
from bench.objectives.base import Objective


class RandomInit(Objective):
    """No pretraining: the encoder as its seed initialises it."""

    inputs: ClassVar[tuple[str, ...]] = ("grey", "halves")  # a control for what is shown these

    def views(self, size: int) -> tuple[View, ...]:
        """None: no image is read."""
        return ()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Raises BadInput: there is nothing to minimise."""
        raise BadInput("The objective random_init has no loss to train on; set epochs=0 and dataset='none'.")
