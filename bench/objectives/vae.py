"""Variational autoencoder: a code with a known prior, from which the image can be drawn.

Claim:     none for ResNet-50.
Paper:     Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014), eq. 7 and 10, appendices B and C.
Equation:  loss = E_q[−log p(x|z)] + β·KL(q(z|x)‖N(0, 1)), the negative evidence bound in nats for β = 1: sums over
           values and over dimensions, a mean over images. KL = ½·Σ_d(μ² + σ² − 1 − log σ²), z = μ + σ⊙ε, one ε for
           each image. p(x|z) is N(x; σ(y), sigma²) or, for x in [0, 1] taken as chances, Bernoulli(σ(y)).
Reference: none.
Departs from it: the encoder is the trunk with a linear layer on its pooled feature, the decoder convolutional; x is
           the view at image_size pixels, of area averages; the decoder's sigma is fixed, not learnt; log σ² is clamped.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from bench.config.setting_types import Count, Positive, Weight
from bench.data.views import Batch
from bench.errors import BadInput
from bench.losses.float32 import at_least_float32
from bench.losses.reconstruction import bernoulli_nll, squared_error
from bench.nn import draws
from bench.nn.collectives import sum_over_ranks, world
from bench.nn.decoder import small_rgb, vector_decoder
from bench.nn.encoder import Encoder
from bench.nn.seeding import seeded
from bench.objectives.one_crop import OneCrop

LOGVAR = (-20.0, 10.0)  # σ from 5e-5 to 150
ACTIVE = 0.01  # nats; a dimension below that tells the decoder nothing


@at_least_float32
def gaussian_nll(y: Tensor, x: Tensor, sigma: float) -> Tensor:
    """Return the mean over images of −log N(x; y, σ²·1), its constant included: N×…, N×… -> scalar, in nats."""
    constant = math.log(sigma) + 0.5 * math.log(2 * math.pi)
    return 0.5 * squared_error(y, x) / sigma**2 + constant * x[0].numel()


@at_least_float32
def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(μ, σ²)‖N(0, 1)) = ½(μ² + σ² − 1 − log σ²) of each image and dimension, in nats: N×D, N×D -> N×D.

    log σ² is what comes in. It should be clamped: σ² overflows float32 from 88 on.
    """
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)


class VAE(OneCrop):
    """Variational autoencoder: a code with a known prior, from which the image can be drawn."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        latent_dim: Count = 200,
        sigma: Positive = 0.1,
        beta: Weight = 1.0,
        image_size: Count = 64,
        width: Count = 64,
    ) -> None:
        super().__init__(encoder)
        self.likelihood, self.sigma, self.beta, self.image_size = likelihood, sigma, beta, image_size
        with seeded(encoder.seed, "posterior and decoder"):
            self.posterior = nn.Linear(encoder.feature_dim, 2 * latent_dim)
            self.decoder = vector_decoder(latent_dim, image_size, width)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views that are smaller than what is decoded."""
        if view_size < self.image_size:
            raise BadInput(f"view_size {view_size} is below objective.image_size {self.image_size}; lower the latter.")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_reconstruction, loss_kl (before β), active_dims (of mean KL above 0.01 nats)."""
        (v,) = batch.views  # N×3×H×W
        mu, logvar = self.infer(v)  # N×D each
        z = mu + (0.5 * logvar).exp() * draws.normal(*mu.shape, like=mu)  # N×D
        y = self.decoder(z)  # N×3×S×S, logits
        x = small_rgb(v, self.image_size)  # N×3×S×S in [0, 1]
        bernoulli = self.likelihood == "bernoulli"
        nll = bernoulli_nll(y, x) if bernoulli else gaussian_nll(y.sigmoid(), x, self.sigma)
        kl = gaussian_kl(mu, logvar)  # N×D
        loss_kl = kl.sum(1).mean()
        with torch.no_grad():
            each = sum_over_ranks(kl.detach().mean(0)) / world()  # D
        return {
            "loss": nll + self.beta * loss_kl,
            "loss_reconstruction": nll.detach(),
            "loss_kl": loss_kl.detach(),
            "active_dims": (each > ACTIVE).sum().to(kl.dtype),
        }

    def infer(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and log σ² of q(z|x), N×D each, in float32 or more, of images N×3×H×W."""
        both = self.posterior(self.encoder(images))
        mu, logvar = (both if both.dtype == torch.float64 else both.float()).chunk(2, dim=1)
        return mu, logvar.clamp(*LOGVAR)

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """The pooled feature, and the posterior's mean."""
        features = self.encoder(images)
        return {"backbone": features, "projector": self.posterior(features).chunk(2, dim=1)[0]}
