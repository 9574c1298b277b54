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
Papers:    Grill et al. 2020 (BYOL); for loss2 see `bench/losses/`.
Reference: google-deepmind/deepmind-research, byol/, for loss1; none for the sum.
Departs from it: as `byol` does. That loss2 is `logistic` is a reading: its floor, .5032 at orthogonal negatives, and
           its independence of batch size and width fit those reports. With gradient accumulation, terms across
           images see one micro-batch (of all ranks), not the whole batch.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.config.setting_types import Count, Share, Weight
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.dense import dense_regression
from bench.losses.logistic import least_squares, logistic
from bench.losses.regression import multi_crop_regression
from bench.losses.uniformity import align_uniform
from bench.losses.variance_covariance import variance_covariance
from bench.nn.bootstrap import bootstrap_networks
from bench.nn.collectives import gather, rank
from bench.nn.ema import follow, target_of, target_rate
from bench.nn.encoder import Encoder
from bench.nn.heads import mlp, per_position
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.small_crops import SmallCrops

SecondLoss = Literal[
    "logistic", "logistic_centred", "least_squares", "dense_byol", "align_uniform", "variance_covariance"
]
# Of predictions and targets.
PAIRWISE = {"logistic": logistic, "logistic_centred": logistic, "least_squares": least_squares}


class TwoLoss(SmallCrops):
    """Two losses at once: BYOL's regression, and a second term from a slot (logistic by default)."""

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
        tau0: Share = 0.99,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        if loss1_weight == loss2_weight == 0:
            raise BadInput("objective.loss1_weight and objective.loss2_weight are both 0; set one of them above 0.")
        networks = bootstrap_networks(encoder, hidden_dim, projection_dim)
        self.projector, self.predictor, self.target_encoder, self.target_projector = networks
        self.loss2, self.loss1_weight, self.loss2_weight, self.tau0 = loss2, loss1_weight, loss2_weight, tau0
        if loss2 == "dense_byol":
            with seeded(encoder.seed, "dense heads"):
                self.dense_projector = mlp(encoder.feature_dim, hidden_dim, projection_dim)
                self.dense_predictor = mlp(projection_dim, hidden_dim, projection_dim)
            self.target_dense_projector = target_of(self.dense_projector)

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of BYOL, then the small crops."""
        return (*BYOL_VIEWS(size), *self.small_crops(View()))

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

    def after_step(self, progress: float) -> None:
        """Move the target towards the online network."""
        tau = target_rate(self.tau0, progress)
        follow(self.target_encoder, self.encoder, tau)
        follow(self.target_projector, self.projector, tau)
        if self.loss2 == "dense_byol":
            follow(self.target_dense_projector, self.dense_projector, tau)
