"""Say what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from bench import allocator
from bench.data.roots import resolve_roots
from bench.errors import BadInput
from bench.made import PACKAGES as RECORDED
from bench.processor import features, limits, machine_class

PACKAGES = (*(name for name in RECORDED.values() if name != "bench"), "safetensors", "tensorboard")


def diagnose(data_root: Sequence[str] = ()) -> int:
    """Print the findings and return how many needed things are missing (data sets are not needed by --smoke)."""
    missing = 0
    print(f"python       {platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        try:
            print(f"package      {name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing += 1
            print(f"package      {name} MISSING: pip install {name}, or make install in a checkout")
    import torch

    from bench.train.precision import native_bf16, this_device

    has = " ".join(features()) or "no vector features reported"
    print(f"cpu          {os.cpu_count()} cores, {torch.get_num_threads()} threads, {has}")
    device = this_device()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    machine = machine_class(features(), limits(), gpu)
    print(f"class        {machine.name} ({machine.words}): docs/performance.md says how fast that is")
    processor = "the GPU" if device.type == "cuda" else "this processor"
    if native_bf16(device):
        print(f"precision    auto is bf16 here, which {processor} multiplies natively")
    else:
        print(f"precision    auto is float32 here, as {processor} would only emulate bf16")
    print(f"allocator    {_allocator()}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            name = torch.cuda.get_device_name(index)
            gib = torch.cuda.get_device_properties(index).total_memory / 2**30
            print(f"gpu          {index}: {name}, {gib:.0f} GiB")
    else:
        print("gpu          none: stages run on the CPU; fit for --smoke and --profile mini, not for full schedules")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    print(f"disk         {free:.0f} GiB free here; a full grid wants about 1 a run")
    for dataset, place, source in resolve_roots(data_root).sources():
        if place is None:
            why = f" ({source})" if source else ""
            print(f"data         {dataset}: not found{why}; give --data-root {dataset}=DIR (not needed with --smoke)")
        else:
            print(f"data         {dataset}: {place} (from {source})")
    return missing


def _allocator() -> str:
    """What stages would use, and whether something better is at hand; nothing is changed here."""
    try:
        choice = allocator.chosen(os.environ)
        allocator.started_with(os.environ)
    except BadInput as error:
        return f"UNUSABLE: {error}"
    preloaded = allocator.preloaded()
    if preloaded is not None or choice == "jemalloc":
        return f"{preloaded or choice}, preloaded in stages"
    if platform.libc_ver()[0] != "glibc":
        return "the system's default; a training step is faster under glibc or with jemalloc preloaded"
    if choice == "default":
        return f"glibc's default; unset {allocator.VARIABLE} for fewer page faults in a training step"
    by_hand = " ".join(f"{name}={value}" for name, value in allocator.KEEP_FREED.items())
    return (
        f"glibc, keeping freed memory in stages that bench run starts; for bench stage by itself, set {by_hand}; "
        f"{allocator.VARIABLE}=default leaves it as it is"
    )
