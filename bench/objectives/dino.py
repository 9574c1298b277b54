"""DINO on a ResNet-50: a student's softmax over many outputs matches that of a slow teacher, centred and sharpened.

Claim:     75.3 % ImageNet linear top-1 with ResNet-50 (the reference's README), by the recipe `imagenet_dino`: 800
           epochs, 2×224 + 6×96, 60,000 outputs, norms in the head. The defaults here are main_dino.py's, whose command
           for a ResNet-50 has no number beside it.
Paper:     Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (ICCV 2021), eq. 1 to 4.
Equation:  loss = mean over full views t and views v ≠ t of −Σ softmax((z′_t − c)/τ_t)·log softmax(z_v/τ_s);
           z = W·n(g(f(v))) with unit rows W, z′ of the teacher. After each step c ← m·c + (1 − m)·mean of z′ over all
           ranks and full views, teacher ← EMA of the student, its rate from τ₀ to 1 along a half cosine; τ_t rises
           from 0.04 to 0.07 at the start of the run.
Reference: facebookresearch/dino: main_dino.py, utils.py, vision_transformer.py.
Departs from it: the temperature rises at every step (there: epoch); shares of the run are counted in steps. With
           `norm_in_head`, linear layers before a norm have no bias (there they do; the norm takes it out). With
           gradient accumulation c moves at every micro-batch. The reference evaluates the teacher, as the configs do
           (export="target").
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.config.setting_types import AreaRange, Count, Positive, Share, Whole
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.losses.float32 import at_least_float32
from bench.losses.swapped import prototype_scores, swapped_prediction
from bench.nn.collectives import sum_over_ranks, world
from bench.nn.ema import target_of
from bench.nn.encoder import Encoder
from bench.nn.multi_crop import project_together
from bench.nn.seeding import seeded
from bench.objectives.moving_copies import MovingCopies


class DINO(MovingCopies):
    """DINO: a student matches the centred and sharpened softmax of a slow teacher, which sees full views only."""

    later: ClassVar[tuple[str, ...]] = ("norm_in_head",)

    center: Tensor
    teacher_temperature: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        outputs_dim: Count = 65536,
        hidden_dim: Count = 2048,
        bottleneck_dim: Count = 256,
        norm_in_head: bool = False,  # a batch norm after each hidden layer of the head
        student_temperature: Positive = 0.1,
        first_temperature: Positive = 0.04,
        last_temperature: Positive = 0.07,
        temperature_warmup: Share = 0.0625,  # share of the run: 50 epochs of 800
        center_momentum: Share = 0.9,
        tau0: Share = 0.996,
        freeze_share: Share = 0.00125,  # of the run, in which the last layer stays as it is: 1 epoch of 800
        global_scale: AreaRange = (0.14, 1.0),
        crops: Whole = 8,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, crops=crops, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = dino_head(encoder.feature_dim, hidden_dim, bottleneck_dim, norm_in_head)  # g
            self.last_layer = nn.Linear(bottleneck_dim, outputs_dim, bias=False)  # W, before its rows are normalised
        self.target_encoder, self.target_projector = target_of(encoder), target_of(self.projector)
        self.target_last_layer = target_of(self.last_layer)
        self.student_temperature, self.center_momentum, self.tau0 = student_temperature, center_momentum, tau0
        self.first_temperature, self.last_temperature = first_temperature, last_temperature
        self.temperature_warmup, self.freeze_share = temperature_warmup, freeze_share
        self.global_scale = (float(global_scale[0]), float(global_scale[1]))
        self.register_buffer("center", torch.zeros(outputs_dim))
        self.register_buffer("teacher_temperature", torch.tensor(first_temperature))

    def views(self, size: int) -> tuple[View, ...]:
        """BYOL's two views, of larger crops, then the small crops, blurred every other time."""
        pair = [replace(view, scale=self.global_scale) for view in BYOL_VIEWS(size)]
        return (*pair, *self.small_crops(View()))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        views = batch.views  # 2 of N×3×H×W, K of N×3×h×w
        w = F.normalize(self.last_layer.weight, dim=1)  # C×B
        z = [prototype_scores(x, w) for x in project_together(self.encoder, self.projector, views)]  # N×C
        with torch.no_grad():
            w = F.normalize(self.target_last_layer.weight, dim=1)
            t = project_together(self.target_encoder, self.target_projector, views[:2])
            t = [prototype_scores(x, w) for x in t]  # N×C
            p = [sharpened(each, self.center, self.teacher_temperature) for each in t]  # N×C
            mean = sum_over_ranks(torch.cat(t).mean(dim=0)) / world()  # C
            self.center.lerp_(mean.to(self.center.dtype), 1.0 - self.center_momentum)
        return {"loss": swapped_prediction(z, p, self.student_temperature)}

    def before_step(self, progress: float) -> None:
        """Hold the last layer at the start of the run."""
        if progress < self.freeze_share:
            self.last_layer.weight.grad = None

    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student, and set its temperature for the next step."""
        super().after_step(progress)
        share = min(1.0, progress / self.temperature_warmup) if self.temperature_warmup else 1.0
        self.teacher_temperature.fill_(
            self.first_temperature + share * (self.last_temperature - self.first_temperature)
        )


@at_least_float32
def sharpened(outputs: Tensor, center: Tensor, temperature: Tensor) -> Tensor:
    """Return softmax((z′ − c)/τ_t): N×C, C -> N×C."""
    return torch.softmax((outputs - center) / temperature, dim=1)


def dino_head(in_dim: int, hidden_dim: int, out_dim: int, norm: bool) -> nn.Sequential:
    """Return three linear layers with GELU between, N×in_dim -> N×out_dim, of truncated normal weights of 0.02.

    Source: vision_transformer.py:257-291 of the reference, without its last, normalised layer.

    Args:
        in_dim, hidden_dim, out_dim: their widths.
        norm: whether a batch norm stands before each GELU.
    """
    layers: list[nn.Module] = []
    for before in (in_dim, hidden_dim):
        layers += [
            nn.Linear(before, hidden_dim, bias=not norm),
            *([nn.BatchNorm1d(hidden_dim)] if norm else []),
            nn.GELU(),
        ]
    layers.append(nn.Linear(hidden_dim, out_dim))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
