"""All comparisons, as data: what is compared, with whom, on what, how often, and what was aimed at.

The first contender is the baseline: the peer as shipped or, where there is none, what this project did before.
Goals were set before the work, some for one class of machine (bench/processor.py) alone. Sizes of a quick run show
that all of it runs; its figures mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from engine import Aim, Contender

from bench.processor import MachineClass

Rates = Mapping[str, float]  # contender -> units a second, in one round


@dataclass(frozen=True)
class Goal:
    """A goal that is no ratio to the baseline or the best peer."""

    what: str  # is measured
    value: Callable[[Rates], float]  # of one round; the median over the rounds counts
    goal: Aim
    unit: str
    at_most: bool = True  # else at least


@dataclass(frozen=True)
class Comparison:
    """One question and those who answer it."""

    name: str  # of the file in results/benchmarks/CLASS/
    area: str  # several comparisons; `--only` takes areas and names
    question: str  # the title on the page; {size} and other common arguments are filled in
    sample: str  # what one sample is
    unit: str  # what a sample counts: rates are in unit/s
    seconds: float  # that it may take, preparation included; an area's comparisons share theirs
    rounds: int  # samples of each contender
    contenders: tuple[Contender, ...]  # the baseline first
    common: Mapping[str, Any] = field(default_factory=dict)  # arguments; "{folder}" is filled in from what was prepared
    quick: Mapping[str, Any] = field(default_factory=dict)  # arguments that a quick run has instead
    prepare: str | None = None  # "module:function" that makes what contenders read, see photographs.prepare
    threads: int | None = 2  # of each contender; None leaves it to torch
    warmup: int = 1  # samples of each contender that are thrown away
    resident: bool = True  # whether all contenders fit into memory together
    device: str = "cpu"  # or cuda, whose contenders take an argument `device`
    notes: tuple[str, ...] = ()  # sentences for the reader
    goals: tuple[Goal, ...] = ()  # that are no ratios


def aimed(goal: Aim | None, machine: MachineClass) -> float | None:
    """Return what is aimed at on a class of machine; one that is simulated has the goals of what it stands for."""
    return goal.get(machine.goals) if isinstance(goal, Mapping) else goal


TUNED: dict[str, Any] = {"bf16": True, "channels_last": True}
WORDS = "bf16, channels_last"  # what TUNED is
PSPNET = "pspnet_r50-d8_4xb2-40k_cityscapes-512x1024"
SMALL_PSPNET = "pspnet_r18-d8_4xb2-80k_cityscapes-512x1024"
NEIGHBOURS: dict[str, Any] = {"k": 200, "temperature": 0.07}
FIRST, FURTHER = "ours, centre features, first pass", "ours, centre features, further sweep of 12"
# Where views are made from, and the stages that are alike for all.
SOURCES: dict[str, dict[str, str]] = {
    "raw JPEG": {},
    "JPEG pack": {"pack": "{jpeg}"},
    "uint8 pack": {"pack": "{uint8}"},
}
ANY_SOURCE = ("parameters", "flip and solarize", "colours", "blur", "batch")
PLAN, RERUN = "bench plan, 1,020 stages", "bench run, 100 finished cells"


def beyond_stages(source: str, rate: Rates) -> float:
    """Return how many times as long the views of a source take as their stages do one by one."""
    resized = "raw JPEG" if source == "raw JPEG" else "uint8 pack"
    stages = (f"decode {source}", f"crop and resize {resized}", *ANY_SOURCE)
    return 1 / rate[f"all of {source}"] / sum(1 / rate[stage] for stage in stages)


def one(name: str, target: str, about: str = "", **values: Any) -> Contender:
    """A contender of this environment; what is not a field of Contender is an argument of its target."""
    fields = {key: values.pop(key) for key in Contender.__dataclass_fields__ if key in values}
    return Contender(name, target, values, about, **fields)


def peer(name: str, target: str, about: str = "", **values: Any) -> Contender:
    """A contender of the peers' environment."""
    return one(name, target, about, peer=True, **values)


