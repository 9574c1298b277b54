"""In which precision a stage computes: `auto` becomes bf16 where this machine multiplies it natively, else float32.

Without hardware for it, bf16 is emulated: on a processor with AVX2 alone a training step took 14 times as long as in
float32, and a product of two 2048×2048 matrices 600 times. So `auto` is resolved when a stage begins, on the
machine that runs it, and kept with the stage's files: what began in one precision goes on in it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import torch
from pydantic import BaseModel

from bench.files import read_json, write_text

Concrete = Literal["float32", "bf16"]
Config = TypeVar("Config", bound=BaseModel)

FILE = "precision.json"
# What a stage goes on from after an interruption. Without one of these it begins anew, whatever it began in before.
PROGRESS = ("last.ckpt", "heads.safetensors")
KEYS = ("precision", "evaluation_precision", "search")


def native_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 in hardware: x86 with AVX512-BF16 or AMX, Arm with BF16, CUDA from 8.0 on."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # oneDNN's answer heeds ONEDNN_MAX_CPU_ISA; on x86 it is yes for any AVX-512, though, which then emulates bf16.
    if device.type != "cpu" or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return not x86 or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextmanager
def without_tf32() -> Iterator[None]:
    """Inside the block float32 is float32 on CUDA, too, as a check against a limit wants it.

    torch lets cuDNN round what convolutions multiply to TF32, with 10 bits behind the point, unless told otherwise
    (`allow_tf32_cudnn` in ATen/Context.h), and nothing here tells it. By `allow_tf32` and not by `fp32_precision`:
    torch's own code asks for the former, which raises once the latter was set for convolutions.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = False
    if before[1]:  # only then: it is a condition of compiled programs, which would be compiled again (torch 2.15)
        matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before[0]
        if before[1]:
            matmul.allow_tf32 = True


def this_device() -> torch.device:
    """The kind of device that stages of this process compute on."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def automatic(device: torch.device) -> Concrete:
    """What `auto` means on a device."""
    return "bf16" if native_bf16(device) else "float32"


def is_bf16(precision: str) -> bool:
    """Whether to compute in bf16. Raises ValueError for `auto`, which must be resolved before anything is computed."""
    if precision not in ("float32", "bf16"):
        raise ValueError(f"precision {precision!r} is not resolved")
    return precision == "bf16"


def resolve(config: Config, folder: Path, *, starting: bool = True) -> Config:
    """Return the config of a stage with `float32` or `bf16` in the place of every `auto`.

    The choice is kept in the stage's folder, and taken from there if there is progress to go on from. A bf16 that was
    asked for is obeyed, with one warning where it is emulated.

    `starting`: this process begins the stage. Otherwise it is one rank, and takes what its launcher chose for all.
    Where a cluster's torchrun launched the ranks, nobody chose: each finds the same for its machine, and the first
    keeps it.
    """
    settings = {key: getattr(config, key) for key in KEYS if hasattr(config, key)}
    kept = _kept(folder) if begun(folder) or not starting else None
    choice = kept or automatic(this_device())
    changed = {key: choice for key, value in settings.items() if value == "auto"}
    if changed and (starting or (kept is None and int(os.environ.get("RANK", "0")) == 0)):
        write_text(folder / FILE, json.dumps({"auto": choice}) + "\n")
    if starting and "bf16" in (settings | changed).values() and not native_bf16(this_device()):
        asked = [f"{key}=auto" for key, value in settings.items() if value == "bf16"]
        reason = f"{' and '.join(asked)} takes float32 here" if asked else "it began in bf16 and goes on in it"
        slower = "many times as long as float32 (14 times was measured for ResNet-50 on Zen 3)"
        print(f"warning: this machine emulates bf16, which takes {slower}; {reason}", flush=True)
    return config.model_copy(update=changed)


def begun(folder: Path) -> bool:
    """Whether a stage's folder holds what an earlier sitting of it left to go on from."""
    return any((folder / name).is_file() for name in PROGRESS)


def _kept(folder: Path) -> Concrete | None:
    """What `auto` was when the stage began, or None if that was not kept."""
    choice = read_json(folder / FILE).get("auto")
    return choice if choice in ("float32", "bf16") else None
