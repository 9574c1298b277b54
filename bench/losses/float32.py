"""Losses are computed in float32 at least, also under autocast."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def at_least_float32(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorate a loss: it gets half-precision tensors as float32 (float64 stays), and runs without autocast.

    Otherwise autocast would round its inner products to bf16 again: with about three digits, 1 − cos is mostly noise
    when the cosine is close to 1.
    """

    @wraps(loss)
    def run(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        device = next(value.device.type for value in [*args, *kwargs.values()] if isinstance(value, Tensor))
        wide: Callable[..., Tensor] = loss
        with torch.autocast(device, enabled=False):
            return wide(*map(_widened, args), **{key: _widened(value) for key, value in kwargs.items()})

    return run


def _widened(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value
