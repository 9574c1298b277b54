"""The same comparisons on one GPU, in one sitting of under nine minutes.

    python benchmarks/gpu.py [--only PART …] [--rounds N]
    python benchmarks/gpu.py --device cpu --quick     # tiny sizes on a CPU: whether it runs

Writes results/benchmarks/gpu_*.json, which benchmarks/render.py shows below "On a GPU". A part that fails is told of at
the end (exit code 1), and the others still run.

A machine without network needs, beside torch, torchvision, timm, pandas, numpy and opencv-python-headless: wheels of
onedl-mmengine, onedl-mmcv and onedl-mmsegmentation (built from their sdists with MMCV_WITH_OPS=0), addict, yapf,
platformdirs, termcolor, ftfy, prettytable, wcwidth, pydantic and safetensors with their dependencies, and for the peers
lightly with lightly-utils, pytorch-lightning, torchmetrics, aenum, hydra-core and omegaconf; all by
`pip install --no-index --no-deps --find-links DIR`. Then PYTHONPATH=. and, where the peers share this environment,
BENCHMARKS_PEERS=its folder. Nothing is downloaded while it runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from interleave import Contender, Measured, give_up, measure

SECONDS = 540  # for all parts


# ------------------------------------------------------------------------------------------ contenders


def gemm(n: int, device: str = "cuda", repeats: int = 20) -> Callable[[], float]:
    """Products of two n×n bf16 matrices: the ceiling that a step is held against. Units are GFLOP."""
    import torch

    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))

    def sample() -> float:
        for _ in range(repeats):
            torch.mm(a, b)
        return repeats * 2 * n**3 / 1e9

    return sample


def noise(batch: int, size: int) -> Any:
    """Return a batch of two views of noise, on the host."""
    import torch

    from bench.data.views import Batch

    views = [torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0]]).repeat(batch, 1)
    return Batch(views, [box, box.clone()], None, torch.arange(batch))


def device_views(files: list[str], count: int, device: str = "cuda") -> Callable[[], int]:
    """Two views of `count` images whose pixels and drawn parameters lie on the device."""
    from pathlib import Path

    import numpy as np

    from bench.data.decode import read_rgb
    from bench.data.views import BYOL_VIEWS, draw
    from bench.data.views import device as made

    drawings = []
    for number in range(count):
        image = np.asarray(read_rgb(Path(files[number % len(files)])))
        rng = np.random.Generator(np.random.Philox(number))
        drawn = [(view, draw(view, image.shape[1], image.shape[0], rng)) for view in BYOL_VIEWS(224)]
        drawings.append(made.Drawing.of(image, drawn))
    batch = made.collate_drawings(drawings).to(device)

    def sample() -> int:
        return len(batch.views()[0])

    return sample


def neighbours(bank: int, queries: int, device: str = "cuda", how: str = "ours", dim: int = 2048) -> Callable[[], int]:
    """Weighted votes of the 200 nearest of `bank` rows, drawn on the device as benchmarks/knn.py draws them.

    lightly scores all rows at once, so its queries come 256 at a time, as they do in its evaluation.
    """
    import torch

    classes, k, temperature = 1000, min(200, bank), 0.07
    falling = torch.arange(1, dim + 1, device=device).float().rsqrt()
    torch.manual_seed(0)
    centres = torch.randn(classes, dim, device=device) * falling
    mean = torch.randn(dim, device=device).abs() * falling.norm() / dim**0.5

    def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.randint(classes, (count,), device=device)
        rows = torch.empty(count, dim, device=device)
        for start in range(0, count, 65_536):
            part = labels[start : start + 65_536]
            made = mean + 0.7 * centres[part] + torch.randn(len(part), dim, device=device) * falling
            rows[start : start + len(part)] = torch.nn.functional.normalize(made, dim=1)
        return rows, labels

    rows, labels = drawn(bank)
    asked, _ = drawn(queries)
    if how == "lightly":
        from lightly.utils.benchmarking import knn_predict

        columns = rows.t().contiguous()
        del rows

        def sample() -> int:
            for part in asked.split(256):
                knn_predict(part, columns, labels, classes, k, temperature)
            return queries

        return sample

    from bench.stages.knn import classify

    searched: Any = rows
    if how == "ours":
        from bench.nn.neighbours import Bank

        searched = Bank(rows)

    def ours() -> int:
        classify(asked, searched, labels, classes, k, temperature)
        return queries

    return ours


def frozen(
    batch: int, size: int, device: str = "cuda", how: str = "plain", precision: str = "float32", arch: str = "resnet50"
) -> Callable[[], int]:
    """Features of a batch by a frozen encoder: `plain` (under autocast), with `folded` norms, or `compiled` as well."""
    import torch

    from bench.nn.encoder import build_encoder

    torch.backends.cudnn.benchmark = device == "cuda"
    encoder: Any = build_encoder(arch, seed=0).requires_grad_(False).eval()
    kind = torch.bfloat16 if precision == "bf16" and how != "plain" else torch.float32
    if how != "plain":
        from bench.stages.folded_trunk import fold

        encoder = fold(encoder)
    layout = torch.contiguous_format if how == "plain" and precision == "float32" else torch.channels_last
    encoder = encoder.to(device=device, dtype=kind, memory_format=layout)
    images = torch.randn(batch, 3, size, size).to(device=device, dtype=kind, memory_format=layout)
    run = encoder
    if how == "compiled":
        from bench.stages.compiled_trunk import compile_frozen

        run = compile_frozen(encoder, images)
        if run is None:
            raise RuntimeError("the encoder was not compiled")

    def sample() -> int:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=kind != torch.bfloat16 and bf16):
            run(images)
        return batch

    bf16 = precision == "bf16"
    return sample


# ----------------------------------------------------------------------------------------------- parts


class Sitting:
    """What all parts share: the device, the sizes, the rounds.

    Args:
        device: cuda or cpu.
        quick: tiny sizes.
        rounds: samples of each contender.
    """

    def __init__(self, device: str, quick: bool, rounds: int) -> None:
        self.device, self.quick, self.rounds = device, quick, rounds
        self.about = facts(device)

    def compare(self, name: str, title: str, contenders: Sequence[Contender], **more: Any) -> Mapping[str, Measured]:
        """Measure and write one comparison; `checks` may be a function of what was measured."""
        from report import write

        resident = more.pop("resident", True)
        measured = measure(contenders, self.rounds if resident else min(2, self.rounds), resident=resident)
        checks = more.pop("checks", lambda _: [])(measured)
        extra = {"device": self.about, "checks": checks}
        write(f"gpu_{name}", title, measured, extra=extra, baseline=contenders[0].name, **more)
        return measured


def facts(device: str) -> dict[str, str]:
    """Return the GPU's name, its driver and CUDA; that there is none on a CPU."""
    import torch

    if device == "cpu":
        return {"device": "cpu", "torch": str(torch.__version__)}
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        driver = "unknown"
    return {"device": torch.cuda.get_device_name(), "driver": driver, "CUDA": str(torch.version.cuda)}


