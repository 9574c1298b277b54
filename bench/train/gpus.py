"""Whether this torch has programs for the GPUs at hand: without, the first kernel fails in the middle of a stage."""

from __future__ import annotations

import re

import torch

from bench.errors import BadInput


def check_built_for_gpus(count: int = 1) -> None:
    """Raise BadInput where torch was not built for one of the first `count` GPUs. Without a GPU nothing is refused."""
    if not torch.cuda.is_available():
        return
    for index in range(count):
        capability = torch.cuda.get_device_capability(index)
        if not built_for(capability, torch.cuda.get_arch_list()):
            raise BadInput(
                f"This torch ({torch.__version__}) has no programs for {torch.cuda.get_device_name(index)}, a GPU of "
                f"compute capability {capability[0]}.{capability[1]}; install a torch built for it, or hide it with "
                "CUDA_VISIBLE_DEVICES= (empty) to run on the CPU."
            )


def built_for(capability: tuple[int, int], builds: list[str]) -> bool:
    """Whether a GPU runs one of the `builds` (`sm_80`, or `compute_80`, which the driver compiles for later GPUs).

    Machine code runs on GPUs of its own generation, from its own compute capability on.
    """
    if not builds:  # nothing is known
        return True
    for build in builds:
        kind, digits = re.fullmatch(r"(sm|compute)_(\d+)[a-z]?", build).groups()  # type: ignore[union-attr]
        major, minor = int(digits[:-1]), int(digits[-1])
        same = major == capability[0] and minor <= capability[1]
        if same or (kind == "compute" and (major, minor) <= capability):
            return True
    return False