# fmt: off
CPU = (
    Comparison(
        "views", "views", unit="images", seconds=240, rounds=11, threads=1, prepare="reading:prepare",
        question="Two BYOL views at {size} of each image, one core",
        sample="batches of {count} images, several where they are fast, from the file to what a training step takes",
        common={"count": 32, "size": 224, "folder": "{folder}"}, quick={"count": 4},
        contenders=(
            peer("lightly 1.6, as shipped", "peers:views", "BYOLTransform, Pillow"),
            peer("solo-learn 1.0.2", "peers:views", "its asymmetric BYOL transform, Pillow", whose="solo-learn"),
            peer("torchvision v2", "view_peers:views", "uint8 tensors, a blur of 23 taps", by="torchvision_v2"),
            peer("Kornia 0.9", "view_peers:views",
                 "float32 tensors, image by image; its crop is resized without antialiasing", by="kornia"),
            peer("Albumentations 2.0", "view_peers:views",
                 "OpenCV; the resize is by area where it shrinks, and cubic where it enlarges",
                 by="albumentations", batches=3),
            peer("DALI 2.4 on the CPU", "view_peers:dali",
                 "batches, one thread; jitter is one linear map of colours in a fixed order"),
            one("reference, raw JPEG", "views:by_worker", "Pillow", backend="reference"),
            one("fast, raw JPEG", "views:by_worker", "OpenCV, torch's resampling", backend="fast", goal=4, batches=5),
            one("fast, JPEG pack", "views:by_worker", "quality 90", backend="fast", pack="{jpeg}", goal=9, batches=8),
            one("fast, uint8 pack", "views:by_worker", "mapped", backend="fast", pack="{uint8}", goal=13, batches=12),
            one("device on a CPU, uint8 pack", "views:on_device", "whole batches in torch", pack="{uint8}"),
        ),
        notes=(
            "Peers end in normalised float32, this project's in uint8 (normalised on the device).",
            "FFCV 1.0.2 is not here: it has no wheel, and its build stops where OpenCV for C++ is not installed.",
        ),
    ),
    Comparison(
        "view_stages", "views", unit="images", seconds=150, rounds=9, threads=1, prepare="reading:prepare",
        question="The stages of two BYOL views at {size} of each image, one core",
        sample="{count} images, in batches of 32",
        common={"count": 256, "size": 224, "folder": "{folder}"}, quick={"count": 4},
        contenders=(
            *(one(f"all of {name}", "views:by_worker", backend="fast", count=32, batches=8, **pack)
              for name, pack in SOURCES.items()),
            *(one(f"decode {name}", "view_stages:stage", what="read", **pack) for name, pack in SOURCES.items()),
            *(one(f"crop and resize {name}", "view_stages:stage", what="crop_and_resize", **SOURCES[name])
              for name in ("raw JPEG", "uint8 pack")),
            *(one(name, "view_stages:stage", what=name.replace(" ", "_"), pack="{uint8}") for name in ANY_SOURCE),
        ),
        goals=tuple(
            Goal(f"all of {name} against the sum of its stages", partial(beyond_stages, name), 1.15, "times")
            for name in SOURCES
        ),
        notes=(
            "What a stage takes is the reciprocal of its rate, and these add up. A stage finds its input in the cache.",
            "A uint8 pack is mapped: its pages are read when crops are copied. Crops of both packs are of one size.",
            "Tried and not taken, milliseconds of processor time an image, the least of 15, from files and from a JPEG "
            "pack: libjpeg-turbo in C decodes only the rectangle that holds both crops in 0.69 and 0.28, where OpenCV "
            "decodes all in 0.73 and 0.31 (with a margin of one pixel the pixels are equal; entropy decoding remains). "
            "Beside OpenCV's 0.76 and 0.30 simplejpeg takes 0.74 and 0.28 (equal), and half the size by scaled DCT "
            "0.64 and 0.25, which makes views that are 5 grey levels off on average.",
            "Tried and not taken, microseconds a view: a blur in compiled loops takes 34 to 117, and OpenCV's filter "
            "34 to 112, with 2 values of a million unequal; cv2.GaussianBlur takes 43 to 250, cv2.stackBlur 135 or "
            "more. torch's resampling takes 71 for a crop of 217x217 pixels, and 31 for one of 8x8.",
        ),
    ),
    Comparison(
        "small_views", "small", unit="images", seconds=60, rounds=7, threads=1,
        question="Two BYOL views at {size} of each image of 32x32 pixels, one core",
        sample="64 images where they are made one by one, 512 where they are made as a batch",
        common={"count": 64, "size": 32}, quick={"count": 4},
        contenders=(
            peer("lightly 1.6, as shipped", "peers:views", "Pillow"),
            peer("solo-learn 1.0.2", "peers:views", "Pillow", whose="solo-learn"),
            one("reference", "views:by_worker", "Pillow", backend="reference"),
            one("fast", "views:by_worker", "OpenCV", backend="fast"),
            one("resident", "views:resident", "batches in torch", count=512, goal=5),
            one("resident, compiled", "views:resident", "the same", count=512, compiled=True, quick=False),
        ),
        notes=("Images lie in memory as uint8; all end in normalised float32.",),
    ),
    Comparison(
        "small_step", "small", unit="images", seconds=110, rounds=3,
        question="One BYOL step from pixels, ResNet-18 for {size} pixels, batch {batch}",
        sample="one optimizer step, from uint8 pixels to new weights",
        common={"batch": 32, "size": 32, "images": 128}, quick={"batch": 4, "images": 16},
        contenders=(
            peer("lightly 1.6, as shipped", "peers:loop", "float32, NCHW"),
            peer("lightly, tuned", "peers:loop", WORDS, **TUNED),
            one("ours, fast", "steps:small", WORDS, backend="fast"),
            one("ours, resident", "steps:small", WORDS),
        ),
        notes=("All read in the training process, 2 threads; BYOL's views, heads of 1,024 and 64, Adam.",),
    ),
    Comparison(
        "pack", "packs", unit="images", seconds=40, rounds=7, threads=1, prepare="reading:prepare",
        question="Reading images: from files and from packs, one core",
        sample="all images, packs several times",
        common={"passes": 1},
        contenders=(
            one("files, PIL", "reading:read", "how the reference reads", folder="{folder}", how="pillow"),
            one("files, OpenCV", "reading:read", "full size", folder="{folder}", how="opencv"),
            one("JPEG pack", "reading:read", "quality 90, by OpenCV", folder="{jpeg}", how="pack", passes=8),
            one("uint8 pack", "reading:read", "mapped, and copied", folder="{uint8}", how="pack", passes=200),
        ),
        notes=("Everything lies in the page cache; files give their full size, packs the short side.",),
    ),
    Comparison(
        "step", "step", unit="images", seconds=200, rounds=3,
        question="One BYOL step, ResNet-50, {size} pixels, batch {batch}",
        sample="one optimizer step on two views of noise",
        common={"batch": 16, "size": 224}, quick={"batch": 2, "size": 64},
        contenders=(
            peer("lightly as shipped", "peers:step", "float32, NCHW"),
            peer("lightly at its best", "peers:step", WORDS, **TUNED),
            peer("solo-learn at its best", "sololearn:step", WORDS, **TUNED),
            one("ours, default", "steps:step", f"{WORDS}, glibc keeps memory",
                goal={"avx512-bf16": 3.9, "avx2": 1.5}, goal_best_peer={"avx512-bf16": 1.2, "avx2": 1}),
        ),
        notes=("On a CPU 2 threads. A step of one image has 65 GFLOP at 224 pixels.",),
    ),
    Comparison(
        "step_from_files", "step", unit="images", seconds=150, rounds=2, prepare="reading:prepare",
        question="One BYOL step, ResNet-50, {size} pixels, batch {batch}, from JPEG files",
        sample="one optimizer step, both loaders reading in the training process, 2 threads",
        common={"batch": 16, "size": 224, "folder": "{folder}"}, quick={"batch": 2},
        contenders=(
            peer("lightly as shipped", "peers:loop", "BYOLTransform, DataLoader, float32 step"),
            one("ours, default", "steps:from_files", "data set, loader and step"),
            one("ours, fast views, uint8 pack", "steps:from_files", "the same", backend="fast", pack="{uint8}"),
        ),
    ),
    Comparison(
        "ranks", "ranks", unit="steps", seconds=90, rounds=4,
        question="Pretraining on two ranks (gloo) against one process, the same global batch of {batch}",
        sample="{steps} steps of BYOL, ResNet-18, {size} pixels, float32, through the project's own loop",
        common={"batch": 32, "size": 64, "steps": 2}, quick={"batch": 8, "size": 32, "steps": 1},
        contenders=(
            one("one process, two threads", "ranks:run", world=1),
            one("two ranks, one thread each", "ranks:run", "the same result", world=2, threads=1),
            one("two ranks, norms of each", "ranks:run", "another result", world=2, sync_bn=False, threads=1),
            one("one process, one thread", "ranks:run", "half of the cores", world=1, threads=1, quick=False),
        ),
        notes=(
            "Norms over both ranks wait for the other rank twice in each forward pass of each norm, and as often in "
            "the backward pass: the third contender shows what that costs.",
        ),
    ),
    Comparison(
        "frozen", "evaluation", unit="images", seconds=180, rounds=3, prepare="evaluation:prepare_trunk",
        question="A step of linear evaluation on a frozen ResNet-50: {size} px, batch {batch}, 1,000 classes",
        sample="one step of the classifiers",
        common={"batch": 64, "size": 224, "trunk": "{trunk}"}, quick={"batch": 4, "size": 64},
        contenders=(
            one("float32 NCHW", "evaluation:step", form="plain"),
            one("float32 folded", "evaluation:step", form="folded", precision="float32", quick=False),
            one("bf16 autocast", "evaluation:step", form="autocast", precision="bf16", quick=False),
            one("bf16 folded", "evaluation:step", form="folded", precision="bf16", goal={"avx2": 1.5}),
            one("bf16 folded, compiled", "evaluation:step", form="compiled", precision="bf16", quick=False),
            one("bf16 folded, 12 heads", "evaluation:step", form="folded", precision="bf16", rates=12),
            one("kept features, 12 heads", "evaluation:step", "a further sweep", form="kept", rates=12, batch=256),
        ),
        goals=(
            Goal("the cost of twelve learning rates against that of one",
                 lambda rate: rate["bf16 folded"] / rate["bf16 folded, 12 heads"], 1.05, "times"),
        ),
    ),
    Comparison(
        "frozen_linear", "evaluation", unit="images", seconds=200, rounds=2, warmup=0,
        prepare="evaluation:prepare_images",
        question="Linear evaluation from files to top-1: ten classes, {epochs} epochs, 224 px, ResNet-50",
        sample="one evaluation; images: epochs x training images + validation images",
        common={"data": "{data}", "trunk": "{trunk}", "epochs": 4, "batch": 16}, quick={"epochs": 1},
        contenders=(
            peer("lightly as shipped", "peers:linear", "float32", quick=False),
            peer("lightly at its best", "peers:linear", WORDS, **TUNED),
            one("ours", "evaluation:whole", "augmented, folded trunk", goal=10),
            one(FIRST, "evaluation:whole", "another protocol: features taken once", features="centre", first=True),
            one(FURTHER, "evaluation:whole", "features read, 12 learning rates", features="centre",
                rates=[10.0**power for power in range(-6, 6)], warmup=1),
        ),
        goals=(
            Goal("what a further sweep of 12 learning rates is cheaper than the first pass",
                 lambda rate: rate[FURTHER] / rate[FIRST], 100, "times", at_most=False),
        ),
    ),
    Comparison(
        "knn", "evaluation", unit="queries", seconds=90, rounds=5,
        question="Weighted nearest neighbours: {queries:,} queries, bank {bank:,} x 2048, k = {k}, 1,000 classes",
        sample="all queries; of the loop, 8",
        common={"bank": 100_000, "queries": 256, **NEIGHBOURS}, quick={"bank": 2_000, "queries": 64},
        contenders=(
            peer("lightly knn_predict", "peers:knn", "float32, 256 queries at once"),
            one("row by row", "evaluation:knn", "float32, a loop over queries", search="loop"),
            one("ours, float32", "evaluation:knn", "chunks, running top-k", search="float32"),
            one("ours", "evaluation:knn", "coarse bf16, then float32", search="bf16", goal=3),
            one("the product alone", "evaluation:knn", "queries × bank in float32", search="product"),
        ),
        notes=("Features are drawn with a shared direction, a centre a class, and a spectrum that falls as 1/i.",),
        goals=(
            Goal("against a loop row by row", lambda rate: rate["ours"] / rate["row by row"], 30, "times", False),
            Goal("neighbours against the product of queries and bank alone",
                 lambda rate: 100 * rate["ours"] / rate["the product alone"], {"avx2": 90}, "%", False),
        ),
    ),
    Comparison(
        "segmentation_training", "segmentation", unit="steps", seconds=420, rounds=2,
        question="A training step of {config}, crop {crop[0]}x{crop[1]}, batch 2",
        sample="one optimizer step, from uint8 images to new weights",
        common={"config": PSPNET, "crop": [512, 1024]}, quick={"config": SMALL_PSPNET, "crop": [64, 128]},
        contenders=(
            one("mmseg as shipped", "segmentation:training", "float32", ours=False),
            one("mmseg, its best settings", "segmentation:training", WORDS, ours=False, **TUNED),
            one("ours, as shipped", "segmentation:training", "PSP split, fused SGD; NCHW", ours=True, bf16=True,
                goal={"avx2": 1.8}),
            one("ours, bf16", "segmentation:training", "PSP split, fused SGD", ours=True, **TUNED,
                goal={"avx512-bf16": 4.5}),
        ),
        notes=(
            "mmengine's own mixed precision asks for a GPU, so mmseg's bf16 is torch.autocast around its step.",
            "Images and labels are noise. On a CPU 2 threads.",
        ),
    ),
    Comparison(
        "segmentation_evaluation", "segmentation", unit="images", seconds=200, rounds=2,
        question="Evaluation of one {crop[0]}x{crop[1]} image by {config}, whole mode",
        sample="forward pass, resizing, arg-max and the counts of the metric",
        common={"config": PSPNET, "crop": [1024, 2048]},
        quick={"config": SMALL_PSPNET, "crop": [128, 256], "compiled": False},
        contenders=(
            one("mmseg as shipped", "segmentation:evaluation", "float32, mmseg's IoUMetric", ours=False),
            one("mmseg, its best settings", "segmentation:evaluation", WORDS, ours=False, **TUNED),
            one("ours, bf16", "segmentation:evaluation", "PSP split, folded norms", ours=True, **TUNED,
                goal={"avx512-bf16": 10, "avx2": 3}),
        ),
        notes=("Weights are random and the image is noise. Folding and compiling are part of getting ready.",),
    ),
    Comparison(
        "harness_commands", "harness", unit="commands", seconds=60, rounds=5, threads=None, prepare="harness:prepare",
        question="Commands of bench, whole processes",
        sample="a process from its start to its end",
        contenders=(
            one("python -c pass", "harness:command", words=["-c", "pass"]),
            one("bench --help", "harness:command", words=["-m", "bench", "--help"]),
            one("bench list", "harness:command", words=["-m", "bench", "list"]),
            one("bench show coco", "harness:command", words=["-m", "bench", "show", "coco"]),
            one("bench table --check", "harness:command", words=["-m", "bench", "table", "--check"]),
            one(PLAN, "harness:grid", verb="plan", seeds=34, place="{place}"),
            one(RERUN, "harness:grid", verb="run", seeds=5, place="{place}"),
        ),
        goals=(
            Goal("bench --help", lambda rate: 1 / rate["bench --help"], 0.3, "s"),
            Goal(PLAN, lambda rate: 1 / rate[PLAN], 1.0, "s"),
            Goal(RERUN, lambda rate: 1 / rate[RERUN], 2.0, "s"),
        ),
    ),
    Comparison(
        "harness_checkpoint", "harness", unit="steps", seconds=100, rounds=5, threads=None,
        question="Training windows with a checkpoint (ResNet-50 BYOL, 413 MB)",
        sample="a save and {steps} steps, until all is written",
        common={"batch": 4, "size": 128, "steps": 4}, quick={"batch": 2, "size": 64, "steps": 2},
        contenders=(
            one("none", "steps:with_checkpoint", "steps without a save", save="none"),
            one("inline", "steps:with_checkpoint", "the save writes before it returns", save="inline"),
            one("background", "steps:with_checkpoint", "the save copies, a thread writes", save="background"),
        ),
        notes=("The share is what a window with a save takes longer than one without, of 60 s.",),
        goals=(
            Goal("share of training time that background checkpoints cost at one a minute",
                 lambda rate: 100 / 60 * 4 * (1 / rate["background"] - 1 / rate["none"]), 1.0, "%"),
        ),
    ),
)


