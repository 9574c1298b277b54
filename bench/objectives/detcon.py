"""DetCon: contrast the regions of an image, by annotated masks or by segments computed from colours.

Claim:     about 77.0 Cityscapes mIoU (DetConB, 300 epochs on ImageNet; from memory of the paper). No number is known
           for the published code, whose preset is 100 epochs and whose checkpoints are of 1,000 (its issue 4).
Paper:     Hénaff et al., "Efficient Visual Pretraining with Contrastive Detection" (ICCV 2021), eq. 1 to 3.
Equation:  of each view 16 regions are sampled; h_r = the mean of C5 over the positions of region r.
           loss = the mean over images and regions of view 1 of −log softmax of cos(p_r, z_s)/τ, τ = .1, s the same
           region of view 2, among all regions of all images in both views but r itself in its own; plus the same with
           the views exchanged. Weights for regions that were sampled several times are in bench/objectives/detcon.py.
           variant b: p = q(g(h)) of the online network, z = g′(h′) of a target that follows as BYOL's does, τ₀ = .996.
           variant s: p = z = g(h), as SimCLR.
           A position of C5 belongs to the region that most of its pixels have; regions are drawn with replacement,
           each that a view shows with the same probability.
           With C small crops: (loss + Σ_c ℓ_c) / (1 + C); ℓ_c has a crop's regions as r, s in view 1, among all regions
           of both views but those of its own number in its image's view 2; plus the same with the views exchanged. No
           crop goes through the target, and no region of one is a candidate.
Views:     variant b: BYOL's; variant s: SimCLR's.
Reference: google-deepmind/detcon: detcon_b.py, utils/losses.py, utils/augmentations.py. It has variant b alone.
Departs from it: the target starts as a copy of the online network (there: drawn separately); layers start as
           torch's and torchvision's do; brightness is a factor (there: a sum), and a crop that does not fit is drawn
           anew (there: cut off). Segments are computed on at most 160 pixels a side, their scale and least size in
           proportion to the area (there: 1,000 at the image's own size), and numbers above 255 are one (there: taken
           modulo 256). No linear classifier is trained alongside. `objects` has all that is no object as one region.
           With gradient accumulation candidates are the micro-batch's (of all ranks). The paper has no small crops;
           they are SwAV's (Caron et al., NeurIPS 2020).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.config.setting_types import Count, Positive, Share
from bench.data.views import BYOL_VIEWS, SIMCLR_VIEWS, Batch, View
from bench.losses.float32 import at_least_float32
from bench.losses.mean_over_crops import with_crops
from bench.nn import draws
from bench.nn.bootstrap import bootstrap_networks
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder, check_positions
from bench.nn.heads import mlp
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.moving_copies import MovingCopies


@at_least_float32
def detcon(
    p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor, ids1: Tensor, ids2: Tensor, temperature: float, first: int = 0
) -> Tensor:
    """Return the loss of both directions, their sum; each is a mean over the n·M regions of one view.

    A region r of an image is compared with all regions of all images in the other view (z₂) and in its own (z₁), except
    those of its own image and view that have its number. Its positives are the regions of its own image in the other
    view with its number; if there are several, the mean of their −log softmax counts. A region without any adds 0; one
    that was sampled c times in its view counts 1/c each time.

    Args:
        p1, p2: predictions from the regions of each view, n×M×D, of this rank.
        z1, z2: targets N×M×D, of all ranks; gradients reach them unless the caller detaches them.
        ids1, ids2: numbers of the regions, n×M, of this rank; they mean the same in both views of an image.
        temperature: τ.
        first: the image of z that belongs to the first of p.

    Raises ValueError for shapes that do not go together.
    """
    n, m = ids1.shape
    fits = p1.shape == p2.shape and z1.shape == z2.shape and p1.shape[1:] == z1.shape[1:] and ids2.shape == (n, m)
    if not fits or p1.shape[:2] != (n, m) or not 0 <= first <= len(z1) - n:
        shapes = [tuple(tensor.shape) for tensor in (p1, p2, z1, z2, ids1, ids2)]
        raise ValueError(f"detcon wants n×M×D twice, N×M×D twice and n×M twice, with {first} + n ≤ N, got {shapes}")
    p1, p2, z1, z2 = (F.normalize(x, dim=2) for x in (p1, p2, z1, z2))
    return _direction(p1, z2, z1, ids1, ids2, temperature, first) + _direction(
        p2, z1, z2, ids2, ids1, temperature, first
    )


@at_least_float32
def detcon_crop(
    p: Tensor,
    z1: Tensor,
    z2: Tensor,
    ids: Tensor,
    ids1: Tensor,
    ids2: Tensor,
    temperature: float,
    first: int = 0,
) -> Tensor:
    """Return the loss of a small crop's regions: with view 1 as `detcon`'s other view, plus with view 2.

    The view without the positive provides candidates as the anchor's view does in `detcon`: all but the regions of the
    crop's image that have the anchor's number. No region of a crop is a candidate.

    Args:
        p: predictions from the crop's regions, n×M×D, of this rank.
        z1, z2, ids1, ids2, temperature, first: as in `detcon`.
        ids: numbers of the crop's regions, n×M, of this rank.
    """
    p, z1, z2 = (F.normalize(x, dim=2) for x in (p, z1, z2))
    return _direction(p, z1, z2, ids, ids1, temperature, first, ids2) + _direction(
        p, z2, z1, ids, ids2, temperature, first, ids1
    )


def _direction(
    p: Tensor,
    other: Tensor,
    same_view: Tensor,
    ids: Tensor,
    ids_other: Tensor,
    temperature: float,
    first: int,
    ids_same_view: Tensor | None = None,
) -> Tensor:
    """Return the loss of one direction, a scalar.

    Args:
        p: predictions from the regions of one view, n×M×D.
        other: targets of the other view, N×M×D.
        same_view: those of the same view, or of one whose regions have the numbers `ids_same_view`.
        ids, ids_other, ids_same_view: numbers of the regions, n×M; `ids_same_view` None: as `ids`.
        temperature, first: as in `detcon`.
    """
    n = len(ids)
    across = torch.einsum("nmd,ukd->nmuk", p, other) / temperature  # n×M×N×M
    within = torch.einsum("nmd,ukd->nmuk", p, same_view) / temperature  # n×M×N×M
    image = torch.arange(n, device=p.device)
    same = ids[:, :, None] == ids[:, None, :]  # n×M×M, in the same view
    itself = torch.zeros_like(within, dtype=torch.bool)
    itself[image, :, first + image] = same if ids_same_view is None else ids[:, :, None] == ids_same_view[:, None, :]
    candidates = torch.cat([across.flatten(2), within.masked_fill(itself, -math.inf).flatten(2)], dim=2)
    positive = (ids[:, :, None] == ids_other[:, None, :]).to(across.dtype)  # n×M×M
    count = positive.sum(2)  # n×M
    attraction = (positive * across[image, :, first + image]).sum(2) / count.clamp(min=1.0)
    weight = (count > 0).to(across.dtype) / same.sum(2)
    return (weight * (candidates.logsumexp(2) - attraction)).mean()


class DetCon(MovingCopies):
    """DetCon: contrast between regions of images, from annotated masks or segments of similar colour."""

    crops_apart = True
    norm_groups: ClassVar[bool] = False  # norms in heads see positions
    later: ClassVar[tuple[str, ...]] = ("crops", "crop_size", "crop_scale")
    view_backends: ClassVar[tuple[str, ...]] = ("reference", "fast")
    # 2: variant b has BYOL's views.
    definition: ClassVar[int] = 2

    def __init__(
        self,
        encoder: Encoder,
        *,
        variant: Literal["b", "s"] = "b",
        masks: Literal["segments", "objects"] = "segments",
        regions: Count = 16,
        hidden_dim: Count = 4096,
        projection_dim: Count = 256,
        temperature: Positive = 0.1,
        tau0: Share = 0.996,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        if variant == "b":
            networks = bootstrap_networks(encoder, hidden_dim, projection_dim)
            self.projector, self.predictor, self.target_encoder, self.target_projector = networks
        else:
            with seeded(encoder.seed, "heads"):
                self.projector = mlp(encoder.feature_dim, hidden_dim, projection_dim)
        self.map = masks
        self.variant, self.regions, self.temperature, self.tau0 = variant, regions, temperature, tau0

    def views(self, size: int) -> tuple[View, ...]:
        """The two views, of BYOL (variant b) or SimCLR (s), then the small crops."""
        if self.variant == "b":
            return (*BYOL_VIEWS(size), *self.small_crops(View()))
        pair = SIMCLR_VIEWS(size)
        return (*pair, *self.small_crops(pair[0]))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views whose map is a single position: it has one region; and crops that are not smaller."""
        super().check(batch_size, view_size)
        check_positions(self.encoder, view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, and with small crops loss_global and loss_crops (its mean over crops)."""
        assert batch.masks is not None
        (v1, v2, *crops), (m1, m2, *m_c) = batch.views, batch.masks  # N×3×H×W, N×H×W; C crops
        c1, c2 = self.encoder.last_map(v1), self.encoder.last_map(v2)  # N×C×h×w
        c_c = by_resolution(self.encoder.last_map, crops)  # N×C×h′×w′, in one forward
        (ids1, w1), (ids2, w2) = self._sample(m1, c1), self._sample(m2, c2)  # N×M, N×M×S
        z1, z2 = self._project(self.projector, c1, w1), self._project(self.projector, c2, w2)  # N×M×D
        sampled = [self._sample(m, c) for m, c in zip(m_c, c_c, strict=True)]
        small = [self._project(self.projector, c, w) for c, (_, w) in zip(c_c, sampled, strict=True)]  # N×M×D
        if self.variant == "s":
            p1, p2, p_c, t1, t2 = z1, z2, small, z1, z2
        else:
            p1, p2, *p_c = (self.predictor(z.flatten(0, 1)).view_as(z) for z in (z1, z2, *small))  # N×M×D
            with torch.no_grad():
                t1 = self._project(self.target_projector, self.target_encoder.last_map(v1), w1)  # N×M×D
                t2 = self._project(self.target_projector, self.target_encoder.last_map(v2), w2)
        t1, t2, first = gather(t1), gather(t2), rank() * len(v1)
        loss = detcon(p1, p2, t1, t2, ids1, ids2, self.temperature, first)
        return with_crops(
            loss,
            [
                detcon_crop(p, t1, t2, ids, ids1, ids2, self.temperature, first)
                for p, (ids, _) in zip(p_c, sampled, strict=True)
            ],
        )

    def _sample(self, masks: Tensor, c5: Tensor) -> tuple[Tensor, Tensor]:
        """Regions of maps N×H×W on C5: their numbers N×M, and the positions' weights of each, N×M×S, which sum to 1."""
        at = regions_at(masks, c5.shape[2], c5.shape[3])  # N×S
        ids = sample_regions(at, draws.uniform(len(at), self.regions, like=c5.float()))  # N×M
        inside = (ids[:, :, None] == at[:, None, :]).to(c5.dtype)  # N×M×S
        return ids, inside / inside.sum(2, keepdim=True)

    def _project(self, projector: torch.nn.Module, c5: Tensor, weights: Tensor) -> Tensor:
        """The head on each region's mean feature: N×C×h×w, N×M×S -> N×M×D."""
        pooled = weights @ c5.flatten(2).transpose(1, 2)  # N×M×C
        return projector(pooled.flatten(0, 1)).unflatten(0, pooled.shape[:2])


def regions_at(masks: Tensor, h: int, w: int) -> Tensor:
    """Return the number that most pixels of each of h×w cells have, the least of several: N×H×W -> N×(h·w) int64."""
    down, across = masks.shape[1] // h, masks.shape[2] // w
    cells = masks[:, : h * down, : w * across].unflatten(2, (w, across)).unflatten(1, (h, down))  # N×h×down×w×across
    return cells.transpose(2, 3).reshape(len(masks), h * w, down * across).mode(dim=2).values.long()


def sample_regions(at: Tensor, uniform: Tensor) -> Tensor:
    """Return regions by numbers in [0, 1), with replacement, all present ones equally likely: N×S, N×M -> N×M.

    Args:
        at: the region of each position.
        uniform: the numbers.
    """
    size = (at[:, :, None] == at[:, None, :]).sum(2)  # N×S, positions of the same region
    up_to = (1.0 / size).to(uniform.dtype).cumsum(1)  # N×S; the last is the number of regions
    place = torch.searchsorted(up_to, uniform * up_to[:, -1:], right=True).clamp(max=at.shape[1] - 1)
    return at.gather(1, place)