def best_rate(one: Measured) -> float:
    """Return the median rate of a contender."""
    import statistics

    return statistics.median(sample.units / sample.seconds for sample in one.samples)


def views_part(sitting: Sitting) -> None:
    """Two views on the device, from decoded pixels."""
    from photographs import about, photographs

    count = 4 if sitting.quick else 256
    paths = photographs(4 if sitting.quick else 64)
    name = "ours, on the device"
    same = {"files": [str(path) for path in paths], "count": count, "device": sitting.device}
    sitting.compare(
        "views",
        f"Two views of 224 pixels of {count} decoded images, on the device",
        [Contender(name, "gpu:device_views", same, warmup=3)],
        unit="images",
        notes=[f"Pixels and parameters lie on the device already; made from {about(paths)}."],
        checks=lambda measured: [
            {"what": "two views on the device", "found": best_rate(measured[name]), "goal": 20_000, "unit": "images/s"}
        ],
    )


def step_part(sitting: Sitting) -> None:
    """The BYOL step of lightly as shipped and tuned, and ours with each option; the share of the GEMM ceiling."""
    from step import flops

    batch, size = (2, 32) if sitting.quick else (256, 224)
    same = {"batch": batch, "size": size, "device": sitting.device}
    options: dict[str, dict[str, Any]] = {"ours": {}}
    if not sitting.quick:
        options["ours, recomputed blocks"] = {"checkpoint_activations": True}
        options["ours, compiled"] = {"compile": True}
        options["ours, compiled, CUDA graphs"] = {"compile": True, "cuda_graphs": True}
    best = {"bf16": True, "channels_last": True}
    contenders = [
        Contender("lightly as shipped", "step:lightly", same, "float32", peer=True, warmup=2),
        Contender("lightly, tuned", "step:lightly", same | best, "bf16, channels_last", peer=True, warmup=2),
        *(Contender(name, "step:ours", same | switches, warmup=3) for name, switches in options.items()),
    ]
    ceiling = Contender("GEMM", "gpu:gemm", {"n": 64 if sitting.quick else 8192, "device": sitting.device})
    peak = best_rate(measure([ceiling], 3)["GEMM"])
    work = flops(1, size)
    notes = [
        f"An image's step has {work:.1f} GFLOP; products of bf16 matrices reach {peak / 1000:.3g} TFLOP/s here.",
        "Images lie on the device already; each sample starts a process anew, as all together would not fit.",
    ]

    def shares(measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
        for name, one in measured.items():
            notes.append(f"{name}: {100 * best_rate(one) * work / peak:.1f} % of that (MFU).")
        return []

    sitting.compare(
        "step",
        f"A BYOL step: ResNet-50, two views of {size} pixels, batch {batch}",
        contenders,
        resident=False,
        unit="images",
        goals={"ours" if sitting.quick else "ours, compiled": 2.0},
        checks=shares,
        notes=notes,
    )


def feed_part(sitting: Sitting) -> None:
    """How long a step waits for its batch: copies from page-locked memory, one step ahead."""
    batch, size = (2, 32) if sitting.quick else (256, 224)
    same = {"batch": batch, "size": size, "device": sitting.device}
    there = Contender("batch on the device", "step:ours", same, warmup=3)
    copied = Contender("batch copied each step", "gpu:fed_step", same, "from page-locked memory", warmup=3)

    def waits(measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
        share = 100 * (1 - best_rate(measured[copied.name]) / best_rate(measured[there.name]))
        return [{"what": "waiting for data", "found": max(0.0, share), "goal": 2, "unit": "%", "at_most": True}]

    sitting.compare(
        "feed", "A BYOL step with its batch copied to the device", [there, copied], unit="images", checks=waits
    )


def fed_step(batch: int, size: int, device: str = "cuda") -> Callable[[], int]:
    """As `step:ours`, with each batch copied from page-locked memory on a stream of its own, one step ahead."""
    import torch
    from step import our_step

    place = torch.device(device)
    work, train = our_step(device, batch, {})
    host = noise(batch, size)
    side = torch.cuda.Stream() if device == "cuda" else None
    if side is not None:
        host = host.pin_memory()

    def fetch() -> Any:
        if side is None:
            return host.to(place, memory_format=work.memory_format)
        with torch.cuda.stream(side):
            return host.to(place, memory_format=work.memory_format, non_blocking=True)

    following = fetch()

    def sample() -> int:
        nonlocal following
        data = following
        if side is not None:
            main = torch.cuda.current_stream()
            main.wait_stream(side)
            for tensor in (*data.views, *data.boxes, data.indices):
                tensor.record_stream(main)  # else its memory is given away while the step reads it
        following = fetch()
        train(data)
        return batch

    return sample


def knn_part(sitting: Sitting) -> None:
    """Nearest neighbours at ImageNet's size."""
    bank, all_queries, few = (2_000, 64, 64) if sitting.quick else (1_281_167, 50_000, 1_024)
    same = {"bank": bank, "device": sitting.device} | ({"dim": 64} if sitting.quick else {})
    ours = Contender("ours", "gpu:neighbours", same | {"queries": all_queries}, "coarse half precision, exact float32")

    def whole(measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
        seconds = all_queries / best_rate(measured[ours.name])
        return [{"what": f"all {all_queries:,} queries", "found": seconds, "goal": 60, "unit": "s", "at_most": True}]

    sitting.compare(
        "knn",
        f"Weighted nearest neighbours, bank of {bank:,} rows, k = 200",
        [
            Contender("lightly", "gpu:neighbours", same | {"queries": few, "how": "lightly"}, peer=True),
            Contender("ours, float32", "gpu:neighbours", same | {"queries": few, "how": "float32"}),
            ours,
        ],
        unit="queries",
        notes=[f"Samples of {few:,} queries; ours in half precision all {all_queries:,}."],
        checks=whole,
    )


def frozen_part(sitting: Sitting) -> None:
    """The forward of a frozen encoder."""
    batch, size, arch = (2, 32, "resnet18") if sitting.quick else (256, 224, "resnet50")
    same = {"batch": batch, "size": size, "arch": arch, "device": sitting.device}
    ways = {
        "float32, as written": {},
        "bf16 autocast, channels_last": {"precision": "bf16"},
        "folded, bf16": {"how": "folded", "precision": "bf16"},
    }
    if not sitting.quick:
        ways["folded, bf16, compiled"] = {"how": "compiled", "precision": "bf16"}
    contenders = [Contender(name, "gpu:frozen", same | how, warmup=3) for name, how in ways.items()]
    sitting.compare("frozen", f"Features of a frozen {arch}, {size} pixels, batch {batch}", contenders, unit="images")


def segmentation_part(sitting: Sitting) -> None:
    """PSPNet's training step and evaluation, by the factories of benchmarks/segmentation.py."""
    from segmentation import CONFIG, SMALL

    for target, goal, crop in (("training", 1.5, [512, 1024]), ("evaluation", 3.0, [1024, 2048])):
        config, size = (SMALL, [64, 128]) if sitting.quick else (CONFIG, crop)
        same = {"config": config, "crop": size, "device": sitting.device}
        fast = {"bf16": True, "channels_last": True}
        compiled = {"compiled": True} if target == "evaluation" and not sitting.quick else {}
        ways = {
            "mmseg as shipped": {"how": "shipped"},
            "mmseg, its best settings": {"how": "shipped", **fast},
            "ours, bf16": {"how": "ours", **fast, **compiled},
        }
        if sitting.quick:
            del ways["mmseg, its best settings"]
        contenders = [Contender(n, f"segmentation:{target}", same | way, warmup=2) for n, way in ways.items()]
        sitting.compare(
            f"segmentation_{target}",
            f"PSPNet, {target}, {'x'.join(map(str, size))}",
            contenders,
            unit="steps" if target == "training" else "images",
            goals={"ours, bf16": goal},
        )


def small_part(sitting: Sitting) -> None:
    """Epochs of images of CIFAR's size, from pixels to new weights: lightly's loop and ours with resident images."""
    import os

    from small_images import EPOCH

    batch, images = (4, 16) if sitting.quick else (512, EPOCH)
    same = {"batch": batch, "images": images, "device": sitting.device}
    some, whole = same | {"steps": 1 if sitting.quick else 20}, same | {"steps": images // batch}
    cores = 0 if sitting.quick else len(os.sched_getaffinity(0))
    tuned = some | {"bf16": True, "channels_last": True, "workers": cores}
    name = "ours, resident"
    contenders = [
        Contender("lightly, tuned", "small_images:lightly_loop", tuned, f"{cores} workers", peer=True),
        Contender(name, "small_images:our_loop", whole, "bf16, channels_last"),
    ]
    if not sitting.quick:
        name += ", compiled, CUDA graphs"
        switches = {"compile": True, "cuda_graphs": True}
        contenders.append(Contender(name, "small_images:our_loop", whole | switches, "bf16, channels_last"))

    def epochs(measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
        seconds = EPOCH / best_rate(measured[name])
        return [{"what": f"an epoch of {EPOCH:,} images", "found": seconds, "goal": 3, "unit": "s", "at_most": True}]

    sitting.compare(
        "small",
        f"BYOL epochs of images of 32 pixels, ResNet-18, batch {batch}",
        contenders,
        unit="images",
        goals={name: 5.0},
        checks=epochs,
        notes=["From uint8 pixels on the host (lightly) or on the device (ours) to new weights."],
    )


PARTS: dict[str, Callable[[Sitting], None]] = {
    "small": small_part,
    "views": views_part,
    "step": step_part,
    "feed": feed_part,
    "knn": knn_part,
    "frozen": frozen_part,
    "segmentation": segmentation_part,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, or 1 when a part failed."""
    parser = argparse.ArgumentParser(description="The comparisons on one GPU.")
    parser.add_argument("--only", nargs="+", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs")
    options = parser.parse_args(arguments)
    names = options.only or list(PARTS)
    for name in names:
        if name not in PARTS:
            give_up(f"there is no part {name!r}; --only takes {', '.join(PARTS)}")
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        give_up("there is no GPU that torch can use; run it on a machine with one, or give --device cpu --quick")
    if options.device == "cpu" and not options.quick:
        give_up("these sizes are for a GPU; give --quick with --device cpu")
    start, failed = time.monotonic(), []
    sitting = Sitting(options.device, options.quick, 1 if options.quick else options.rounds)
    for name in names:
        if time.monotonic() - start > SECONDS:
            failed.append(f"{name} (no time was left)")
            continue
        try:
            PARTS[name](sitting)
        except Exception as error:  # a part that fails must not take the others along
            traceback.print_exc()
            failed.append(f"{name} ({type(error).__name__}: {' '.join(str(error).split())[:120]})")
    print(f"\n{time.monotonic() - start:.0f} s in all")
    if failed:
        print(f"Failed: {'; '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
