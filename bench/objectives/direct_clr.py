"""DirectCLR: contrast a part of the features themselves, without a projector; or with one, to compare.

Claim:     62.7 % ImageNet linear top-1 with ResNet-50 (100 epochs, batch 4096; the reference's README). The paper's
           other projectors under the same loss and views, from memory of it: about 51.5 without one, 61.1 linear, 66.5
           an MLP of two layers.
Paper:     Jing et al., "Understanding Dimensional Collapse in Contrastive Self-supervised Learning" (ICLR 2022).
Equation:  z = r[:d₀], the first d₀ of the features r = f(v), normalised after the cut; loss = ½·(ℓ₁₂ + ℓ₂₁),
           ℓ₁₂ = mean_i −log e^{s_ii/τ} / Σ_j e^{s_ij/τ}, s_ij = cos(z_i¹, z_j²): candidates of the other view alone, of
           all ranks. `projector` puts another map in the cut's place:
             subvector  the cut
             none       z = r
             linear     one matrix without bias to projection_dim
             mlp        linear, norm, ReLU, linear, norm, neither with a bias; both norms with scale and shift
             diagonal   one weight a dimension
             low_rank   a fixed map of rank projector_rank
           With C small crops: (loss + Σ_c ℓ_c) / (1 + C); ℓ_c has the crop's z as the anchor, either view of the same
           image as the positive (a mean over both), and that view's other images as negatives.
Reference: facebookresearch/directclr, directclr/main.py (modes directclr, baseline, single, simclr) and utils.py.
           (lightly's DirectCLRLoss is another loss: it has negatives of the same view.)
Departs from it: `diagonal` and `low_rank` are of the paper and not in its code, whose mode `group` is not here. No
           linear classifier is trained alongside (there on features without gradient). With gradient accumulation
           negatives are the micro-batch's. The paper has no small crops; they are SwAV's (Caron et al., NeurIPS 2020).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from bench.config.setting_types import Count, Positive
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.contrastive import cross_view_nce
from bench.losses.mean_over_crops import with_crops
from bench.nn.collectives import gather, rank_rows
from bench.nn.encoder import Encoder
from bench.nn.heads import Subvector, simclr_projector
from bench.nn.multi_crop import by_resolution
from bench.objectives.small_crops import SmallCrops


class DirectCLR(SmallCrops):
    """DirectCLR: InfoNCE between the first d0 features of two views, no projector."""

    needs_several_for = "negatives, which are other images"
    full_views = staticmethod(BYOL_VIEWS)
    crops_like = View()
    later: ClassVar[tuple[str, ...]] = ("crops", "crop_size", "crop_scale")
    # 2: the views are BYOL's, and each goes through the networks by itself.
    definition: ClassVar[int] = 2

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector: Literal["subvector", "none", "linear", "mlp", "diagonal", "low_rank"] = "subvector",
        d0: Count = 360,
        projector_rank: int = 360,
        hidden_dim: Count = 2048,
        projection_dim: Count = 128,
        temperature: Positive = 0.1,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        self.temperature = temperature
        self.projector: nn.Module
        if projector == "subvector":
            if d0 > encoder.feature_dim:
                raise BadInput(f"objective.d0 is {d0}; set it within 1 and the {encoder.feature_dim} features.")
            self.projector = Subvector(d0)
        else:
            self.projector = simclr_projector(
                encoder,
                projector,
                layers=2,
                hidden_dim=hidden_dim,
                projection_dim=projection_dim,
                rank=projector_rank,
                last_shift=True,
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, and with small crops loss_global and loss_crops (its mean over crops)."""
        v1, v2, *crops = batch.views  # n×3×H×W, C crops n×3×h×w
        project = nn.Sequential(self.encoder, self.projector)
        z1, z2 = project(v1), project(v2)  # n×D; each view by itself, with its own batch statistics
        small = by_resolution(project, crops)  # C of n×D, in one forward
        rows, tau = rank_rows(len(z1)), self.temperature
        y1, y2 = gather(z1), gather(z2)  # N×D, all ranks'
        ell_12 = cross_view_nce(y1[rows], y2, tau, rows.start)
        ell_21 = cross_view_nce(y2[rows], y1, tau, rows.start)
        losses = [
            0.5 * (cross_view_nce(c, y1, tau, rows.start) + cross_view_nce(c, y2, tau, rows.start)) for c in small
        ]
        return with_crops(0.5 * (ell_12 + ell_21), losses)
