"""How much arithmetic a training step is, so that its speed can be set against a measured ceiling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from bench.data.views import Batch


def step_flops(objective: nn.Module, batch: Batch) -> int:
    """Return the floating-point operations of one forward and backward pass over a batch, 2 for a multiply-add.

    Convolutions and matrix products are counted, nothing else; what is computed a second time by activation
    checkpointing is counted twice. Gradients of the objective are dropped afterwards; batch-norm statistics move.
    """
    with FlopCounterMode(display=False) as counter:
        objective(batch)["loss"].backward()
    objective.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())
