"""TaCo: contrast clips under changes of their temporal order or speed, and classify which change was made.

Claim:     85.1 % on UCF-101 and 51.6 % on HMDB-51 after fine-tuning a 3D network; none for frames' encoders.
Paper:     Bai et al., "Can Temporal Information Help with Contrastive Self-Supervised Learning?" (arXiv 2011.13046).
Equation:  loss = loss_contrast + task_weight·loss_task.
           loss_contrast = Σ_k −log softmax of cos(g_k(x₁), g_k(T_k(x₂)))/τ over the other clips' T_k(x₂), a mean over
           both directions, k over {identity, transforms}, each with a head g_k of its own; x₁, x₂ are two views.
           loss_task = cross-entropy of classifying which T_k was applied to a clip.
           T: speed (every second frame of twice as long), reverse, shuffle (any order but these two).
Reference: none is public; written from the paper.
Departs from it: the encoder is a ResNet of frames, so that it transfers as any other, and heads see the order of
           frames; negatives are the batch's (all ranks') instead of a queue's.
"""

from __future__ import annotations

from itertools import permutations
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.config.setting_types import Count, Positive
from bench.data.views import MOCO_V2_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.classification import cross_entropy
from bench.losses.contrastive import cross_view_nce
from bench.nn import draws
from bench.nn.clip import Clip
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.seeding import seeded
from bench.objectives.base import Objective

Transform = Literal["speed", "reverse", "shuffle"]


class TaCo(Objective):
    """TaCo: contrast between temporally transformed clips, and a prediction of the transformation."""

    needs_several_for = "other clips as negatives"

    def __init__(
        self,
        encoder: Encoder,
        *,
        frames: Annotated[int, Field(ge=3, le=7)] = 4,  # shorter clips have no order but two
        stride: Count = 2,
        transforms: tuple[Transform, ...] = ("speed", "reverse", "shuffle"),
        task_weight: float = 1.0,
        temperature: Positive = 0.2,
        hidden_dim: Count = 512,
        projection_dim: Count = 128,
    ) -> None:
        super().__init__(encoder)
        if not transforms or len(set(transforms)) < len(transforms):
            raise BadInput("objective.transforms must name transforms, none twice; set it to ('speed', 'reverse').")
        self.frames, self.stride, self.transforms = frames, stride, tuple(transforms)
        self.task_weight, self.temperature = task_weight, temperature
        forward = tuple(range(frames))
        others = [order for order in permutations(forward) if order not in (forward, forward[::-1])]
        self.register_buffer("orders", torch.tensor(others), persistent=False)  # every order but two, R×T
        width = frames * encoder.feature_dim
        with seeded(encoder.seed, "heads"):
            kinds = ("identity", *self.transforms)
            self.clip_heads = nn.ModuleDict({k: projection_mlp((width, hidden_dim, projection_dim)) for k in kinds})
            self.task_head = projection_mlp((width, hidden_dim, len(kinds)))

    def video(self) -> Clip:
        """Twice as many frames as it embeds, for twice the speed."""
        return Clip(2 * self.frames, self.stride)

    def views(self, size: int) -> tuple[View, ...]:
        """Two views of MoCo v2, for all frames of a clip alike."""
        return MOCO_V2_VIEWS(size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_contrast, loss_task."""
        v1, v2 = batch.views  # N×2T×3×h×w
        x1 = self._features(v1[:, : self.frames])  # N×T·F
        contrast, logits = [], []
        for kind, head in self.clip_heads.items():
            x2 = self._features(self._transformed(v2, kind))  # N×T·F
            contrast.append(self._contrast(head(x1), head(x2)))
            logits.append(self.task_head(x2))  # N×(K+1)
        loss_contrast = torch.stack(contrast).sum()
        scores = torch.stack(logits, dim=1)  # N×(K+1)×(K+1)
        which = torch.arange(scores.shape[1], device=scores.device).expand(len(scores), -1)
        loss_task = cross_entropy(scores.flatten(0, 1), which.flatten())
        loss = loss_contrast + self.task_weight * loss_task
        return {"loss": loss, "loss_contrast": loss_contrast.detach(), "loss_task": loss_task.detach()}

    def _transformed(self, window: Tensor, kind: str) -> Tensor:
        """N×2T×3×h×w -> N×T×3×h×w."""
        t = self.frames
        if kind == "speed":
            return window[:, ::2]
        if kind == "reverse":
            return window[:, :t].flip(1)
        if kind == "shuffle":
            orders: Tensor = self.get_buffer("orders")
            chosen = orders[draws.integers(len(window), high=len(orders), device=window.device)]  # N×T
            return window.gather(1, chosen[:, :, None, None, None].expand(-1, -1, *window.shape[2:]))
        return window[:, :t]

    def _features(self, clips: Tensor) -> Tensor:
        """N×T×3×h×w -> N×T·F, frame after frame."""
        return self.encoder(clips.flatten(0, 1)).view(len(clips), -1)

    def _contrast(self, a: Tensor, b: Tensor) -> Tensor:
        first = rank() * len(a)
        one = cross_view_nce(a, gather(b), self.temperature, first)
        return 0.5 * (one + cross_view_nce(b, gather(a), self.temperature, first))
