"""Two losses at once: BYOL's regression, and a second term from a slot.

Claim:     none that is published. The runs that this follows report a second loss near .516 to .520 on every data set,
           alone or beside BYOL, and do not define it.
Equation:  loss = loss1_weight·loss1 + loss2_weight·loss2; loss1 is BYOL's, 4 − 4·cos summed over both directions; one
           of weight 0 is only logged. loss2 is one of
           logistic             ½·[mean softplus(−s⁺) + mean softplus(s⁻)], a mean over both directions; s is the
                                cosine of online predictions p and the other view's target projections z′; s⁺ pairs of
                                the same image, s⁻ of different images of the whole batch, over all ranks
           logistic_centred     logistic of predictions and targets less their means over the whole batch
           least_squares        ½·[mean (1 − s⁺)² + mean (1 + s⁻)²], otherwise as logistic
           dense_byol           as loss1, but between positions of C5 that show the same spot, with heads of their own
           align_uniform        alignment + uniformity (t = 2) of the online projections z of both views, over all ranks
           variance_covariance  VICReg's variance + covariance/25 of the online projections z, over all ranks
           With small crops (0 by default) loss1 is BYOL's with them, and the first three of the slot are means over the
           same pairs of a prediction and a target: each crop predicts both views' targets. No crop goes through the
           target. The other losses of the slot see the two full views alone.
Papers:    Grill et al. 2020 (BYOL); for loss2 see bench/objectives/two_loss.py.
Reference: google-deepmind/deepmind-research, byol/, for loss1; none for the sum.
Departs from it: as `byol` does. That loss2 is `logistic` is a reading: its floor, .5032 at orthogonal negatives, and
           its independence of batch size and width fit those reports. With gradient accumulation, terms across
           images see one micro-batch (of all ranks), not the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.config.setting_types import Count, Weight
from bench.data.views import Batch
from bench.errors import BadInput
from bench.losses.dense import cosines_and_matches
from bench.losses.float32 import at_least_float32
from bench.losses.pairwise import same_image
from bench.losses.regression import multi_crop_regression
from bench.losses.uniformity import align_uniform
from bench.losses.variance_covariance import covariance, variance
from bench.nn.collectives import gather, rank
from bench.nn.ema import target_of
from bench.nn.encoder import Encoder
from bench.nn.heads import mlp, per_position
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.byol import BYOL


@at_least_float32
def logistic(p: Tensor, z: Tensor, first: int = 0) -> Tensor:
    """Return ½·[mean softplus(−s⁺) + mean softplus(s⁻)] with s_ij = cos(p_i, sg z_j), a scalar.

    s⁺ are the pairs of the same image, s⁻ all pairs of different ones; the means are over n and n·(N − 1) pairs.

    No paper has it in this form. It is the NT-Logistic loss of Chen et al., "SimCLR" (ICML 2020, table 2) at
    temperature 1, with positives and negatives averaged separately, so that its value does not depend on the number of
    images: it lies in [.3133, 1.3133], and is .5032 for positives at cosine 1 and negatives at 0.

    Args:
        p: predictions n×D, of this rank.
        z: targets N×D, of all ranks; no gradient reaches them.
        first: the row of z that belongs to the first row of p.

    The mean of this over ranks with n rows each is the loss of the whole batch. Raises ValueError for rows that do not
    go together, and for fewer than two images (there would be no negative pair).
    """
    return _balanced(p, z, first, lambda s: F.softplus(-s), F.softplus)


@at_least_float32
def least_squares(p: Tensor, z: Tensor, first: int = 0) -> Tensor:
    """Return ½·[mean (1 − s⁺)² + mean (1 + s⁻)²] with s_ij = cos(p_i, sg z_j), a scalar; all else as in `logistic`.

    Squared distances to 1 and −1, as in LSGAN (Mao et al., ICCV 2017): in [0, 4], and .5 for positives at 1 and
    negatives at 0.
    """
    return _balanced(p, z, first, lambda s: (1 - s).square(), lambda s: (1 + s).square())


def _balanced(
    p: Tensor, z: Tensor, first: int, near: Callable[[Tensor], Tensor], far: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return half the sum of two means: `near` of the cosines of same images, and `far` of those of different ones."""
    n, total = len(p), len(z)
    if p.dim() != 2 or z.dim() != 2 or p.shape[1] != z.shape[1] or not 0 <= first <= total - n:
        raise ValueError(
            f"rows {first}…{first + n} of targets {tuple(z.shape)} do not fit predictions {tuple(p.shape)}"
        )
    if total < 2:
        raise ValueError("a loss over pairs needs at least two images: its negative pairs are of different images")
    s = F.normalize(p, dim=1) @ F.normalize(z.detach(), dim=1).T
    same = same_image(p, z, first)
    positive = near(s[same]).mean()
    negative = far(s).masked_fill(same, 0.0).sum() / (n * (total - 1))
    return 0.5 * (positive + negative)


