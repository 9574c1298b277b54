"""The GPUs that a request may use, and how they are shared out among its stages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from bench.config.processes import check_compiled_norms, check_shares
from bench.errors import BadInput
from bench.plan import Stage

VISIBLE = "CUDA_VISIBLE_DEVICES"


def cuda_devices(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the GPUs that torch can use, as CUDA_VISIBLE_DEVICES names them; [] where there is none."""
    import torch

    if not torch.cuda.is_available():
        return []
    count = torch.cuda.device_count()
    given = (os.environ if environ is None else environ).get(VISIBLE, "")
    names = [name.strip() for name in given.split(",")] if given.strip() else [str(index) for index in range(count)]
    return names[:count]


def check_gpus(gpus: int, per_stage: int | None = None) -> None:
    """Raise BadInput for more GPUs than there are, or more for a stage than in all.

    Where there is no CUDA at all, processes stand for GPUs, and any number will do.
    """
    if per_stage is not None and per_stage > gpus:
        raise BadInput(f"--per-stage {per_stage} is more than --gpus {gpus}; lower it, or raise --gpus.")
    if gpus == 1:  # without torch, which takes seconds to import
        return
    devices = cuda_devices()
    if devices and gpus > len(devices):
        seen = f" in {VISIBLE}" if os.environ.get(VISIBLE) else ""
        plural = "s" if len(devices) > 1 else ""
        raise BadInput(
            f"--gpus {gpus} is more than the {len(devices)} GPU{plural}{seen} here; give --gpus {len(devices)}."
        )


def check_processes(stages: Iterable[Stage], gpus: int) -> None:
    """Raise BadInput for a pretraining that so many processes cannot share: its batch, its norms, what it compiles."""
    for stage in stages:
        recipe = stage.recipe
        if stage.kind != "pretrain" or recipe.epochs == 0:
            continue
        check_shares(recipe, gpus)
        if recipe.compile and gpus > 1 and cuda_devices():
            check_compiled_norms(recipe, gpus)


def gpus_of(stage: Stage, per_stage: int) -> int:
    """Return how many GPUs a stage gets where each may have `per_stage`; 0 for one that computes nothing on them."""
    if not stage.stage_kind.uses_gpu or (stage.kind == "pretrain" and stage.recipe.dataset == "none"):
        return 0
    if stage.kind == "pretrain" and stage.recipe.epochs == 0:
        return 1  # only norms are measured
    return per_stage if stage.stage_kind.several_gpus else 1
