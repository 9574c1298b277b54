"""Split-brain autoencoder: lightness predicts colour, and colour predicts lightness.

Claim:     none for a ResNet-50; 35.2 % ImageNet linear top-1 on conv4 of two half AlexNets (from memory of the paper).
Paper:     Zhang, Isola and Efros, "Split-Brain Autoencoders" (CVPR 2017), section 3.2.
Equation:  loss = CE(g₁(f(L)), ab) + CE(g₂(f(ab)), L), each a mean over images and every fourth pixel of every fourth
           row: soft labels over 313 bins of the ab plane (as in `colorization`, not weighted), and 100 bins of L.
Reference: richzhang/splitbrainauto, which has the trained networks and no training code: labels, bins of L and
           sampling could not be compared.
Departs from it: one ResNet-50 of full width sees both halves of the channels (there: two networks of half the width
           each, whose features are joined), so that it converts as any other; its numbers are not those of half
           networks. Both halves of all images are one batch, so that a norm has one set of statistics, which
           serve either half when the trunk is frozen. L comes as a grey image and ab as a colour image of lightness
           50, clipped to sRGB and normalised as any other; neither shows anything of the other. A ResNet decodes from
           C5. Running statistics are those of the images in colour, which a downstream task shows (an extra forward
           without gradient); without `image_statistics` they are those of the halves, for evaluation on these.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bench.config.setting_types import Count
from bench.data.views import Batch
from bench.losses.classification import cross_entropy
from bench.losses.soft_bins import soft_cross_entropy
from bench.nn.colour import halves, lab
from bench.nn.colour_bins import gamut_bins, soft_labels
from bench.nn.decoder import decoder_to_stride4
from bench.nn.encoder import Encoder, check_stride
from bench.nn.image_statistics import running_statistics_of
from bench.nn.seeding import seeded
from bench.objectives.one_crop import OneCrop

STRIDE = 4  # pixels between those that are predicted
LIGHTNESS_BINS = 100  # one unit of L each


class SplitBrain(OneCrop):
    """Split-brain autoencoder: one half of the channels, seen alone, predicts the other, both ways."""

    # 313 bins, ten neighbours, sampled and not averaged targets, one forward, running statistics of images.
    definition: ClassVar[int] = 2
    mean_over_images: ClassVar[bool] = True
    inputs: ClassVar[tuple[str, ...]] = ("grey", "halves")

    bins: Tensor

    def __init__(self, encoder: Encoder, *, hidden_dim: Count = 256, image_statistics: bool = True) -> None:
        super().__init__(encoder)
        self.image_statistics = image_statistics
        bins = gamut_bins()  # Q×2
        self.register_buffer("bins", bins)
        with seeded(encoder.seed, "split-brain decoders"):
            self.colour_decoder = decoder_to_stride4(encoder.feature_dim, hidden_dim, len(bins))
            self.lightness_decoder = decoder_to_stride4(encoder.feature_dim, hidden_dim, LIGHTNESS_BINS)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views whose quarter the decoders do not meet."""
        check_stride(self.encoder, "split_brain", view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_colour, loss_lightness."""
        (v,) = batch.views  # N×3×H×W
        with torch.no_grad():
            x = torch.cat(halves(v))  # 2N×3×H×W: grey, then coloured
            lightness, ab = lab(v)[..., ::STRIDE, ::STRIDE].split((1, 2), dim=1)  # N×1×H/4×W/4, N×2×H/4×W/4
            nearest, z = soft_labels(ab, self.bins)  # N×10×H/4×W/4
            level = lightness[:, 0].floor().clamp(0, LIGHTNESS_BINS - 1).long()  # N×H/4×W/4
        with running_statistics_of(v if self.image_statistics else None, self.encoder):
            of_grey, of_coloured = self.encoder.last_map(x).chunk(2)  # N×F×H/32×W/32, twice
        loss_colour = soft_cross_entropy(self.colour_decoder(of_grey), nearest, z)
        loss_lightness = cross_entropy(self.lightness_decoder(of_coloured), level)
        loss = loss_colour + loss_lightness
        return {"loss": loss, "loss_colour": loss_colour.detach(), "loss_lightness": loss_lightness.detach()}

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """The feature of the image, and the paper's: those of both halves, joined (N×2F)."""
        joined = torch.cat([self.encoder(half) for half in halves(images)], dim=1)
        return {"backbone": self.encoder(images), "halves": joined}
