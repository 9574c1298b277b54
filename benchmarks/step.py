"""One BYOL training step: ResNet-50, two views of 224 pixels, a fixed batch; ours against lightly's.

    python benchmarks/step.py [--rounds N] [--batch N] [--images DIR] [--quick]

Lightly's step is that of its documentation and of its ImageNet benchmark (BYOLProjectionHead, BYOLPredictionHead,
NegativeCosineSimilarity, update_momentum, SGD), without logging, the online classifier and Lightning's own costs.
Model FLOP utilisation is set against a matrix product measured in the same run.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZE, BATCH, THREADS = 224, 16, 2
SUFFIXES = {".jpg", ".jpeg"}
GOALS = {"ours, default": 3.9, "ours, best": 3.9}  # against lightly as shipped
BEST_PEER = 1.2  # against lightly at its best
Sample = Callable[[], float]


# ------------------------------------------------------------------------------------------- contenders


def synchronise(device: str) -> None:
    """Wait until a CUDA device has done all that it was told to."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def random_views(batch: int, size: int, device: str, channels_last: bool) -> list[Any]:
    """Two views of noise."""
    import torch

    generator = torch.Generator().manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    views = [torch.randn(batch, 3, size, size, generator=generator) for _ in range(2)]
    return [view.to(device).contiguous(memory_format=layout) for view in views]


def lightly_step(device: str, channels_last: bool, bf16: bool) -> Callable[[list[Any]], None]:
    """Lightly's BYOL step on given views."""
    import torch
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from torch import nn
    from torchvision.models import resnet50

    torch.manual_seed(0)
    backbone = nn.Sequential(*list(resnet50().children())[:-1])
    online = nn.ModuleList([backbone, BYOLProjectionHead(2048, 4096, 256), BYOLPredictionHead(256, 4096, 256)])
    target = nn.ModuleList([copy.deepcopy(online[0]), copy.deepcopy(online[1])])
    deactivate_requires_grad(target)
    online.to(device).train()
    target.to(device).train()
    if channels_last:
        online.to(memory_format=torch.channels_last)
        target.to(memory_format=torch.channels_last)
    criterion = NegativeCosineSimilarity()
    optimizer = torch.optim.SGD(online.parameters(), lr=0.06, momentum=0.9)

    def predict(x: Any) -> Any:
        return online[2](online[1](online[0](x).flatten(start_dim=1)))

    def project(x: Any) -> Any:
        with torch.no_grad():
            return target[1](target[0](x).flatten(start_dim=1)).detach()

    def step(views: list[Any]) -> None:
        update_momentum(online[0], target[0], m=0.99)
        update_momentum(online[1], target[1], m=0.99)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            p0, z0, p1, z1 = predict(views[0]), project(views[0]), predict(views[1]), project(views[1])
            loss = 0.5 * (criterion(p0, z1) + criterion(p1, z0))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_step(device: str, batch: int, switches: dict[str, Any]) -> tuple[Any, Callable[[Any], None]]:
    """The step of `bench.train`, as a recipe with these switches has it."""
    import torch

    from bench.config.recipe import Recipe
    from bench.nn.encoder import build_encoder
    from bench.objectives.byol import BYOL
    from bench.train.distributed import Ranks
    from bench.train.step import Step

    given: dict[str, Any] = {"name": "byol", "summary": "", "source": "", "profile": "full", "dataset": "coco"}
    given |= {"objective": {"name": "byol"}, "epochs": 1, "batch_size": batch, "optimizer": {"name": "sgd", "lr": 0.06}}
    recipe = Recipe.model_validate(given | switches)
    objective = BYOL(build_encoder("resnet50", 0))
    work = Step(objective, recipe, Ranks(device=torch.device(device)))

    def step(placed: Any) -> None:
        work.backward(placed)
        work.update(0.06, 0.0)

    return work, step


def lightly(
    batch: int = BATCH, size: int = SIZE, device: str = "cpu", channels_last: bool = False, bf16: bool = False
) -> Sample:
    step = lightly_step(device, channels_last, bf16)
    views = random_views(batch, size, device, channels_last)

    def sample() -> float:
        step(views)
        synchronise(device)
        return batch

    return sample


def ours(batch: int = BATCH, size: int = SIZE, device: str = "cpu", allocator: str = "auto", **switches: Any) -> Sample:
    import os

    from bench.allocator import VARIABLE, settle

    print(f"allocator: {settle({**os.environ, VARIABLE: allocator})}")
    import torch

    from bench.data.views import Batch

    work, step = our_step(device, batch, switches)
    views = random_views(batch, size, device, work.memory_format is not None)
    boxes = [torch.zeros(batch, 5, device=device) for _ in views]
    placed = Batch(views=views, boxes=boxes, labels=None, indices=torch.arange(batch, device=device))

    def sample() -> float:
        step(placed)
        synchronise(device)
        return batch

    return sample


