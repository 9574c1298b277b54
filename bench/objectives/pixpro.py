"""PixPro: each position, smoothed by those that look like it, predicts what the other view has at the same spot.

Claim:     60.2 VOC detection AP (400 epochs on ImageNet), 77.2 Cityscapes mIoU (400 epochs, with an instance branch).
Paper:     Xie et al., "Propagate Yourself: Exploring Pixel-Level Consistency for Unsupervised Visual Representation
           Learning" (CVPR 2021), eq. 1 to 5.
Equation:  loss = −2·mean cos(y_i, z′_j) over positions i of view 1 and j of view 2 that show the same spot, plus the
           same with the views exchanged; in [−4, 4]. i and j do where their centres, followed through crop and flip,
           are less than 0.7 of the larger bin diagonal apart. A mean over pairs, then over images; an image whose views
           share no spot adds 0 and stays in the mean.
           y_i = Σ_j max(cos(x_i, x_j), 0)^γ · n(g(x_j)): x projections of one view, g linear, γ = 2, n(x) = x/‖x‖.
           z′ = projections of the target, which follows as BYOL's does, its rate from τ₀ = .99 to 1.
           loss = "pixcontrast" contrasts instead: −log of the share of those j in Σ_j exp(cos(x_i, z′_j)/τ), τ = .3,
           a mean over the i that have such a j, then over images; no g.
           With C small crops: (loss + Σ_c ℓ_c) / (1 + C); ℓ_c has the crop's positions as i, and as j those of view 1,
           plus the same with view 2. No crop goes through the target; one that shares no spot with a view adds 0.
Reference: zdaxie/PixPro, contrast/models/PixPro.py; PixContrast is not in it.
Departs from it: the target moves after the step, by the rate of that step; a layer before a norm has no bias; there is
           no instance branch. Places are shares of the image's width and height (there: of these less a pixel). The
           paper has no small crops; they are SwAV's (Caron et al., NeurIPS 2020).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from bench.config.setting_types import Count, Positive, Share
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.losses.dense import cosines_and_matches
from bench.losses.float32 import at_least_float32
from bench.losses.mean_over_crops import with_crops
from bench.nn.ema import target_of
from bench.nn.encoder import Encoder, check_positions
from bench.nn.heads import per_position, projection_mlp
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.moving_copies import MovingCopies


@at_least_float32
def dense_similarity(p: Tensor, z: Tensor, boxes_p: Tensor, boxes_z: Tensor, ratio: float = 0.7) -> Tensor:
    """Return the mean over images of the mean cos(p_i, sg z_j) over matches, as PixPro has it; scalar in [−1, 1].

    Arguments are as in `cosines_and_matches`. An image whose views share no spot adds 0 and stays in the mean.
    """
    cosine, matched = cosines_and_matches(p, z.detach(), boxes_p, boxes_z, ratio)  # N×S×S′
    return ((cosine * matched).sum((1, 2)) / matched.sum((1, 2)).clamp(min=1.0)).mean()


@at_least_float32
def dense_contrast(
    p: Tensor, z: Tensor, boxes_p: Tensor, boxes_z: Tensor, temperature: float, ratio: float = 0.7
) -> Tensor:
    """Return PixContrast (Xie et al. 2021, eq. 2): −log of the share of matches in Σ_j exp(cos(p_i, sg z_j)/τ).

    j runs over all positions of the same image's other view. A mean over the positions that have a match, then over
    images; arguments and images without a match are as in `dense_similarity`.
    """
    cosine, matched = cosines_and_matches(p, z.detach(), boxes_p, boxes_z, ratio)  # N×S×S′
    logits, matching = cosine / temperature, matched > 0
    positive = logits.masked_fill(~matching, torch.finfo(logits.dtype).min)
    rows = logits.logsumexp(2) - positive.logsumexp(2)  # N×S
    some = matching.any(2)
    return (torch.where(some, rows, 0.0).sum(1) / some.sum(1).clamp(min=1)).mean()


class PixPro(MovingCopies):
    """PixPro: each position, propagated from similar positions, predicts the same spot of the other view."""

    crops_like = View(interpolation="bilinear")
    crops_apart = True
    norm_groups: ClassVar[bool] = False  # norms in heads see positions
    mean_over_images: ClassVar[bool] = True
    later: ClassVar[tuple[str, ...]] = ("crops", "crop_size", "crop_scale")
    definition: ClassVar[int] = 2  # views are resized bilinearly

    def __init__(
        self,
        encoder: Encoder,
        *,
        loss: Literal["pixpro", "pixcontrast"] = "pixpro",
        hidden_dim: Count = 4096,
        projection_dim: Count = 256,
        gamma: Annotated[float, Field(ge=1)] = 2.0,  # below 1 the gradient has no bound at 0
        ratio: Positive = 0.7,
        temperature: Positive = 0.3,
        tau0: Share = 0.99,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, hidden_dim, projection_dim))
            if loss == "pixpro":
                self.transform = nn.Linear(projection_dim, projection_dim)
        self.target_encoder, self.target_projector = target_of(encoder), target_of(self.projector)
        self.loss, self.gamma, self.ratio, self.temperature, self.tau0 = loss, gamma, ratio, temperature, tau0

    @staticmethod
    def full_views(size: int) -> tuple[View, ...]:
        """BYOL's two views, but resized bilinearly (contrast/data/transform_coord.py)."""
        return tuple(replace(view, interpolation="bilinear") for view in BYOL_VIEWS(size))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views whose map is a single position, and crops that are not smaller than the views."""
        super().check(batch_size, view_size)
        check_positions(self.encoder, view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, and with small crops loss_global and loss_crops (its mean over crops)."""
        (v1, v2, *crops), (b1, b2, *boxes) = batch.views, batch.boxes  # N×3×H×W, C crops; N×5
        x1, x2 = self._online(v1), self._online(v2)  # N×h×w×D
        x_c = by_resolution(self._online, crops)  # C of N×h′×w′×D, in one forward
        with torch.no_grad():
            z1, z2 = (per_position(self.target_projector, self.target_encoder.last_map(v)) for v in (v1, v2))
        if self.loss == "pixcontrast":

            def pair(x: Tensor, z: Tensor, b_x: Tensor, b_z: Tensor) -> Tensor:
                return dense_contrast(x, z, b_x, b_z, self.temperature, self.ratio)

            loss = pair(x1, z2, b1, b2) + pair(x2, z1, b2, b1)
            return with_crops(loss, [pair(x, z1, b, b1) + pair(x, z2, b, b2) for x, b in zip(x_c, boxes, strict=True)])
        y1, y2, *y_c = (propagate(x, self.transform(x), self.gamma) for x in (x1, x2, *x_c))  # N×h×w×D
        r = self.ratio
        loss = -2.0 * (dense_similarity(y1, z2, b1, b2, r) + dense_similarity(y2, z1, b2, b1, r))
        small = [
            -2.0 * (dense_similarity(y, z1, b, b1, r) + dense_similarity(y, z2, b, b2, r))
            for y, b in zip(y_c, boxes, strict=True)
        ]
        return with_crops(loss, small)

    def _online(self, images: Tensor) -> Tensor:
        """The projection of each position: N×3×H×W -> N×h×w×D."""
        return per_position(self.projector, self.encoder.last_map(images))


@at_least_float32
def propagate(x: Tensor, values: Tensor, gamma: float) -> Tensor:
    """Return y_i = Σ_j max(cos(x_i, x_j), 0)^γ · n(values_j) over the positions of one view: N×h×w×D -> N×h×w×D."""
    unit = F.normalize(x.flatten(1, 2), dim=2)  # N×S×D
    attention = (unit @ unit.transpose(1, 2)).clamp(min=0.0) ** gamma  # N×S×S
    return (attention @ F.normalize(values.flatten(1, 2), dim=2)).view_as(values)