def on_gpu(name: str, aims: Mapping[str, float] | None = None, *more: Contender, **changes: Any) -> Comparison:
    """The comparison of that name on a GPU: with other sizes, `more` contenders, and `aims` as ratios aimed at."""
    base = next(comparison for comparison in CPU if comparison.name == name)
    contenders = tuple(
        replace(contender, goal=(aims or {}).get(contender.name), goal_best_peer=None)
        for contender in (*base.contenders, *more)
    )
    changes = {"rounds": 5, "goals": (), "common": {}, "quick": {}, **changes}
    changes["common"], changes["quick"] = {**base.common, **changes["common"]}, {**base.quick, **changes["quick"]}
    return replace(base, contenders=contenders, **GPU_FIELDS, **changes, name=f"gpu_{name}")


GPU_FIELDS: dict[str, Any] = {"area": "gpu", "device": "cuda", "threads": None, "warmup": 3}
GPU = (
    Comparison(
        "gpu_small", unit="images", seconds=90, rounds=3, **GPU_FIELDS,
        question="BYOL epochs of images of {size} pixels, ResNet-18, batch {batch}",
        sample="20 steps of lightly, an epoch of ours, from uint8 pixels on the host or the device to new weights",
        common={"batch": 512, "size": 32, "images": 50_000},
        quick={"batch": 4, "images": 16, "steps": 1, "workers": 0},
        contenders=(
            peer("lightly, tuned", "peers:loop", "16 workers", steps=20, workers=16, **TUNED),
            one("ours, resident", "steps:small", WORDS, steps=97),
            one("ours, resident, compiled, CUDA graphs", "steps:small", WORDS,
                steps=97, compile=True, cuda_graphs=True, goal=5, quick=False),
        ),
        goals=(
            Goal("an epoch of 50,000 images",
                 lambda rate: 50_000 / max(rate[name] for name in rate if name.startswith("ours")), 3, "s"),
        ),
    ),
    Comparison(
        "gpu_views", unit="images", seconds=40, rounds=5, prepare="photographs:prepare", **GPU_FIELDS,
        question="Two views of {size} pixels of {count} decoded images, on the device",
        sample="all views, from pixels and parameters that lie on the device",
        common={"folder": "{folder}", "count": 256, "size": 224}, quick={"count": 4},
        contenders=(one("ours, on the device", "views:on_device"),),
        goals=(Goal("two views on the device", lambda rate: rate["ours, on the device"], 20_000, "images/s", False),),
    ),
    Comparison(
        "gpu_feed", unit="images", seconds=50, rounds=5, **GPU_FIELDS,
        question="A BYOL step with its batch copied to the device",
        sample="one optimizer step",
        common={"batch": 256, "size": 224}, quick={"batch": 2, "size": 32},
        contenders=(
            one("batch on the device", "steps:step"),
            one("batch copied each step", "steps:step", "from page-locked memory", copied=True),
        ),
        goals=(
            Goal("waiting for data",
                 lambda rate: 100 * (1 - rate["batch copied each step"] / rate["batch on the device"]), 2, "%"),
        ),
    ),
    on_gpu(
        "step", {"ours, compiled": 2},
        one("ours, recomputed blocks", "steps:step", checkpoint_activations=True, quick=False),
        one("ours, compiled", "steps:step", compile=True, quick=False),
        one("ours, compiled, CUDA graphs", "steps:step", compile=True, cuda_graphs=True, quick=False),
        seconds=150, rounds=2, resident=False, common={"batch": 256},
    ),
    on_gpu("frozen", seconds=50, common={"batch": 256}),
    on_gpu(
        "knn", seconds=80, common={"bank": 1_281_167, "queries": 1_024},
        goals=(Goal("all 50,000 queries", lambda rate: 50_000 / rate["ours"], 60, "s"),),
    ),
    on_gpu("segmentation_training", {"ours, bf16": 1.5}, seconds=40),
    on_gpu("segmentation_evaluation", {"ours, bf16": 3}, seconds=40),
)
# fmt: on

COMPARISONS = CPU + GPU