@at_least_float32
def dense_regression(p: Tensor, z: Tensor, boxes_p: Tensor, boxes_z: Tensor, ratio: float = 0.7) -> Tensor:
    """Return one direction of the dense loss: the mean over images of the mean 2 − 2·cos(p_i, sg z_j) over matches.

    An image whose views share no spot adds 0 and stays in the mean, as in PixPro; so the mean over ranks is the loss of
    the whole batch. Scalar in [0, 4].

    Args:
        p: predictions at the positions of one view, N×h×w×D.
        z: targets at the positions of the other view, N×h′×w′×D; no gradient reaches them.
        boxes_p, boxes_z: where the two views lie, N×5 (see `centres`).
        ratio: how far apart matching centres may lie, in bin diagonals.

    Raises ValueError when the shapes do not go together.
    """
    cosine, matched = cosines_and_matches(p, z.detach(), boxes_p, boxes_z, ratio)  # N×S×S′
    per_image = ((2.0 - 2.0 * cosine) * matched).sum((1, 2)) / matched.sum((1, 2)).clamp(min=1.0)
    return per_image.mean()


def variance_covariance(x: Tensor, y: Tensor, covariance_weight: float = 0.04) -> Tensor:
    """Return ½·[var(x) + var(y)] + covariance_weight·[cov(x) + cov(y)] of two views, all ranks' rows N×D each.

    VICReg weighs invariance, variance and covariance 25 : 25 : 1. This is its sum over 25 without the invariance, so
    that the default has VICReg's proportions beside an invariance term of unit weight.
    """
    return 0.5 * (variance(x) + variance(y)) + covariance_weight * (covariance(x) + covariance(y))


SecondLoss = Literal[
    "logistic", "logistic_centred", "least_squares", "dense_byol", "align_uniform", "variance_covariance"
]
# Of predictions and targets.
PAIRWISE = {"logistic": logistic, "logistic_centred": logistic, "least_squares": least_squares}


class TwoLoss(BYOL):
    """Two losses at once: BYOL's regression, and a second term from a slot (logistic by default)."""

    norm_groups: ClassVar[bool] = False  # norms in heads of dense terms see positions
    mean_over_images: ClassVar[bool] = False  # most second losses compare images
    later: ClassVar[tuple[str, ...]] = ("loss2_weight", "crops", "crop_size", "crop_scale")

    def __init__(
        self,
        encoder: Encoder,
        *,
        loss2: SecondLoss = "logistic",
        loss1_weight: Weight = 1.0,
        loss2_weight: Weight = 1.0,
        hidden_dim: Count = 4096,
        projection_dim: Count = 256,
        **settings: Any,
    ) -> None:
        super().__init__(encoder, hidden_dim=hidden_dim, projection_dim=projection_dim, **settings)
        if loss1_weight == loss2_weight == 0:
            raise BadInput("objective.loss1_weight and objective.loss2_weight are both 0; set one of them above 0.")
        self.loss2, self.loss1_weight, self.loss2_weight = loss2, loss1_weight, loss2_weight
        if loss2 == "dense_byol":
            with seeded(encoder.seed, "dense heads"):
                self.dense_projector = mlp(encoder.feature_dim, hidden_dim, projection_dim)
                self.dense_predictor = mlp(projection_dim, hidden_dim, projection_dim)
            self.target_dense_projector = target_of(self.dense_projector)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss1 and loss2 (before their weights)."""
        v1, v2, *crops = batch.views  # N×3×H×W, K crops N×3×h×w
        r1, r2 = self.encoder.last_map(v1), self.encoder.last_map(v2)  # N×F×h×w
        z1, z2 = (self.projector(self.encoder.pool(r)) for r in (r1, r2))  # N×D
        p1, p2 = self.predictor(z1), self.predictor(z2)  # N×D
        small = by_resolution(nn.Sequential(self.encoder, self.projector, self.predictor), crops)  # K of N×D
        with torch.no_grad():
            t1, t2 = self.target_encoder.last_map(v1), self.target_encoder.last_map(v2)  # N×F×h×w
            y1, y2 = (self.target_projector(self.target_encoder.pool(t)) for t in (t1, t2))  # N×D
        loss1 = multi_crop_regression(p1, p2, small, y1, y2)
        if self.loss2 in PAIRWISE:
            first = rank() * len(p1)
            targets = gather(y1), gather(y2)  # of all ranks
            pairs = [(p1, targets[1]), (p2, targets[0]), *((p, y) for p in small for y in targets)]
            if self.loss2 == "logistic_centred":
                pairs = [(p - gather(p).mean(0), y - y.mean(0)) for p, y in pairs]
            loss2 = torch.stack([PAIRWISE[self.loss2](p, y, first) for p, y in pairs]).mean()
        elif self.loss2 == "align_uniform":
            loss2 = align_uniform(gather(z1), gather(z2))
        elif self.loss2 == "variance_covariance":
            loss2 = variance_covariance(gather(z1), gather(z2))
        else:
            loss2 = self._dense(r1, r2, t1, t2, batch.boxes[:2])
        loss = self.loss1_weight * loss1 + self.loss2_weight * loss2
        return {"loss": loss, "loss1": loss1.detach(), "loss2": loss2.detach()}

    def _dense(self, r1: Tensor, r2: Tensor, t1: Tensor, t2: Tensor, boxes: list[Tensor]) -> Tensor:
        """Both directions between positions, from online maps r and target maps t (N×F×h×w), boxes N×5."""
        head = nn.Sequential(self.dense_projector, self.dense_predictor)
        p1, p2 = per_position(head, r1), per_position(head, r2)  # N×h×w×D
        with torch.no_grad():
            y1, y2 = (per_position(self.target_dense_projector, t) for t in (t1, t2))  # N×h×w×D
        b1, b2 = boxes
        return dense_regression(p1, y2, b1, b2) + dense_regression(p2, y1, b2, b1)
