"""Contrastive predictive coding: from the rows above, tell the patches below from all others.

Claim:     about 63.8 % ImageNet linear top-1 with ResNet-50 (CPC v2, from memory of the paper); 48.7 % with v1's
           ResNet-101.
Paper:     van den Oord, Li and Vinyals (2018), eq. 3 and 4; Hénaff et al., "Data-Efficient Image Recognition with
           Contrastive Predictive Coding" (ICML 2020).
Equation:  loss = mean over directions, offsets k and positions of −log [exp(z_{r+k,j}ᵀ W_k c_{r,j}) /
           Σ_l exp(z_lᵀ W_k c_{r,j})], l over all positions of all images of all ranks; z is a linear map of f(patch),
           c the context net's sum of rows 0 … r, times 0.1 (`prediction_scale`). 256 pixels have 7×7 patches of 64
           pixels that overlap by half.
Reference: none that is official. The context net and the scale are those of the listing in Hénaff's appendix, checked
           in two public transcriptions of it (lightning-bolts' CPCTask among them), not in the paper itself.
Departs from it: the trunk is a ResNet-50 with batch norm, so that it converts as any other (there: none, or layer
           norm): norms over all patches would carry the answer from one patch of an image to another, so each of
           the grid's positions passes by itself and is normalised over images alone, which lets none through. Running
           statistics are those of whole images (an extra forward without gradient). z is the pooled C5, mapped to
           `target_dim`. Offset 1, whose patches overlap, is left out, as in v2, and 5 rows are the most, as in v1 (the
           listing's defaults predict offset 3 alone); a mean over offsets (there: a sum). W_k has no bias, as in the
           papers' equations (in the listing: one). Of v2's patch augmentation only dropped colours; the view is v1's
           (from memory of it), anywhere along the image's longer side.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bench.config.setting_types import Count, Positive
from bench.data.views import SQUARE_VIEW, Batch, View
from bench.errors import BadInput
from bench.losses.float32 import at_least_float32
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder
from bench.nn.image_statistics import unmoved_statistics
from bench.nn.patches import Grid, with_one_colour
from bench.nn.seeding import seeded
from bench.objectives.base import Objective


@at_least_float32
def position_nce(predictions: Tensor, targets: Tensor, positives: Tensor) -> Tensor:
    """Return the mean over predictions of −log softmax(predictions·targets) at each one's positive.

    Args:
        predictions: M×D, W_k·c of this rank.
        targets: T×D, z of all positions of all images of all ranks: all but the positive are negatives.
        positives: M int64, rows of targets.
    """
    return F.cross_entropy(predictions @ targets.T, positives)


class RowContext(nn.Module):
    """Residual blocks N×C×h×w -> N×C×h×w; row r of the result depends on rows 0 … r, on all of their columns.

    In a block: 1×1, ReLU, 1×3, the row itself and the one above (2×1, padded above), ReLU, 1×1. After all, a ReLU.

    Source: Hénaff et al. 2020, appendix.
    """

    def __init__(self, dim: int, hidden_dim: int, blocks: int) -> None:
        super().__init__()
        self.before = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(dim, hidden_dim, 1), nn.ReLU(), nn.Conv2d(hidden_dim, hidden_dim, (1, 3), padding=(0, 1))
            )
            for _ in range(blocks)
        )
        self.down = nn.ModuleList(nn.Conv2d(hidden_dim, hidden_dim, (2, 1)) for _ in range(blocks))
        self.after = nn.ModuleList(nn.Conv2d(hidden_dim, dim, 1) for _ in range(blocks))

    def forward(self, z: Tensor) -> Tensor:
        """Return the context of every position: N×C×h×w -> N×C×h×w."""
        c = z
        for before, down, after in zip(self.before, self.down, self.after, strict=True):
            x = down(F.pad(before(c), (0, 0, 1, 0)))  # a row of zeros above
            c = c + after(F.relu(x))
        return F.relu(c)


class CPC(Objective):
    """Contrastive predictive coding on ResNet-50: rows of overlapping patches, up to four directions."""

    needs_several_for = "negatives, which are other images"
    definition: ClassVar[int] = 3  # 2: the context net of the paper's listing, predictions times 0.1; 3: the view

    def __init__(
        self,
        encoder: Encoder,
        *,
        patch_size: Count = 64,
        first_offset: Count = 2,
        last_offset: Count = 5,
        directions: Annotated[int, Field(ge=1, le=4)] = 4,
        target_dim: Count = 64,
        context_dim: Count = 256,
        context_blocks: Count = 5,
        drop_colours: bool = True,
        prediction_scale: Positive = 0.1,
    ) -> None:
        super().__init__(encoder)
        if first_offset > last_offset:
            raise BadInput(
                f"objective.first_offset is {first_offset} and objective.last_offset {last_offset}; set the last to no "
                "less than the first."
            )
        self.patch_size, self.offsets = patch_size, range(first_offset, last_offset + 1)
        self.drop_colours, self.prediction_scale = drop_colours, prediction_scale
        width = encoder.feature_dim
        with seeded(encoder.seed, "cpc heads"):
            self.target = nn.Linear(width, target_dim)
            self.contexts = nn.ModuleList(RowContext(width, context_dim, context_blocks) for _ in range(directions))
            self.w = nn.ModuleList(  # one W_k for each offset, and each direction
                nn.ModuleList(nn.Linear(width, target_dim, bias=False) for _ in self.offsets) for _ in range(directions)
            )

    def views(self, size: int) -> tuple[View, ...]:
        """One square, from which the patches are cut, as 256 of 300 pixels (van den Oord et al. 2018, section 3.2)."""
        return (SQUARE_VIEW(size, 256 / 300),)

    def grid(self, view_size: int) -> Grid:
        """Return the grid that a view of that size has room for; patches overlap by half."""
        step = self.patch_size - self.patch_size // 2
        return Grid(max(0, view_size - self.patch_size) // step + 1, self.patch_size, -(self.patch_size // 2))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views with too few rows to predict, and a single image."""
        super().check(batch_size, view_size)
        grid = self.grid(view_size)
        grid.check(view_size)
        if grid.side <= self.offsets[-1]:
            need = self.patch_size + self.offsets[-1] * (self.patch_size - self.patch_size // 2)
            raise BadInput(
                f"A view of {view_size} pixels has {grid.side} rows of patches, too few to predict "
                f"{self.offsets[-1]} rows down; set view_size to {need} or more, or lower objective.last_offset."
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        (v,) = batch.views  # N×3×H×H
        n, grid = len(v), self.grid(v.shape[-1])
        g = grid.side
        f = self._features(v, grid).view(n, g, g, -1)  # N×g×g×F
        z = gather(self.target(f))  # N_all×g×g×D
        images = rank() * n + torch.arange(n, device=v.device)  # which of them are ours
        losses = []
        for turn, (context, maps) in enumerate(zip(self.contexts, self.w, strict=True)):
            c = context(f.rot90(turn, (1, 2)).movedim(-1, 1)).movedim(1, -1)  # N×g×g×F; rows go downwards
            targets = z.rot90(turn, (1, 2)).flatten(0, 2)  # (N_all·g·g)×D
            for k, w in zip(self.offsets, maps.children(), strict=True):
                row, column = torch.arange(k, g, device=v.device), torch.arange(g, device=v.device)
                positives = (images[:, None, None] * g + row[:, None]) * g + column  # N×(g−k)×g
                predictions = self.prediction_scale * w(c[:, : g - k]).flatten(0, 2)  # (N·(g−k)·g)×D
                # Computed again for the gradient: all these scores at once would be gigabytes.
                losses.append(checkpoint(position_nce, predictions, targets, positives.flatten(), use_reentrant=False))
        return {"loss": torch.stack(losses).mean()}

    def _features(self, v: Tensor, grid: Grid) -> Tensor:
        """Return f of all patches, N×g²×F: each position of the grid by itself, so that no norm joins two of them."""
        patches = grid.cut(v)  # N×g²×3×s×s
        if self.drop_colours:
            patches = with_one_colour(patches)
        with unmoved_statistics(self.encoder):
            f = torch.stack([self.encoder(patch) for patch in patches.unbind(1)], dim=1)
        with torch.no_grad():
            self.encoder(v)
        return f
