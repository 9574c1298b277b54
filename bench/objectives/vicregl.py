"""VICRegL: VICReg of whole views, and of positions that match by their features or by where they lie.

Claim:     71.2 % ImageNet linear top-1 and 54.0 mIoU of a linear segmentation head with ResNet-50 (α .9, 300 epochs).
Paper:     Bardes, Ponce and LeCun, "VICRegL" (NeurIPS 2022), eq. 1 to 6.
Equation:  loss = α·global + (1 − α)·(by feature + by location). Each is 25·invariance + 25·variance + covariance, the
           last two means over both sides. Local: of maps y, projected position by position, each position of one view
           gets its nearest in the other (of y, or of the position in the image), and the closest of these pairs stay:
           by feature `feature_matches` of them, all by default, by location `matches`, 20 and 4; a mean over both
           directions and both counts. The m-th pairs of all images are one sample, in the order of their positions.
           With small crops (0 by default) global is VICReg's with them (see `vicreg`): the mean invariance over pairs
           of a full view and another, the mean variance and covariance over all views. Positions are the full views'.
Reference: facebookresearch/VICRegL: main_vicregl.py, transforms.py, utils.py.
Departs from it: places are in shares of the image's width and height (there: pixels). Linear layers before a norm have
           no bias (there they do; the norm takes it out); images are divided by ImageNet's deviation of red, .229
           (there: .228); no linear classifier is trained alongside. Small crops, which its ResNet-50 does not have:
           there their colours are alternately those of either view, and they have local losses, too. With gradient
           accumulation variance and covariance are over the micro-batch (of all ranks).
           Where paper and code differ: the code's commands (no_flip_grid 1, transforms.py:327) leave the places of a
           mirrored view unmirrored, and match all positions by feature (l2_all_matches 1, main_vicregl.py:324); both
           are the defaults here. The paper's are flip_places=True and feature_matches=(20, 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.config.setting_types import Count, Share, Weight
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.losses.dense import centres
from bench.losses.float32 import at_least_float32
from bench.losses.pairwise import distances
from bench.losses.variance_covariance import view_terms
from bench.nn.collectives import gather
from bench.nn.encoder import Encoder
from bench.nn.heads import per_position, projection_mlp
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.small_crops import SmallCrops


@at_least_float32
def matched_terms(x: Tensor, y: Tensor) -> Tensor:
    """Return invariance, variance and covariance of matched positions, all ranks' rows: N×M×D, N×M×D -> 3.

    The m-th matches of all images are one sample: variance and covariance are over images, and means over m and both
    sides.
    """
    sides = torch.stack([x, y])  # 2×N×M×D
    n, d = x.shape[0], x.shape[-1]
    spread = F.relu(1.0 - torch.sqrt(sides.var(dim=1) + 1e-4)).mean()
    centred = (sides - sides.mean(dim=1, keepdim=True)).transpose(1, 2)  # 2×M×N×D
    matrices = centred.transpose(2, 3) @ centred / (n - 1)  # 2×M×D×D
    diagonal = torch.eye(d, dtype=torch.bool, device=x.device)
    redundancy = matrices.square().masked_fill(diagonal, 0.0).sum((2, 3)).mean() / d
    return torch.stack([F.mse_loss(x, y), spread, redundancy])


@torch.no_grad()
def nearest(distance: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    """Return (positions, their nearest on the other side) of the `count` closest pairs, in the order of positions.

    Args:
        distance: N×S×S′ between positions of two maps.
        count: M; None, or more than there are: all S.

    Returns:
        N×M each, int64. Each position of the first map has its nearest in the second, and the M with the smallest
        distance stay (main_vicregl.py:569-605).
    """
    smallest, partner = distance.min(dim=2)  # N×S
    kept = distance.shape[1] if count is None else min(count, distance.shape[1])
    positions = smallest.topk(kept, dim=1, largest=False).indices.sort(dim=1).values  # N×M
    return positions, partner.gather(1, positions)


def at(maps: Tensor, positions: Tensor) -> Tensor:
    """Return the vectors at positions: N×S×D, N×M -> N×M×D."""
    return maps.gather(1, positions[:, :, None].expand(-1, -1, maps.shape[2]))


def unflipped(boxes: Tensor) -> Tensor:
    """Return boxes N×5 as if no view were mirrored."""
    return torch.cat([boxes[:, :4], torch.zeros_like(boxes[:, 4:])], dim=1)


class VICRegL(SmallCrops):
    """VICRegL: VICReg of whole views, and of positions that match."""

    needs_several_for = "variances over the images of a batch"
    full_views = staticmethod(BYOL_VIEWS)
    crops_like = View()
    norm_groups: ClassVar[bool] = False  # norms in heads see positions
    later: ClassVar[tuple[str, ...]] = ("crops", "crop_size", "crop_scale")
    # 2: all positions are matched by feature, flips do not move places, and matches keep the order of positions.
    definition: ClassVar[int] = 2

    def __init__(
        self,
        encoder: Encoder,
        *,
        projection_dim: Count = 8192,
        local_dim: Count = 512,
        alpha: Share = 0.9,
        matches: tuple[Count, Count] = (20, 4),  # by location
        feature_matches: tuple[Count, Count] | None = None,  # None: all positions
        flip_places: bool = False,
        invariance_weight: Weight = 25.0,
        variance_weight: Weight = 25.0,
        covariance_weight: Weight = 1.0,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        self.weights = (invariance_weight, variance_weight, covariance_weight)
        self.alpha, self.matches, self.flip_places = alpha, tuple(matches), flip_places
        self.feature_matches = (None,) if feature_matches is None else tuple(feature_matches)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, *[projection_dim] * 3), bias=False)
            self.local_projector = projection_mlp((encoder.feature_dim, *[local_dim] * 3), bias=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_global, loss_feature, loss_location (before their weights)."""
        f = self.encoder
        full, crops = batch.views[:2], batch.views[2:]  # N×3×H×W, K crops N×3×h×w
        r = [f.last_map(v) for v in full]  # N×F×h×w
        z = [self.projector(f.pool(each)) for each in r]  # N×D
        z += by_resolution(lambda v: self.projector(f(v)), crops)  # K of N×D, in one forward
        y = [per_position(self.local_projector, each).flatten(1, 2) for each in r]  # N×S×D′
        boxes = batch.boxes[:2] if self.flip_places else [unflipped(box) for box in batch.boxes[:2]]
        place = [centres(box, *each.shape[2:]) for box, each in zip(boxes, r, strict=True)]  # N×S×2
        loss_global = self._weighted(view_terms([gather(each) for each in z]))
        loss_feature = self._local(y, distances(y[0], y[1]), self.feature_matches)
        loss_location = self._local(y, distances(place[0], place[1]), self.matches)
        loss = self.alpha * loss_global + (1.0 - self.alpha) * (loss_feature + loss_location)
        terms = {"loss_global": loss_global, "loss_feature": loss_feature, "loss_location": loss_location}
        return {"loss": loss} | {name: term.detach() for name, term in terms.items()}

    def _local(self, y: list[Tensor], distance: Tensor, counts: Sequence[int | None]) -> Tensor:
        """VICReg of the closest pairs, from either side and of each count: maps N×S×D′, distances N×S×S′ -> scalar."""
        losses = []
        for (side, other), apart in (((0, 1), distance), ((1, 0), distance.transpose(1, 2))):
            for count in counts:
                positions, partners = nearest(apart, count)  # N×M
                losses.append(
                    self._weighted(
                        matched_terms(gather(at(y[side], positions)), gather(at(y[other], partners)))  # N×M×D′
                    )
                )
        return torch.stack(losses).mean()

    def _weighted(self, terms: Tensor) -> Tensor:
        s, v, c = self.weights
        return s * terms[0] + v * terms[1] + c * terms[2]
