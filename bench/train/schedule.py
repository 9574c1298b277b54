"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from bench.config.recipe import OptimizerSettings, ScheduleSettings


def peak_rate(settings: OptimizerSettings, batch_size: int) -> float:
    """Return the highest rate: lr × batch_size / lr_batch (Goyal et al. 2017), or lr where lr_batch is None."""
    return settings.lr if settings.lr_batch is None else settings.lr * batch_size / settings.lr_batch


def factor(step: int, total: int, warmup: int, settings: ScheduleSettings) -> float:
    """Return what the peak rate is multiplied by at `step` (0-based) of `total`, in [0, 1].

    The first `warmup` steps rise linearly from warmup_ratio (step 0 has rate 0 by default, as in BYOL's reference
    implementation), then

    - cosine: final_ratio + (1 − final_ratio)·(1 + cos(π·t))/2, t running from 0 to 1 over the steps after warm-up;
    - step: ×gamma (0.1) at each milestone, a fraction of the whole run (warm-up included);
    - constant: 1.
    """
    if step < warmup:
        return settings.warmup_ratio + (1 - settings.warmup_ratio) * step / warmup
    if settings.name == "cosine":
        t = (step - warmup) / max(1, total - warmup)
        return settings.final_ratio + (1 - settings.final_ratio) * (1 + math.cos(math.pi * t)) / 2
    if settings.name == "step":
        return settings.gamma ** sum(step >= round(milestone * total) for milestone in settings.milestones)
    return 1.0


def learning_rate(settings: ScheduleSettings, peak: float, total: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the function step ↦ learning rate of a run of `total` optimizer steps."""
    warmup = settings.warmup_steps
    if warmup is None:
        warmup = round(settings.warmup_epochs * steps_per_epoch)
    return lambda step: peak * factor(step, total, warmup, settings)
