"""Which class of machine this is. Speeds of two machines of one class compare; those of two classes do not."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

# Words of /proc/cpuinfo: what decides how fast networks run, bf16 above all. Arm has the last two.
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
# Name of a class, what a processor of it has, and what that means, the fastest first.
CLASSES = (
    ("amx", "amx_bf16", "AVX-512 and AMX, which multiplies bf16: Intel Xeon since Sapphire Rapids"),
    ("avx512-bf16", "avx512_bf16", "AVX-512 that multiplies bf16: AMD since Zen 4"),
    ("avx512", "avx512f", "AVX-512 without bf16: Intel Xeon since Skylake"),
    ("avx2", "avx2", "AVX2: AMD up to Zen 3, Intel Core"),
    ("arm-bf16", "bf16", "Arm that multiplies bf16"),
    ("arm", "asimd", "Arm without bf16"),
)
OTHER = "other"
# Environment variables by which torch, oneDNN and MKL leave instructions unused that the processor has.
ATEN, ONEDNN = "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"
LIMITS = (ATEN, ONEDNN, "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")


class MachineClass(NamedTuple):
    """A class of machine: its name, fit for a folder; what it is, in words; and the class whose goals it has.

    The last differs from the name where instructions are left unused: "avx2-on-avx512-bf16" has the goals of "avx2".
    """

    name: str
    words: str
    goals: str

    @property
    def simulated(self) -> bool:
        """Whether the processor has instructions that were left unused."""
        return self.name != self.goals


def features() -> tuple[str, ...]:
    """Return those of FEATURES that this processor says it has; empty where the system does not tell."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        words = {"asimd"} if platform.machine().lower() in {"arm64", "aarch64"} else set()
    return tuple(name for name in FEATURES if name in words)


def limits(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return those of LIMITS that are set, with their values."""
    given = os.environ if environ is None else environ
    return {name: given[name] for name in LIMITS if given.get(name)}


def machine_class(has: Collection[str], limited: Mapping[str, str], gpu: str | None = None) -> MachineClass:
    """Return the class of a machine.

    Args:
        has: as `features` returns them.
        limited: as `limits` returns them. Any makes a class of its own, whether or not the value has an effect.
        gpu: the name of the GPU that did the work, which is a class by itself.
    """
    if gpu is not None:
        return MachineClass(_slug(gpu), gpu, _slug(gpu))
    real, words = next(((name, words) for name, key, words in CLASSES if key in has), (OTHER, "another processor"))
    if not limited:
        return MachineClass(real, words, real)
    values = {_slug(value) for value in limited.values()}
    whole = set(limited) == {ATEN, ONEDNN} and len(values) == 1
    kernels = values.pop() if whole else "-".join(_slug(f"{name.split('_')[0]} {limited[name]}") for name in limited)
    settings = " ".join(f"{name}={value}" for name, value in limited.items())
    words = f"{kernels.upper() if whole else 'limited'} kernels on a processor of the class {real}, by {settings}"
    return MachineClass(f"{kernels}-on-{real}", f"simulated: {words}", kernels)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
