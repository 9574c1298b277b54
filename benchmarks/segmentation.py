"""PSPNet R50-d8 through mmseg: a training step and the evaluation of an image, against mmseg as shipped.

    python benchmarks/segmentation.py [--rounds N] [--quick]

Training: crop 512×1024, batch 2. Evaluation: one 1024×2048 image, whole, from the decoded image to the counts of its
confusion matrix. Images and labels are noise: nothing here depends on what they show. `training` and `evaluation`
take any `device`; a sample then ends when the device is done.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import Contender, measure
from report import write

CONFIG = "pspnet_r50-d8_4xb2-40k_cityscapes-512x1024"
FLOAT32 = "ours, float32"
AMX = "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
SMALL = "pspnet_r18-d8_4xb2-80k_cityscapes-512x1024"
CLASSES = 19


def main(arguments: argparse.Namespace) -> None:
    if arguments.quick:
        size = {"config": SMALL, "crop": [64, 128]}
        image = {"config": SMALL, "crop": [128, 256]}
    else:
        size = {"config": CONFIG, "crop": [512, 1024]}
        image = {"config": CONFIG, "crop": [1024, 2048]}

    def contender(name: str, target: str, about: str, **how: Any) -> Contender:
        sized = size if target == "training" else image
        return Contender(name, f"segmentation:{target}", {**sized, **how}, about=about, threads=2)

    training_steps = [
        contender("mmseg as shipped", "training", "float32", how="shipped"),
        contender(
            "mmseg, its best settings",
            "training",
            "bf16 autocast and channels_last",
            how="shipped",
            bf16=True,
            channels_last=True,
        ),
        contender(
            FLOAT32,
            "training",
            "PSP split, accuracy by arg-max, fused SGD, channels_last",
            how="ours",
            channels_last=True,
        ),
        contender(
            "ours, bf16",
            "training",
            "the same in bf16 autocast",
            how="ours",
            bf16=True,
            channels_last=True,
        ),
    ]
    evaluations = [
        contender("mmseg as shipped", "evaluation", "float32, mmseg's IoUMetric", how="shipped"),
        contender(
            "mmseg, its best settings",
            "evaluation",
            "bf16 autocast and channels_last",
            how="shipped",
            bf16=True,
            channels_last=True,
        ),
        contender(
            FLOAT32,
            "evaluation",
            "PSP split, folded norms, compiled where the CPU has AMX, labels by rows, one bincount",
            how="ours",
            compiled=AMX,
        ),
        contender(
            "ours, bf16",
            "evaluation",
            "the same in bf16, channels_last",
            how="ours",
            bf16=True,
            channels_last=True,
            compiled=AMX,
        ),
    ]
    if arguments.quick:
        training_steps = [training_steps[0], training_steps[3]]
        evaluations = [evaluations[0], evaluations[3]]
        evaluations[1].arguments["compiled"] = False  # type: ignore[index]
    elif not arguments.thorough:
        training_steps, evaluations = ([one for one in c if one.name != FLOAT32] for c in (training_steps, evaluations))
    prefix = "quick_" if arguments.quick else ""
    rounds = 1 if arguments.quick else arguments.rounds
    shape = "x".join(map(str, size["crop"]))
    # Between samples a process holds its parameters and little more, so that all fit into memory side by side.
    if arguments.only != "evaluation":
        write(
            f"{prefix}segmentation_training",
            f"A training step of {size['config']}, crop {shape}, batch 2, 2 threads",
            measure(training_steps, rounds),
            unit="steps",
            baseline="mmseg as shipped",
            goals={} if arguments.quick else {"ours, bf16": 4.5},
            notes=[
                "mmengine's own mixed precision asks for a GPU, so mmseg's bf16 is torch.autocast around its step.",
                "Images and labels are noise. The first step of each process is not counted.",
            ],
        )
    if arguments.only == "training":
        return
    shape = "x".join(map(str, image["crop"]))
    write(
        f"{prefix}segmentation_evaluation",
        f"Evaluation of one {shape} image by {image['config']}, whole mode, 2 threads",
        measure(evaluations, rounds),
        unit="images",
        baseline="mmseg as shipped",
        goals={} if arguments.quick else {"ours, bf16": 10.0},
        notes=[
            "Forward, resizing, arg-max and the counts of the metric; folding and compiling are in ready_seconds.",
            "Weights are random and the image is noise. The first image of each process is not counted.",
        ],
    )


def training(
    how: str, config: str, crop: list[int], bf16: bool = False, channels_last: bool = False, device: str = "cpu"
) -> Callable[[], float]:
    """Return a function that makes one training step, from uint8 images to updated weights."""
    import torch
    from mmengine.optim import build_optim_wrapper

    model, settings = build(how, config, crop, channels_last, device)
    model.train()
    optimisation = dict(settings.optim_wrapper)
    if how == "ours":
        optimisation["optimizer"] = {"fused": True, **optimisation["optimizer"]}
    wrapper = build_optim_wrapper(model, optimisation)
    data = batch(crop, 2)

    def sample() -> float:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            losses = model._run_forward(model.data_preprocessor(dict(data), True), mode="loss")
        wrapper.update_params(model.parse_losses(losses)[0])
        synchronise(device)
        return 1

    return sample


def evaluation(
    how: str,
    config: str,
    crop: list[int],
    bf16: bool = False,
    channels_last: bool = False,
    compiled: bool = False,
    device: str = "cpu",
) -> Callable[[], float]:
    """Return a function that evaluates one image, from uint8 to the counts of the metric."""
    import torch
    from mmseg.evaluation import IoUMetric

    from bench.stages.segmentation.evaluation import casting, compile_scorer, compiling_pays, evaluation_copy
    from bench.stages.segmentation.metric import ExactIoU

    model, _ = build(how, config, crop, channels_last, device)
    model.eval()
    metric = IoUMetric() if how == "shipped" else ExactIoU()
    metric.dataset_meta = {"classes": [str(number) for number in range(CLASSES)]}
    precision: Any = "bf16" if bf16 else "float32"
    if how == "ours":
        model = evaluation_copy(model, precision)
        if compiled and compiling_pays():
            compile_scorer(model, torch.Size((1, 3, *crop)), precision)
    data = batch(crop, 1)

    def sample() -> float:
        with torch.no_grad(), casting(precision, torch.device(device)):
            outputs = model.val_step(dict(data))
            metric.process({}, [output.to_dict() for output in outputs])
        metric.results.clear()
        synchronise(device)
        return 1

    return sample


def build(how: str, config: str, crop: list[int], channels_last: bool, device: str) -> tuple[Any, Any]:
    """Return the model, and its mmseg config: of mmseg alone, or with all steps of ours."""
    import torch

    from bench.config.tasks import SegmentationTask
    from bench.stages.segmentation.mmseg_config import adapt
    from bench.stages.segmentation.model import build_model

    warnings.simplefilter("ignore")
    task = SegmentationTask(
        name="", summary="", source="", profile="full", kind="segmentation", config=config, crop=(crop[0], crop[1])
    )
    arch = "resnet18" if config == SMALL else "resnet50"
    settings = adapt(task, arch, Path(), world=1, synchronise=False).config
    if how == "shipped":
        from mmengine.registry import init_default_scope
        from mmseg.registry import MODELS

        init_default_scope("mmseg")
        model = MODELS.build(settings.model)
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
    else:
        model = build_model(
            settings.model, 0, synchronise=False, device_type=device, channels_last=channels_last, fast=task.fast
        )
        for note in model.notes:
            print(note)
    return model.to(device), settings


def batch(crop: list[int], images: int) -> dict[str, Any]:
    """Return what mmseg's loaders give: images of noise in uint8, with labels."""
    import torch
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    torch.manual_seed(0)
    height, width = crop
    samples = []
    for _ in range(images):
        meta = {"img_shape": (height, width), "ori_shape": (height, width)}
        labels = PixelData(data=torch.randint(0, CLASSES, (1, height, width)))
        samples.append(SegDataSample(metainfo=meta, gt_sem_seg=labels))
    inputs = [torch.randint(0, 256, (3, height, width), dtype=torch.uint8) for _ in range(images)]
    return {"inputs": inputs, "data_samples": samples}


def synchronise(device: str) -> None:
    import torch

    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--quick", action="store_true", help="small images and a small network: only shows that it runs"
    )
    parser.add_argument("--only", choices=("training", "evaluation"))
    parser.add_argument("--thorough", action="store_true", help="also this project's in float32: three minutes more")
    main(parser.parse_args())
