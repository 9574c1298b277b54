"""Denoising autoencoder: restore an image from a damaged copy of it.

Claim:     none for ResNet-50.
Paper:     Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders" (ICML 2008), section
           2.3; Gaussian and salt-and-pepper noise are from their journal article of 2010.
Equation:  loss = ‖x − g(f(x̃))‖², or the cross entropy −Σ x·log y + (1 − x)·log(1 − y) with y = g(f(x̃)); sums over
           an image's values, a mean over images. x in [0, 1] is the clean image, x̃ ~ q(x̃|x) the damaged one:
             masking      a fixed share ν of the values, drawn anew each time, is set to 0
             salt_pepper  such a share is set to 0 or 1 by a fair coin
             gaussian     x + ν·ε, ε standard normal
Reference: none.
Departs from it: one convolutional autoencoder, trained at once, in the place of a stack of layers trained one by one;
           weights are not tied; the loss may be taken at a lower resolution (`stride`), of area averages. Running
           statistics of batch norms are those of clean images, which a downstream task shows (an extra forward without
           gradient), unless `image_statistics` is off.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.config.setting_types import Count
from bench.data.views import Batch
from bench.losses.reconstruction import bernoulli_nll, squared_error
from bench.nn import draws
from bench.nn.colour import normalised_rgb, unnormalised
from bench.nn.decoder import doublings, map_decoder, small_rgb
from bench.nn.encoder import Encoder, check_stride
from bench.nn.image_statistics import running_statistics_of
from bench.nn.seeding import seeded
from bench.objectives.one_crop import OneCrop


class DenoisingAutoencoder(OneCrop):
    """Denoising autoencoder: restore an image from a damaged copy of it."""

    definition: ClassVar[int] = 2  # running statistics of clean images
    mean_over_images: ClassVar[bool] = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        noise: Literal["masking", "salt_pepper", "gaussian"] = "masking",
        amount: Annotated[float, Field(gt=0, lt=1)] = 0.25,
        reconstruction: Literal["cross_entropy", "squared"] = "cross_entropy",
        stride: Literal[1, 2, 4, 8, 16] = 1,
        width: Count = 32,
        image_statistics: bool = True,
    ) -> None:
        super().__init__(encoder)
        self.image_statistics = image_statistics
        self.noise, self.amount, self.reconstruction, self.stride = noise, amount, reconstruction, stride
        with seeded(encoder.seed, "decoder"):
            self.decoder = map_decoder(encoder.feature_dim, doublings(stride, 32), width)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse sizes that C5 does not divide."""
        check_stride(self.encoder, "denoising_autoencoder", view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, squared_error (per value)."""
        (v,) = batch.views  # N×3×H×W
        damaged = normalised_rgb(self.corrupt(unnormalised(v))) if self.training else v
        with running_statistics_of(v if self.image_statistics else None, self.encoder):
            logits = self.decoder(self.encoder.last_map(damaged))  # N×3×h×h, h = H / stride
        x = small_rgb(v, logits.shape[-1])  # N×3×h×h, clean
        y = logits.sigmoid()
        loss = squared_error(y, x) if self.reconstruction == "squared" else bernoulli_nll(logits, x)
        return {"loss": loss, "squared_error": squared_error(y.detach(), x) / x[0].numel()}

    @torch.no_grad()
    def corrupt(self, x: Tensor) -> Tensor:
        """Draw x̃ ~ q(x̃|x) of x in [0, 1], N×3×H×W."""
        if self.noise == "gaussian":
            return x + self.amount * draws.normal(*x.shape, like=x)
        order = draws.uniform(*x.shape, like=x)
        last = max(1, round(self.amount * x[0].numel()))  # exactly so many of each image's values
        hit = order <= order.flatten(1).kthvalue(last, dim=1).values.view(-1, 1, 1, 1)
        if self.noise == "masking":
            return x.masked_fill(hit, 0.0)
        return torch.where(hit, draws.uniform(*x.shape, like=x).round(), x)
