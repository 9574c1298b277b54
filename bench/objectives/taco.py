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
           frames; negatives are the batch's (all ranks') instead of a queue's. Each frame passes the trunk once, for
           all the T_k that show it, and clips of all kinds pass the task's head together: were a batch norm given one
           kind at a time, as by a forward for each, its statistics would tell the kind, and the task be solved in
           training alone.
"""

from __future__ import annotations

from itertools import permutations
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.config.setting_types import Count, Positive
from bench.data.views import MOCO_V2_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.classification import cross_entropy, top1_percent
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
    definition: ClassVar[int] = 2  # since kinds share their forward: 1 had norms of one kind each

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
        """Terms: loss, loss_contrast, loss_task, top1_percent (of the task)."""
        t = self.frames
        v1, v2 = batch.views  # N×2T×3×h×w
        window = v2 if "speed" in self.clip_heads else v2[:, :t]
        f1, f2 = self._features(torch.cat([v1[:, :t], window], dim=1)).split([t, window.shape[1]], dim=1)  # N×t×F
        x1 = f1.flatten(1)  # N×T·F
        x2 = [self._transformed(f2, kind).flatten(1) for kind in self.clip_heads]  # each N×T·F
        pairs = zip(self.clip_heads.values(), x2, strict=True)
        loss_contrast = torch.stack([self._contrast(head(x1), head(x)) for head, x in pairs]).sum()
        scores = self.task_head(torch.cat(x2))  # (K+1)·N×(K+1), one kind after another
        which = torch.arange(len(x2), device=scores.device).repeat_interleave(len(x1))
        loss_task = cross_entropy(scores, which)
        return {
            "loss": loss_contrast + self.task_weight * loss_task,
            "loss_contrast": loss_contrast.detach(),
            "loss_task": loss_task.detach(),
            "top1_percent": top1_percent(scores, which),
        }

    def _transformed(self, window: Tensor, kind: str) -> Tensor:
        """Frames of N×2T×… (N×T×… where no kind is `speed`) -> N×T×…."""
        t = self.frames
        if kind == "speed":
            return window[:, ::2]
        if kind == "reverse":
            return window[:, :t].flip(1)
        if kind == "shuffle":
            orders: Tensor = self.get_buffer("orders")
            chosen = orders[draws.integers(len(window), high=len(orders), device=window.device)]  # N×T
            rows = torch.arange(len(window), device=window.device)[:, None]
            return window[rows, chosen]
        return window[:, :t]

    def _features(self, frames: Tensor) -> Tensor:
        """N×W×3×h×w -> N×W×F, all in one forward."""
        return self.encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def _contrast(self, a: Tensor, b: Tensor) -> Tensor:
        first = rank() * len(a)
        one = cross_view_nce(a, gather(b), self.temperature, first)
        return 0.5 * (one + cross_view_nce(b, gather(a), self.temperature, first))