def lightly_from_files(images: str | None = None, batch: int = BATCH, size: int = SIZE, device: str = "cpu") -> Sample:
    """Photographs -> lightly's transform and loader (no workers: the cores are busy) -> lightly's step."""
    from lightly.data import LightlyDataset
    from lightly.transforms import BYOLTransform
    from torch.utils.data import DataLoader

    folder = images or _rendered()
    dataset = LightlyDataset(folder, transform=BYOLTransform())
    assert size == SIZE, "the transform's own size"
    step = lightly_step(device, channels_last=False, bf16=False)

    def batches() -> Any:
        while True:
            yield from DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True)

    feed = batches()

    def sample() -> float:
        views = next(feed)[0]
        step([view.to(device) for view in views])
        synchronise(device)
        return batch

    return sample


def ours_from_files(
    images: str | None = None, batch: int = BATCH, size: int = SIZE, device: str = "cpu", **switches: Any
) -> Sample:
    """Photographs -> our data set and loader (no workers) -> our step."""
    from bench.allocator import settle

    settle()
    import torch

    from bench.data.images import ViewDataset, loader
    from bench.data.sampler import DrawSampler
    from bench.data.sets import Index
    from bench.train.feed import to_device

    work, step = our_step(device, batch, switches)
    root = Path(images or _rendered())
    names = sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.suffix.lower() in SUFFIXES)
    dataset = ViewDataset(Index("files", root, "train", tuple(names)), work.objective.views(size), 0)
    feed = iter(loader(dataset, DrawSampler(len(dataset), batch, 0), 0))

    def sample() -> float:
        step(to_device(next(feed), torch.device(device), work.memory_format))
        synchronise(device)
        return batch

    return sample


def _rendered() -> str:
    from photographs import FOLDER

    return str(FOLDER / "photographs-500x375-q92")


# ---------------------------------------------------------------------------------------------- ceiling


def ceiling(device: str = "cpu", n: int = 2048) -> dict[str, float]:
    """GFLOP/s of a square matrix product, the best of five, in float32 and bf16."""
    import torch

    torch.set_num_threads(THREADS)
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        best = float("inf")
        for _ in range(6):
            start = time.perf_counter()
            a @ b
            synchronise(device)
            best = min(best, time.perf_counter() - start)
        rates[str(dtype).removeprefix("torch.")] = 2 * n**3 / 1e9 / best
    return rates


def flops(batch: int, size: int) -> float:
    """GFLOP of one step, counted on one image and scaled: all that is counted is linear in the batch."""
    import torch

    from bench.data.views import Batch
    from bench.nn.encoder import build_encoder
    from bench.objectives.byol import BYOL
    from bench.train.flops import step_flops

    views = random_views(2, size, "cpu", False)
    placed = Batch(views=views, boxes=[], labels=None, indices=torch.arange(2))
    return step_flops(BYOL(build_encoder("resnet50", 0)), placed) / 2 * batch / 1e9


# ----------------------------------------------------------------------------------------- measurement


def against_lightly(shape: dict[str, Any], compiled: bool) -> list[Any]:
    """The default and the fastest step against lightly's."""
    from interleave import Contender

    tuned = {"bf16": True, "channels_last": True}
    made = [
        Contender("lightly as shipped", "step:lightly", shape, "float32, NCHW", True, {}, THREADS),
        Contender("lightly at its best", "step:lightly", shape | tuned, "bf16-mixed, channels_last", True, {}, THREADS),
        Contender("ours, default", "step:ours", shape, "bf16, channels_last, glibc keeps memory", threads=THREADS),
    ]
    best = {**shape, "compile": True}
    if compiled:
        made.append(Contender("ours, best", "step:ours", best, "the default, compiled", threads=THREADS, warmup=2))
    return made


