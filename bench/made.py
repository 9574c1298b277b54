"""What a result was made of: the code, the libraries, the machine and the settings of the processes that made it.

Each stage keeps this in its folder and in `done.json`, for itself and for all stages before it; a record has it for its
whole chain. torch is asked only where it is loaded already.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench import allocator
from bench.checkout import Git as Git
from bench.checkout import git
from bench.machine import cores
from bench.processor import features, limits, machine_class

# Name in a record -> name of the distribution. Versions are looked up without importing anything.
PACKAGES = {
    "bench": "bench",
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "mmengine": "onedl-mmengine",
    "mmcv": "onedl-mmcv",
    "mmseg": "onedl-mmsegmentation",
    "numpy": "numpy",
    "pandas": "pandas",
    "pillow": "pillow",
    "opencv": "opencv-python-headless",
    "scipy": "scipy",
    "scikit-image": "scikit-image",
    "numba": "numba",
    "av": "av",
}


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Open(BaseModel):
    """Read also where a later version wrote more: a stage that is done must not count as unfinished for that."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Hardware(_Closed):
    """The machine that ran the stage."""

    cpu: str
    cores: int
    memory_gib: float
    gpus: tuple[str, ...] = ()


class NormGroups(_Open):
    """How many images shared a batch norm's statistics, and how many such groups a batch had."""

    images: int
    groups: int


class Part(_Open):
    """What one or more sittings of a stage ran with: a sitting is from a start to its end, or an interruption."""

    git: Git = Git()
    versions: dict[str, str] = {}
    hardware: Hardware
    machine: str  # its class (bench/processor.py)
    limits: dict[str, str] = {}  # environment variables that left instructions of the processor unused
    kernels: str | None = None  # torch's for this processor, such as AVX2
    processes: int = 1
    threads: int | None = None  # of each process, as torch had them
    norm_groups: NormGroups | None = None  # of a pretraining
    precision: str | None = None
    tf32: dict[str, bool] = {}  # whether a GPU rounded the factors of "convolutions" and of "products" of matrices
    allocator: str = ""
    unreadable: str = "fail"  # what was done about unreadable files
    started: str = ""  # the first sitting, UTC, ISO 8601
    sittings: int = 1

    def differences(self, other: Part) -> list[str]:
        """Return in words how `other` differs in what can move the last digits of a number: `torch 2.14.0, not 2.15.0`.

        The first is of `other`. Neither commits nor what no result depends on, such as the allocator, are among them.
        """
        pairs: dict[str, tuple[Any, Any]] = {
            name: (self.versions.get(name), other.versions.get(name))
            for name in {**self.versions, **other.versions}
            if name not in {"bench", "pandas"}
        }
        pairs |= {
            "processor": (self.hardware.cpu, other.hardware.cpu),
            "GPUs": (list(self.hardware.gpus), list(other.hardware.gpus)),
            "class of machine": (self.machine, other.machine),
            "kernels": (self.kernels, other.kernels),
            "processes": (self.processes, other.processes),
            "threads": (self.threads, other.threads),
            "precision": (self.precision, other.precision),
            "TF32": (self.tf32, other.tf32),
        }
        return [
            f"{name} {_word(theirs)}, not {_word(ours)}" for name, (ours, theirs) in pairs.items() if ours != theirs
        ]


class Intervention(_Open):
    """What a training did by itself, since its recipe lets it, when it could not go on (bench/train/interventions.py).

    Nothing here depends on the clock, or on where the training was interrupted.
    """

    action: Literal["lower_lr", "halve"]
    why: str  # "nan or inf", "out of memory"
    after: int  # the step of the checkpoint that it went on from
    lr_factor: float | None = None  # what the learning rate is multiplied by from there on, with those before it
    accumulate: int | None = None  # parts of a batch from there on

    @property
    def words(self) -> str:
        """Say it for people."""
        if self.action == "lower_lr":
            return f"learning rate × {self.lr_factor:g} from step {self.after} on ({self.why})"
        return f"accumulate={self.accumulate} from step {self.after} on ({self.why})"


class Made(_Open):
    """What a stage was made of, and what it took.

    `parts` are its sittings in order, those with equal circumstances as one; empty where a version kept nothing of
    them. A stage that was taken up where a version left it that kept nothing has not `whole` parts.
    """

    fingerprint: str
    parts: tuple[Part, ...] = ()
    whole: bool = True
    precision: str | None = None
    images_skipped: int = 0  # unreadable ones
    wall_seconds: float | None = None  # of the last sitting
    untimed: tuple[str, ...] = ()  # what these do not hold
    peak_memory_mib: dict[str, float] = {}
    finished: str | None = None  # UTC, ISO 8601
    # of a pretraining. Not there in older files
    interventions: tuple[Intervention, ...] = Field(default=(), exclude_if=lambda some: not some)


def part(
    *,
    processes: int = 1,
    precision: str | None = None,
    unreadable: str = "fail",
    norm_groups: NormGroups | None = None,
) -> Part:
    """Return what this process runs with, as the one sitting that starts now."""
    gpus, torch = gpu_names(), sys.modules.get("torch")
    limited = limits()
    return Part(
        git=git(),
        versions={name: version for name, version in {**versions(), **_decoders()}.items() if version is not None},
        hardware=hardware(gpus),
        machine=machine_class(features(), limited, gpus[0] if gpus else None).name,
        limits=limited,
        kernels=None if torch is None else torch.backends.cpu.get_cpu_capability(),
        processes=processes,
        threads=None if torch is None else torch.get_num_threads(),
        norm_groups=norm_groups,
        precision=precision,
        tf32={
            "convolutions": torch.backends.cudnn.allow_tf32,
            "products": torch.backends.cuda.matmul.allow_tf32,
        }
        if torch is not None and gpus
        else {},
        allocator=allocator.check(),
        unreadable=unreadable,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def with_part(parts: Sequence[Part], new: Part) -> tuple[Part, ...]:
    """Return `parts` with another sitting: one more of the last part, where that ran with the same."""
    if parts:
        last, apart = parts[-1], {"started", "sittings"}
        if last.model_dump(exclude=apart) == new.model_dump(exclude=apart):
            return (*parts[:-1], last.model_copy(update={"sittings": last.sittings + 1}))
    return (*parts, new)


def gpu_names() -> tuple[str, ...]:
    """Return the devices that this process can see, if it uses torch at all."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ()
    return tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def versions() -> dict[str, str | None]:
    """Return {name: version} of Python, PACKAGES (None: not installed), and CUDA and cuDNN where they are used."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    found |= {name: _version(distribution) for name, distribution in PACKAGES.items()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
    return found


def _decoders() -> dict[str, str | None]:
    """The library by which Pillow decodes JPEGs, where it is in use: with another the same file has other pixels."""
    if "PIL" not in sys.modules:
        return {}
    from PIL import features as of_pillow

    return {"libjpeg-turbo": of_pillow.version("libjpeg_turbo")}


def hardware(gpus: Sequence[str] = ()) -> Hardware:
    """Return this machine, with the names of the GPUs that were used."""
    return Hardware(cpu=_cpu(), cores=cores(), memory_gib=_memory_gib(), gpus=tuple(gpus))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return 0.0


def _word(value: Any) -> str:
    if isinstance(value, dict):
        value = [name for name, on in value.items() if on]
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)
