"""mmseg's models with a trunk in their backbone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import init_default_scope
from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch import Tensor, nn

from bench.architectures import parse_architecture
from bench.config.tasks import FastStep
from bench.nn.norm import convert_sync_batchnorm
from bench.randomness import reseed
from bench.stages.segmentation.fast import take_steps


def build_backbone(arch: str) -> nn.Module:
    """Return mmseg's undilated `ResNet` (7×7 stem, torchvision's key names): image -> (C2, C3, C4, C5)."""
    depth, width = parse_architecture(arch)
    return ResNet(depth=depth, stem_channels=width, base_channels=width, norm_cfg={"type": "BN"})


def build_model(
    settings: dict[str, Any],
    seed: int,
    *,
    synchronise: bool,
    device_type: str,
    channels_last: bool,
    fast: Sequence[FastStep] = (),
) -> nn.Module:
    """Build the segmentation model of an mmseg config's `model`; its first values are a function of the seed alone.

    With `synchronise` (several processes), batch statistics are shared, on the CPU by our own layer. Scores leave the
    classifying layers in float32. The attribute `notes` says which steps of `fast` the model takes, and why not.
    """
    init_default_scope("mmseg")
    reseed(seed, "segmentation", "build")  # some layers draw their first values when they are made
    with warnings.catch_warnings():  # that the loss averages over ignored pixels too: so mmseg's numbers are made
        warnings.simplefilter("ignore")
        model: Any = MODELS.build(settings)
    if synchronise and device_type == "cpu":
        model = convert_sync_batchnorm(model, device_type)
    for name, module in model.named_modules():
        if name.endswith("conv_seg"):
            module.register_forward_hook(_to_float32)
    model.notes = take_steps(model, fast)
    return model.to(memory_format=torch.channels_last) if channels_last else model


def _to_float32(module: nn.Module, inputs: Any, scores: Tensor) -> Tensor:
    del module, inputs
    return scores.float()