def switches(shape: dict[str, Any]) -> list[Any]:
    """The default step with one switch turned."""
    from interleave import Contender

    from bench.allocator import VARIABLE, find_jemalloc, started_with

    def turned(name: str, about: str, environ: dict[str, str] | None = None, **values: Any) -> Any:
        return Contender(name, "step:ours", shape | values, about, environ=environ or {}, threads=THREADS)

    made = [
        turned("ours, default", "bf16, channels_last, SGD, glibc keeps memory"),
        turned("plain glibc", "without the allocator's settings", allocator="default"),
        turned("LARS", "foreach", optimizer={"name": "lars", "lr": 0.2}),
        turned("LARS of timm", "parameter by parameter", optimizer={"name": "lars", "lr": 0.2}, lars="timm"),
        turned("recomputed blocks", "less memory for more computing", checkpoint_activations=True),
    ]
    if find_jemalloc() is not None:
        made.append(turned("jemalloc", "preloaded", started_with({VARIABLE: "jemalloc"}), allocator="jemalloc"))
    return made


def from_files(shape: dict[str, Any], images: str | None) -> list[Any]:
    """From JPEG files to the end of a step."""
    from interleave import Contender

    path = {**shape, "images": images}
    about = "BYOLTransform, DataLoader, float32 step"
    return [
        Contender("lightly as shipped", "step:lightly_from_files", path, about, True, {}, THREADS),
        Contender("ours, default", "step:ours_from_files", path, "data set, loader and step", threads=THREADS),
    ]


def publish(
    name: str, title: str, made: list[Any], rounds: int, work: float, notes: list[str], quick: bool, goals: bool = False
) -> None:
    """Measure, and write the comparison with its FLOP utilisation; the first contender is the baseline."""
    import report
    from interleave import measure

    before = ceiling()
    measured = measure(made, rounds)
    after = ceiling()
    roof = {kind: max(before[kind], after[kind]) for kind in before}
    used = {}
    for contender, one in measured.items():
        rate = work / statistics.median(sample.seconds for sample in one.samples)
        used[contender] = {"gflop_per_s": round(rate, 1), "of_bf16_ceiling": round(rate / roof["bfloat16"], 3)}
    report.write(
        name,
        title,
        measured,
        unit="images",
        baseline=made[0].name,
        goals={key: goal for key, goal in GOALS.items() if goals and key in measured},
        goals_best_peer={key: BEST_PEER for key in GOALS if goals and key in measured},
        notes=notes,
        extra={
            "flops": {
                "gflop_per_step": round(work, 1),
                "gemm_ceiling_gflop_per_s": {kind: round(value, 1) for kind, value in roof.items()},
                "utilisation": used,
            }
        },
        folder=report.ROOT / "runs" / "benchmarks" if quick else report.FOLDER,
    )
    print(f"  bf16 matrix product {roof['bfloat16']:.0f} GFLOP/s; a step is {work:.0f} GFLOP")
    for contender, one in used.items():
        print(f"  {contender:<44} {one['gflop_per_s']:6.0f} GFLOP/s, {one['of_bf16_ceiling']:.0%} of that")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--images", type=Path, help="a folder of JPEG files, instead of rendered ones")
    parser.add_argument("--only", nargs="*", choices=("lightly", "switches", "files"), help="parts; all by default")
    parser.add_argument("--compile", action="store_true", help="the compiled step, too: a minute and more to start")
    parser.add_argument("--quick", action="store_true", help="tiny images, one round, nothing published")
    words = parser.parse_args(arguments)
    size, batch, rounds = (64, 4, 1) if words.quick else (SIZE, words.batch, words.rounds)
    shape = {"batch": batch, "size": size}
    parts = words.only or (["lightly"] if words.quick else ["lightly", "switches", "files"])
    work = flops(batch, size)
    notes = [
        f"One sample: one optimizer step, batch {batch}, two views of {size} pixels, {THREADS} threads.",
        f"Divide images/s by {THREADS} for those of one core.",
    ]
    title = f"One BYOL step, ResNet-50, {size} pixels, batch {batch}"
    if "lightly" in parts:
        made = against_lightly(shape, words.compile)
        publish("step", title, made, rounds, work, notes, words.quick, goals=not words.quick)
    if "switches" in parts:
        half = {**shape, "batch": max(2, batch // 2)}  # ratios between our own steps need no full batch
        about_half = [*notes, f"Here with batch {half['batch']}."]
        name = f"One BYOL step with one switch turned, ResNet-50, {size} pixels, batch {half['batch']}"
        made, few = switches(half), max(1, rounds - 1)
        publish("step_switches", name, made, few, flops(half["batch"], size), about_half, words.quick)
    if "files" in parts:
        from photographs import about, photographs

        files = photographs(64, words.images)
        notes = [*notes, f"From files: {about(files)}; both loaders read in the training process."]
        made = from_files(shape, str(words.images) if words.images else None)
        publish("step_from_files", f"{title}, from JPEG files", made, max(1, rounds - 1), work, notes, words.quick)


if __name__ == "__main__":
    main()
