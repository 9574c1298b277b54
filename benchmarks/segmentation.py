"""Contenders of PSPNet R50-d8: mmseg as shipped and this project's steps, in training and in evaluation.

Both run in this project's environment. Images and labels are noise: no time depends on what they show.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from bench.config.tasks import SegmentationTask
from bench.stages.segmentation.evaluation import casting, compile_scorer, compiling_pays, evaluation_copy
from bench.stages.segmentation.metric import UnroundedIoU
from bench.stages.segmentation.mmseg_config import adapt
from bench.stages.segmentation.model import build_model

CLASSES = 19


def training(
    ours: bool, config: str, crop: list[int], bf16: bool = False, channels_last: bool = False, device: str = "cpu"
) -> Callable[[], float]:
    """One training step of two images a sample, from uint8 to updated weights."""
    model, settings = build(ours, config, crop, channels_last, device)
    model.train()
    optimisation = dict(settings.optim_wrapper)
    if ours:
        optimisation["optimizer"] = {"fused": True, **optimisation["optimizer"]}
    wrapper = build_optim_wrapper(model, optimisation)
    data = noise(crop, 2)

    def sample() -> float:
        # mmengine's own mixed precision asks for a GPU.
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            losses = model._run_forward(model.data_preprocessor(dict(data), True), mode="loss")
        wrapper.update_params(model.parse_losses(losses)[0])
        return 1

    return sample


def evaluation(
    ours: bool,
    config: str,
    crop: list[int],
    bf16: bool = False,
    channels_last: bool = False,
    compiled: bool = True,
    device: str = "cpu",
) -> Callable[[], float]:
    """One image a sample, from uint8 to the counts of its confusion matrix; ours is compiled where that pays."""
    model, _ = build(ours, config, crop, channels_last, device)
    model.eval()
    metric = UnroundedIoU() if ours else IoUMetric()
    metric.dataset_meta = {"classes": [str(number) for number in range(CLASSES)]}
    precision: Any = "bf16" if bf16 else "float32"
    if ours:
        model = evaluation_copy(model, precision)
        if compiled and (device == "cuda" or compiling_pays()):
            compile_scorer(model, torch.Size((1, 3, *crop)), precision)
    data = noise(crop, 1)

    def sample() -> float:
        with torch.no_grad(), casting(precision, torch.device(device)):
            outputs = model.val_step(dict(data))
            metric.process({}, [output.to_dict() for output in outputs])
        metric.results.clear()
        return 1

    return sample


def build(ours: bool, config: str, crop: list[int], channels_last: bool, device: str) -> tuple[Any, Any]:
    """Return the model, of mmseg alone or with all steps of ours, and its mmseg config."""
    warnings.simplefilter("ignore")
    task = SegmentationTask(
        name="", summary="", source="", profile="full", kind="segmentation", config=config, crop=(crop[0], crop[1])
    )
    arch = "resnet18" if "r18" in config else "resnet50"
    settings = adapt(task, arch, Path(), world=1, synchronise=False).config
    if ours:
        model = build_model(
            settings.model, 0, synchronise=False, device_type=device, channels_last=channels_last, fast=task.fast
        )
    else:
        init_default_scope("mmseg")
        model = MODELS.build(settings.model)
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
    return model.to(device), settings


def noise(crop: list[int], images: int) -> dict[str, Any]:
    """Return what mmseg's loaders give: images in uint8, with labels."""
    torch.manual_seed(0)
    height, width = crop
    samples = []
    for _ in range(images):
        labels = PixelData(data=torch.randint(0, CLASSES, (1, height, width)))
        meta = {"img_shape": (height, width), "ori_shape": (height, width)}
        samples.append(SegDataSample(metainfo=meta, gt_sem_seg=labels))
    inputs = [torch.randint(0, 256, (3, height, width), dtype=torch.uint8) for _ in range(images)]
    return {"inputs": inputs, "data_samples": samples}
