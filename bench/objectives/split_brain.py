"""Split-brain autoencoder: lightness predicts colour, and colour predicts lightness.

Claim:     35.2 % ImageNet linear top-1 on conv4 of two half AlexNets (from memory of the paper: about).
Paper:     Zhang, Isola and Efros, "Split-Brain Autoencoders" (CVPR 2017), section 3.2.
Equation:  loss = CE(g₁(f(L)), ab) + CE(g₂(f(ab)), L), each a mean over images and every fourth pixel: soft labels over
           bins of the ab plane (five nearest, σ = 5), and 100 bins of L.
Reference: richzhang/splitbrainauto.
Departs from it: one ResNet-50 of full width sees both halves of the channels, each in a forward of its own (there: two
           networks of half the width each, whose features are joined), so that it converts as any other; its
           numbers are not those of half networks. L comes as a grey image and ab as a colour image of lightness 50,
           clipped to sRGB and normalised as any other; neither shows anything of the other. Bins are our
           derivation of the gamut (261, there 313); a ResNet decodes from C5.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.config.setting_types import Count
from bench.data.views import Batch
from bench.losses.classification import cross_entropy
from bench.losses.soft_bins import soft_cross_entropy
from bench.nn.colour import from_lab, lab
from bench.nn.colour_bins import gamut_bins, soft_labels
from bench.nn.decoder import decoder_to_stride4
from bench.nn.encoder import Encoder, check_stride
from bench.nn.seeding import seeded
from bench.objectives.one_crop import OneCrop

LIGHTNESS_BINS = 100  # one unit of L each
MIDDLE = 50.0  # the lightness of an image that shows ab alone


class SplitBrain(OneCrop):
    """Split-brain autoencoder: one half of the channels, seen alone, predicts the other, both ways."""

    bins: Tensor

    def __init__(self, encoder: Encoder, *, hidden_dim: Count = 256) -> None:
        super().__init__(encoder)
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
        x1, x2 = self.halves(v)
        with torch.no_grad():
            lightness, ab = F.avg_pool2d(lab(v), 4).split((1, 2), dim=1)  # N×1×H/4×W/4, N×2×H/4×W/4
            nearest, z = soft_labels(ab, self.bins)  # N×5×H/4×W/4
            level = lightness[:, 0].floor().clamp(0, LIGHTNESS_BINS - 1).long()  # N×H/4×W/4
        loss_colour = soft_cross_entropy(self.colour_decoder(self.encoder.last_map(x1)), nearest, z)
        loss_lightness = cross_entropy(self.lightness_decoder(self.encoder.last_map(x2)), level)
        loss = loss_colour + loss_lightness
        return {"loss": loss, "loss_colour": loss_colour.detach(), "loss_lightness": loss_lightness.detach()}

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """The feature of the image, and the paper's: those of both halves, joined (N×2F)."""
        halves = torch.cat([self.encoder(half) for half in self.halves(images)], dim=1)
        return {"backbone": self.encoder(images), "halves": halves}

    @torch.no_grad()
    def halves(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return what shows L alone, and what shows a and b alone, as normalised images: N×3×H×W, twice."""
        lightness, ab = lab(v).split((1, 2), dim=1)  # N×1×H×W, N×2×H×W
        grey = torch.cat([lightness, torch.zeros_like(ab)], dim=1)
        coloured = torch.cat([torch.full_like(lightness, MIDDLE), ab], dim=1)
        return from_lab(grey), from_lab(coloured)
