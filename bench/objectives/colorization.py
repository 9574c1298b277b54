"""Colorization: which colours has a grey photograph?

Claim:     none for this recipe. 40.11 % ImageNet top-1 is a ResNet-50 of Goyal et al. 2019 in VISSL's model zoo: C5 of
           stride 16, and linear classifiers on pooled maps of lightness alone (`inputs="grey"` of `imagenet_linear`
           and `imagenet_knn` shows lightness alone; pooled C5 is another protocol all the same).
Paper:     Zhang, Isola and Efros, "Colorful Image Colorization" (ECCV 2016), eq. 2 to 4.
Equation:  loss = −mean_{i,h,w} v(q*)·Σ_q Z_q log softmax(g(f(L)))_q: Z are soft labels over 313 bins of the ab plane
           (ten nearest, σ = 5) of every fourth pixel of every fourth row, q* is the nearest, v ∝ 1/((1 − λ)·p̃ + λ/Q),
           λ = ½, E[v] = 1, as most pixels are greyish; v = 0 in images without colour (|a| and |b| ≤ 5 everywhere).
Reference: richzhang/colorization, models/colorization_train_val_v2.prototxt and resources/caffe_traininglayers.py: ten
           neighbours (NNEncLayer; the paper has five), ab sampled and not averaged (data_ab_ss), grey images without
           weight (NonGrayMaskLayer).
Departs from it: a ResNet-50 and a decoder from C5 to every fourth pixel (there: a VGG-like network at stride 4). The
           trunk gets L as three equal channels, the grey image, normalised as any other, so that it transfers to RGB
           with its first convolution as it is. A square of 176/256 of the image's shorter side is scaled to the view
           (there: 176 pixels as they are, of images of 256, to judge by its test crops). The prior p̃ is the running
           distribution of the data trained on, from uniform at the start: it fits any data set and needs no file
           (there: of ImageNet, once). The loss is a mean over pixels (there: a sum). Running statistics of batch norms
           are those of the images in colour, which a downstream task shows (an extra forward without gradient);
           without `image_statistics` they are those of grey images, for evaluation on grey.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bench.config.setting_types import Count, Portion, Rate
from bench.data.views import SQUARE_VIEW, Batch, View
from bench.losses.soft_bins import soft_cross_entropy
from bench.nn.collectives import sum_over_ranks, world
from bench.nn.colour import lab, lightness_alone
from bench.nn.colour_bins import gamut_bins, soft_labels
from bench.nn.decoder import decoder_to_stride4
from bench.nn.encoder import Encoder, check_stride
from bench.nn.image_statistics import running_statistics_of
from bench.nn.seeding import seeded
from bench.objectives.base import Objective

UNIFORM_SHARE = 0.5  # λ: how much of the uniform distribution is mixed into the prior
STRIDE = 4  # pixels between those whose colour is predicted
COLOURLESS = 5.0  # an image none of whose a and b exceed it is grey
COUNT_UNIT = 2**20  # shares are counted in integers, whose sum is the same in any order


@torch.no_grad()
def histogram(nearest: Tensor, shares: Tensor, bins: int) -> Tensor:
    """Return the mean soft label over all pixels: N×K×h×w, twice -> Q float64, summing to 1 but for rounding."""
    counts = torch.zeros(bins, dtype=torch.int64, device=nearest.device)
    counts.scatter_add_(0, nearest.flatten(), (shares.double() * COUNT_UNIT).round().long().flatten())
    return counts.double() / (COUNT_UNIT * nearest[:, 0].numel())


@torch.no_grad()
def rarity_weights(prior: Tensor) -> Tensor:
    """Return w ∝ 1 / ((1 − λ)·p̃ + λ/Q) with λ = ½ and Σ p̃·w = 1: the weight of each bin, Q -> Q (eq. 4).

    Args:
        prior: p̃, the smoothed distribution of bins, summing to 1. Soft labels have smoothed it already.
    """
    weights = 1.0 / ((1.0 - UNIFORM_SHARE) * prior + UNIFORM_SHARE / len(prior))
    return weights / (prior * weights).sum()


class Colorization(Objective):
    """Colorization: a distribution over bins of the ab plane for every fourth pixel of a grey image."""

    # 313 bins, ten neighbours, sampled colours, grey images without weight, running statistics of images.
    definition: ClassVar[int] = 2
    inputs: ClassVar[tuple[str, ...]] = ("grey",)

    bins: Tensor
    prior: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        crop: Portion = 0.6875,  # side of the square, as a share of the image's shorter one: 176 of 256 pixels
        hidden_dim: Count = 256,
        rebalance: bool = True,
        prior_momentum: Rate = 0.99,  # of p̃, at each micro-batch
        image_statistics: bool = True,
    ) -> None:
        super().__init__(encoder)
        self.crop = crop
        self.rebalance, self.prior_momentum = rebalance, prior_momentum
        self.image_statistics = image_statistics
        bins = gamut_bins()  # Q×2
        self.register_buffer("bins", bins)
        self.register_buffer("prior", torch.full((len(bins),), 1 / len(bins)))
        with seeded(encoder.seed, "colour decoder"):
            self.decoder = decoder_to_stride4(encoder.feature_dim, hidden_dim, len(bins))

    def views(self, size: int) -> tuple[View, ...]:
        """A square in its true colours, sometimes mirrored."""
        return (SQUARE_VIEW(size, self.crop),)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views whose quarter the decoder does not meet."""
        check_stride(self.encoder, "colorization", view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        (v,) = batch.views  # N×3×H×W
        with torch.no_grad():
            x = lightness_alone(v)  # N×3×H×W, grey
            ab = lab(v)[:, 1:, ::STRIDE, ::STRIDE]  # N×2×H/4×W/4
            nearest, z = soft_labels(ab, self.bins)  # N×10×H/4×W/4
            coloured = (ab.abs() > COLOURLESS).flatten(1).any(1)  # N
            weights = rarity_weights(self.prior) if self.rebalance else None  # Q
        with running_statistics_of(v if self.image_statistics else None, self.encoder):
            logits = self.decoder(self.encoder.last_map(x))  # N×Q×H/4×W/4
        loss = soft_cross_entropy(logits, nearest, z, weights, coloured)
        if self.rebalance:
            self._follow(nearest, z)
        return {"loss": loss}

    @torch.no_grad()
    def _follow(self, nearest: Tensor, z: Tensor) -> None:
        """Move the prior towards the distribution of all ranks' pixels."""
        now = sum_over_ranks(histogram(nearest, z, len(self.bins))) / world()  # Q
        self.prior.lerp_(now.to(self.prior.dtype), 1.0 - self.prior_momentum)
