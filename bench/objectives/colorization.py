"""Colorization: which colours has a grey photograph?

Claim:     40.11 % ImageNet linear top-1 with ResNet-50 (Goyal et al. 2019, in VISSL's model zoo).
Paper:     Zhang, Isola and Efros, "Colorful Image Colorization" (ECCV 2016), eq. 2 to 4.
Equation:  loss = −mean_{i,h,w} v(q*)·Σ_q Z_q log softmax(g(f(L)))_q: Z are soft labels over bins of the ab plane
           (five nearest, σ = 5), q* is the nearest, v ∝ 1/((1 − λ)·p̃ + λ/Q), λ = ½, E[v] = 1, as most pixels are
           greyish.
Reference: richzhang/colorization.
Departs from it: a ResNet-50 and a decoder from C5 to every fourth pixel (there: a VGG-like network at stride 4). The
           trunk gets L as three equal channels, the grey image, normalised as any other, so that it transfers to RGB
           with its first convolution as it is. Bins are our derivation of the gamut (261, there 313). The prior p̃
           is the running distribution of the data trained on, from uniform at the start: it fits any data set and
           needs no file (there: of ImageNet, once). The loss is a mean over pixels (there: a sum).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.config.setting_types import Count, Rate
from bench.data.views import Batch
from bench.losses.soft_bins import soft_cross_entropy
from bench.nn.collectives import sum_over_ranks, world
from bench.nn.colour import from_lab, lab
from bench.nn.colour_bins import NEIGHBOURS, gamut_bins, soft_labels
from bench.nn.decoder import decoder_to_stride4
from bench.nn.encoder import Encoder, check_stride
from bench.nn.seeding import seeded
from bench.objectives.one_crop import OneCrop

UNIFORM_SHARE = 0.5  # λ: how much of the uniform distribution is mixed into the prior
COUNT_UNIT = 2**20  # shares are counted in integers, whose sum is the same in any order


@torch.no_grad()
def histogram(nearest: Tensor, shares: Tensor, bins: int) -> Tensor:
    """Return the mean soft label over all pixels: N×5×h×w, twice -> Q float64, summing to 1 but for rounding."""
    counts = torch.zeros(bins, dtype=torch.int64, device=nearest.device)
    counts.scatter_add_(0, nearest.flatten(), (shares.double() * COUNT_UNIT).round().long().flatten())
    return counts.double() * (NEIGHBOURS / (COUNT_UNIT * nearest.numel()))


@torch.no_grad()
def rarity_weights(prior: Tensor) -> Tensor:
    """Return w ∝ 1 / ((1 − λ)·p̃ + λ/Q) with λ = ½ and Σ p̃·w = 1: the weight of each bin, Q -> Q (eq. 4).

    Args:
        prior: p̃, the smoothed distribution of bins, summing to 1. Soft labels have smoothed it already.
    """
    weights = 1.0 / ((1.0 - UNIFORM_SHARE) * prior + UNIFORM_SHARE / len(prior))
    return weights / (prior * weights).sum()


class Colorization(OneCrop):
    """Colorization: a distribution over bins of the ab plane for every fourth pixel of a grey image."""

    bins: Tensor
    prior: Tensor

    def __init__(
        self, encoder: Encoder, *, hidden_dim: Count = 256, rebalance: bool = True, prior_momentum: Rate = 0.99
    ) -> None:
        super().__init__(encoder)
        self.rebalance, self.prior_momentum = rebalance, prior_momentum
        bins = gamut_bins()  # Q×2
        self.register_buffer("bins", bins)
        self.register_buffer("prior", torch.full((len(bins),), 1 / len(bins)))
        with seeded(encoder.seed, "colour decoder"):
            self.decoder = decoder_to_stride4(encoder.feature_dim, hidden_dim, len(bins))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views whose quarter the decoder does not meet."""
        check_stride(self.encoder, "colorization", view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        (v,) = batch.views  # N×3×H×W
        with torch.no_grad():
            lightness, ab = lab(v).split((1, 2), dim=1)  # N×1×H×W, N×2×H×W
            x = from_lab(torch.cat([lightness, torch.zeros_like(ab)], dim=1))  # N×3×H×W, grey
            nearest, z = soft_labels(F.avg_pool2d(ab, 4), self.bins)  # N×5×H/4×W/4
            weights = rarity_weights(self.prior) if self.rebalance else None  # Q
        logits = self.decoder(self.encoder.last_map(x))  # N×Q×H/4×W/4
        loss = soft_cross_entropy(logits, nearest, z, weights)
        if self.rebalance:
            self._follow(nearest, z)
        return {"loss": loss}

    @torch.no_grad()
    def _follow(self, nearest: Tensor, z: Tensor) -> None:
        """Move the prior towards the distribution of all ranks' pixels."""
        now = sum_over_ranks(histogram(nearest, z, len(self.bins))) / world()  # Q
        self.prior.lerp_(now.to(self.prior.dtype), 1.0 - self.prior_momentum)
