"""Context encoder: fill in the middle of an image from what surrounds it, held to the pixels and to a discriminator.

Claim:     none for ResNet-50; with AlexNet about 30.0 mIoU on VOC segmentation by an FCN (from memory of the paper).
Paper:     Pathak et al., "Context Encoders: Feature Learning by Inpainting" (CVPR 2016), eq. 1 to 3.
Equation:  loss = L_D + λ_rec·L_rec + λ_adv·L_G. x is the central square, half as wide as the image, x̂ its prediction;
           the image around it is seen, and an overlap band of x as well: the hole, filled with the mean colour, is
           smaller than x.
           L_rec = mean of w·(x − x̂)², w = 10 in the band and 1 in the hole
           L_G   = −log D(x̂)                              to encoder and decoder alone, D's weights held fixed
           L_D   = ½·(−log D(x) − log(1 − D(x̂)))           to D alone, x̂ held fixed; ln 2 at chance
Reference: pathak22/context-encoder, train.lua and README.md:75: squares of 128 pixels of images whose shorter side has
           350, mirrored half of the time; weights .999 and .001; Adam, tenfold for encoder and decoder (line 215). The
           band is 7 pixels wide in the paper, the default, and 4 in that command, which `imagenet_context_encoder` has.
Departs from it: the trunk is a ResNet; C5, pooled to 4×4, goes through the paper's channel-wise fully connected layer
           and a 1×1 convolution (there a bottleneck of 4,000 channels where there is a discriminator); the decoder
           upsamples where that has transposed convolutions; weights start as torch's do (there: N(0, 0.02)); the hole
           has the mean colour (there too, its channels in another order, lines 283-285); L_D is a mean and not a sum of
           its halves, which Adam does not feel; both sides move in one step, on gradients at the same weights (there D
           moves first). Running statistics of batch norms are those of whole images, which a downstream task shows (an
           extra forward without gradient), unless `image_statistics` is off.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from bench.config.setting_types import Count, Portion, Positive, Whole
from bench.data.views import SQUARE_VIEW, Batch, View
from bench.errors import BadInput
from bench.losses.adversarial import discrimination
from bench.losses.float32 import at_least_float32
from bench.nn.decoder import doublings, map_decoder, small_rgb
from bench.nn.discriminator import discriminator_tower, frozen_call
from bench.nn.encoder import Encoder
from bench.nn.image_statistics import running_statistics_of
from bench.nn.seeding import seeded
from bench.objectives.base import Objective, ParamGroup, groups_apart


class ChannelwiseLinear(nn.Module):
    """A linear layer between the positions of each channel, none between channels: N×C×4×4 -> N×C×4×4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 16, 16).uniform_(-0.25, 0.25))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the 16 positions of each channel."""
        mixed = torch.einsum("ncp,cpq->ncq", x.flatten(2), self.weight) + self.bias[:, None]
        return mixed.view(x.shape)


@at_least_float32
def fooling(fake: Tensor) -> Tensor:
    """Return mean −log σ(fake) of logits of any shape -> scalar: steep where the discriminator is not fooled.

    Source: Goodfellow et al., "Generative Adversarial Nets" (NeurIPS 2014), section 3, the non-saturating form.
    """
    return F.softplus(-fake).mean()


@at_least_float32
def banded_squared_error(y: Tensor, x: Tensor, band: int, band_weight: float) -> Tensor:
    """Return the mean over images and values of w·(x − y)², w = band_weight in the outer band, 1 inside: N×C×S×S.

    Source: Pathak et al., "Context Encoders" (CVPR 2016), section 3.2, and the reference implementation (a mean).
    """
    size = x.shape[-1]
    weight = torch.full((size, size), band_weight, dtype=x.dtype, device=x.device)
    weight[band : size - band, band : size - band] = 1.0
    return (weight * (x - y).square()).mean()


class Discriminator(nn.Module):
    """Logits N of images N×3×size×size: positive for real ones. `size` is 4 times a power of two, 8 or more."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.tower, channels = discriminator_tower(size, width)
        self.score = nn.Conv2d(channels, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return N logits."""
        return self.score(self.tower(x)).flatten()


class ContextEncoder(Objective):
    """Context encoder: fill in the middle of an image from what surrounds it, by pixels and a discriminator."""

    definition: ClassVar[int] = 2  # running statistics of whole images, another crop
    mean_over_images: ClassVar[bool] = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        crop: Portion = 0.3657,  # side of the square, as a share of the image's shorter one: 128 of 350 pixels
        reconstruction_weight: Positive = 0.999,
        adversarial_weight: Positive = 0.001,
        overlap: Whole = 7,
        overlap_weight: Positive = 10.0,
        generator_rate: Positive = 10.0,
        image_size: Annotated[int, Field(ge=8)] = 64,
        width: Count = 64,
        image_statistics: bool = True,
    ) -> None:
        super().__init__(encoder)
        self.crop = crop
        self.image_statistics = image_statistics
        if 2 * overlap >= image_size:
            raise BadInput(
                f"objective.overlap {overlap} leaves no hole in objective.image_size {image_size}; set overlap below "
                "half of it."
            )
        self.reconstruction_weight, self.adversarial_weight = reconstruction_weight, adversarial_weight
        self.overlap, self.overlap_weight, self.image_size = overlap, overlap_weight, image_size
        self.generator_rate = generator_rate
        times = doublings(4, image_size)
        bottleneck = width * 2**times
        with seeded(encoder.seed, "decoder and discriminator"):
            self.decoder = nn.Sequential(
                nn.AdaptiveAvgPool2d(4),
                ChannelwiseLinear(encoder.feature_dim),
                nn.Conv2d(encoder.feature_dim, bottleneck, 1, bias=False),
                nn.BatchNorm2d(bottleneck),
                nn.ReLU(inplace=True),
                *map_decoder(bottleneck, times, width),
                nn.Tanh(),
            )
            self.discriminator = Discriminator(image_size, width)

    def views(self, size: int) -> tuple[View, ...]:
        """A square in its true colours, sometimes mirrored."""
        return (SQUARE_VIEW(size, self.crop),)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views whose middle is no whole multiple of what is predicted."""
        if view_size % (2 * self.image_size):
            raise BadInput(
                f"Half of view_size {view_size} is no multiple of objective.image_size {self.image_size}; set "
                f"view_size to {2 * self.image_size} or a multiple of it."
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_reconstruction, loss_generator (both before λ), loss_discriminator (ln 2 at chance)."""
        (v,) = batch.views  # N×3×S×S
        with running_statistics_of(v if self.image_statistics else None, self.encoder):
            fake = self.decoder(self.encoder.last_map(self.with_hole(v)))  # N×3×s×s in [−1, 1]
        side = v.shape[-1] // 4
        centre = v[..., side : 3 * side, side : 3 * side]  # N×3×S/2×S/2
        real = 2.0 * small_rgb(centre, self.image_size) - 1.0  # N×3×s×s
        rec = banded_squared_error(fake, real, self.overlap, self.overlap_weight)
        loss_g = fooling(frozen_call(self.discriminator, fake))
        loss_d = discrimination(self.discriminator(real), self.discriminator(fake.detach()))
        return {
            "loss": loss_d + self.reconstruction_weight * rec + self.adversarial_weight * loss_g,
            "loss_reconstruction": rec.detach(),
            "loss_generator": loss_g.detach(),
            "loss_discriminator": loss_d.detach(),
        }

    def with_hole(self, images: Tensor) -> Tensor:
        """Return images N×3×S×S with the hole at 0, which is the mean colour of normalised images."""
        size = images.shape[-1]
        start = size // 4 + self.overlap * (size // 2 // self.image_size)
        seen = images.clone()
        seen[..., start : size - start, start : size - start] = 0.0
        return seen

    def param_groups(self) -> list[ParamGroup]:
        """Encoder and decoder learn at `generator_rate` times the discriminator's rate."""
        rates = {"rate": self.generator_rate}, {"rate": 1.0}
        return groups_apart(super().param_groups(), self.discriminator, *rates)
