"""A frozen network compiled by torch's inductor, with its weights as constants, where that pays."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.architectures import WIDTH, parse_architecture
from bench.errors import one_line
from bench.nn.compiling import compile_fixed

# GFLOP of a forward at 224×224, for comparing the work of architectures.
GFLOP = {18: 3.6, 50: 8.2}  # by depth; with the square of the width
STEM_WORK = {"imagenet": 1, "stl": 4, "cifar": 16}  # what finer maps multiply it by, but for the stem's own share

# Images at 224×224 through a ResNet-50 that save what compiling costs. Measured on two CPU cores, against the folded
# network in eager mode: with AMX 13.6 s and 2.5 times as fast afterwards, on an AVX512-BF16 machine without it 24 s and
# 1.06 times. For a GPU an estimate.
BREAK_EVEN = {"amx": 1_300, "cpu": 16_000, "cuda": 300_000}


def amx() -> bool:
    """Return whether this CPU multiplies bf16 matrices in tiles (AMX)."""
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())


def pays(arch: str, images: int, size: int, device: torch.device, stem: str = "imagenet") -> bool:
    """Return whether compiling saves time over so many size×size images; a function of their number, not of a clock."""
    kind = device.type if device.type != "cpu" or not amx() else "amx"
    if kind not in BREAK_EVEN:
        return False
    depth, width = parse_architecture(arch)
    work = images * (size / 224) ** 2 * STEM_WORK[stem] * (width / WIDTH) ** 2 * GFLOP[depth] / GFLOP[50]
    return work >= BREAK_EVEN[kind]


def compile_frozen(network: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Return the network compiled for inputs shaped like `example`; None if that fails, which a printed line says.

    The weights become constants of the program (`freezing`), laid out as its kernels want them: a later change of the
    network does not reach it.
    """
    import torch._inductor.config as inductor  # a second

    program = compile_fixed(network)
    try:
        # As an option of torch.compile, freezing comes too late for the convolutions to be packed and fused.
        with inductor.patch(freezing=True), torch.inference_mode():
            program(example)
    except Exception as error:  # no compiler, no headers, an operator that is not known: the remedy is the same
        print(f"the trunk is not compiled ({one_line(error, kind=True)}); it runs all the same, slower", flush=True)
        return None
    return program
