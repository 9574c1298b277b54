"""BYOL with local patches that predict the other view's global target; optionally symmetric and gated.

Claim:     none that is published. In the runs that this follows, such a continuation of BYOL raised segmentation and
           cost classification; they give no formula.
Equation:  loss = loss_global + patch_weight·loss_patch.
           loss_global is BYOL's, 4 − 4·cos summed over both directions of the pair of views.
           loss_patch = mean over patches and images of w·(2 − 2·cos(p, z′₂)), p the prediction from a patch, z′₂ the
           target projection of the whole second view. Patches, by `sampling`:
             grid    the k×k tiles of the first view, k² = patches
             random  crops of the image (patch_scale of its area, patch_size pixels), drawn anew at every step
           `symmetric` adds the other direction, as in BYOL a sum: with grid, the tiles of the second view predict z′₁;
           with random, every patch predicts z′₁, too.
           w = exp(−|δ|/T), T = gate_temperature, δ = ‖n(p) − n(z′)‖ in [0, 2], without gradient: a patch that is far
           from the whole counts less, down to exp(−2/T), .67 at T = 5. Without gate_temperature w is 1.
Papers:    Grill et al. 2020 (BYOL); small crops without a target of their own: Caron et al., "SwAV" (NeurIPS 2020).
Reference: none. All of this is a reading of run names ("4p", "8new", "sys4", "T5").
Departs from it: as `byol` does. All patches of a step go through one forward, since they are of one resolution (as in
           SwAV), while each global view has its own. It has no `crops`: with sampling="random" its patches are they.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from bench.config.setting_types import AreaRange, Count, CropSize, Positive, Share, Weight
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.regression import regression_rows, symmetric_regression
from bench.nn.encoder import Encoder
from bench.objectives.byol import BYOL


class PatchBYOL(BYOL):
    """BYOL with local patches that predict the other view's global target; optionally symmetric and gated."""

    later: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        encoder: Encoder,
        *,
        patches: Count = 4,
        sampling: Literal["grid", "random"] = "grid",
        patch_size: CropSize = 96,
        patch_scale: AreaRange = (0.05, 0.25),
        patch_weight: Weight = 1.0,
        symmetric: bool = False,
        gate_temperature: Positive | None = None,
        hidden_dim: Count = 4096,
        projection_dim: Count = 256,
        tau0: Share = 0.99,
    ) -> None:
        super().__init__(encoder, hidden_dim=hidden_dim, projection_dim=projection_dim, tau0=tau0)
        if sampling == "grid" and math.isqrt(patches) ** 2 != patches:
            raise BadInput(
                f"objective.patches is {patches}, but a grid has 4, 9, 16, …; set objective.sampling='random'."
            )
        self.patches, self.sampling, self.patch_size = patches, sampling, patch_size
        self.patch_scale = (float(patch_scale[0]), float(patch_scale[1]))
        self.patch_weight, self.symmetric, self.gate_temperature = patch_weight, symmetric, gate_temperature

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of BYOL, and for `random` the patches."""
        pair = BYOL_VIEWS(size)
        if self.sampling == "grid":
            return pair
        return (*pair, View(size=self.patch_size, scale=self.patch_scale, count=self.patches))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_global, loss_patch (before its weight), and with a gate its mean weight, gate."""
        v1, v2, *crops = batch.views  # N×3×H×W, K crops N×3×h×w
        p1, p2 = self._predict(v1), self._predict(v2)  # N×D
        with torch.no_grad():
            z1, z2 = (self.target_projector(self.target_encoder(v)) for v in (v1, v2))  # N×D
        loss_global = symmetric_regression(p1, p2, z1, z2)
        if self.sampling == "grid":
            directions = [(tiles(v1, self.patches), z2)]
            if self.symmetric:
                directions.append((tiles(v2, self.patches), z1))
            pairs = [(self._predict_all(patches), target) for patches, target in directions]
        else:
            q = self._predict_all(crops)  # K×N×D
            pairs = [(q, z2), (q, z1)] if self.symmetric else [(q, z2)]
        losses, weights = zip(*(self._patch_loss(q, z) for q, z in pairs), strict=True)
        loss_patch = torch.stack(losses).sum()
        loss = loss_global + self.patch_weight * loss_patch
        terms = {"loss": loss, "loss_global": loss_global.detach(), "loss_patch": loss_patch.detach()}
        return terms if self.gate_temperature is None else terms | {"gate": torch.stack(weights).mean()}

    def _predict(self, images: Tensor) -> Tensor:
        """q(g(f(x))): N×3×H×W -> N×D."""
        return self.predictor(self.projector(self.encoder(images)))

    def _predict_all(self, patches: Sequence[Tensor]) -> Tensor:
        """K patches N×3×h×w -> predictions K×N×D, in one forward."""
        return self._predict(torch.cat(list(patches))).unflatten(0, (len(patches), -1))

    def _patch_loss(self, q: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions K×N×D and the target N×D -> the mean of the gated regression, and of the gate."""
        rows = regression_rows(q, z.expand_as(q))  # K×N; 2 − 2·cos is the squared distance of the unit vectors
        if self.gate_temperature is None:
            return rows.mean(), torch.ones_like(rows).mean()
        weight = gate(rows.detach().clamp(min=0.0).sqrt(), self.gate_temperature)  # K×N
        return (weight * rows).mean(), weight.mean()


def tiles(images: Tensor, count: int) -> list[Tensor]:
    """Cut images N×3×H×W into k×k tiles N×3×⌊H/k⌋×⌊W/k⌋, row by row; `count` is k²."""
    k = math.isqrt(count)
    h, w = images.shape[2] // k, images.shape[3] // k
    return [images[:, :, i * h : (i + 1) * h, j * w : (j + 1) * w] for i in range(k) for j in range(k)]


def gate(distance: Tensor, temperature: float) -> Tensor:
    """Return exp(−|δ|/T): 1 at distance 0, and for every distance as T goes to infinity."""
    return torch.exp(-distance.abs() / temperature)
