"""Gradients cut to a norm: the whole gradient, or that of each parameter by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bench.config.recipe import OptimizerSettings

EPS = 1e-6  # added to norms, in DINO's code as in torch's


def clip_gradients(parameters: Sequence[nn.Parameter], settings: OptimizerSettings) -> None:
    """Cut the gradients in place as `clip_norm` or `clip_each` says; without either nothing is done."""
    if settings.clip_norm is not None:
        nn.utils.clip_grad_norm_(parameters, settings.clip_norm, foreach=True)
    if settings.clip_each is not None:
        clip_each(parameters, settings.clip_each)


@torch.no_grad()
def clip_each(parameters: Sequence[nn.Parameter], most: float) -> None:
    """Scale the gradient g of each parameter by min(1, most / (‖g‖ + 1e-6)), in place and without a wait.

    Source: `clip_gradients` of DINO's reference implementation (utils.py:132-141).
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients:
        scales = (most / (torch.stack(torch._foreach_norm(gradients)) + EPS)).clamp(max=1.0)
        torch._foreach_mul_(gradients, list(scales.unbind()))
