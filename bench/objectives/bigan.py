"""BiGAN: a generator and its inverse, trained against a discriminator of pairs of an image and a code.

Claim:     none for ResNet-50 (its successor BigBiGAN about 55.4 to 56.6 % ImageNet linear top-1, from memory).
Paper:     Donahue et al., "Adversarial Feature Learning" (ICLR 2017), eq. 2 and 3, section 4.3 for the sign.
Equation:  min_{G,E} max_D E_x[log D(x, E(x))] + E_z[log(1 − D(G(z), z))], by loss = L_D + L_GE with
           L_D  = ½·(−log D(x, E(x)) − log(1 − D(G(z), z)))   to D alone, pairs held fixed; ln 2 at chance
           L_GE = ½·(−log(1 − D(x, E(x))) − log D(G(z), z))   to G and E alone, D's weights held fixed; not saturating
           z uniform in [−1, 1], one code drawn for each image; E(x) = 2·σ(W·f(x)) − 1 lies there, too.
Reference: jeffdonahue/bigan, train_gan.py and train_imagenet_highres_encoder.sh: squares of 112 of 128 pixels for E, of
           which D sees 64, never mirrored; both sides move in one step, on gradients at the same weights (527-533). The
           code of an image is brought into the range of z (train_gan.py:405-410; dist.py:121-125): by a code outside
           of it D would tell every real pair.
Departs from it: E is the ResNet with a linear layer on its pooled feature, with a bias (there: none), and D sees area
           averages of the view; G upsamples where DCGAN has transposed convolutions; G sees the code once and D after
           its convolutions (there every layer of both has it as a bias: net.py, apply_cond). Weights start as torch's
           do (there: normal).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.config.setting_types import Count, Portion
from bench.data.views import SQUARE_VIEW, Batch, View
from bench.errors import BadInput
from bench.losses.adversarial import discrimination
from bench.nn import draws
from bench.nn.decoder import small_rgb, vector_decoder
from bench.nn.discriminator import discriminator_tower, frozen_call
from bench.nn.encoder import Encoder
from bench.nn.seeding import seeded
from bench.objectives.base import Objective


class JointDiscriminator(nn.Module):
    """Logits N of pairs of images N×3×size×size and codes N×D: positive for a real image with its inferred code."""

    def __init__(self, size: int, width: int, code_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.tower, channels = discriminator_tower(size, width)
        self.code = nn.Sequential(nn.Linear(code_dim, hidden_dim), nn.LeakyReLU(0.2, inplace=True))
        self.score = nn.Sequential(
            nn.Linear(16 * channels + hidden_dim, hidden_dim), nn.LeakyReLU(0.2, inplace=True), nn.Linear(hidden_dim, 1)
        )

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return N logits."""
        return self.score(torch.cat([self.tower(x).flatten(1), self.code(z)], dim=1)).flatten()


class BiGAN(Objective):
    """BiGAN: a generator and an encoder against a discriminator of pairs of an image and a code."""

    definition: ClassVar[int] = 2  # another crop, no mirror images, codes in the range of z

    def __init__(
        self,
        encoder: Encoder,
        *,
        crop: Portion = 0.875,  # side of the square, as a share of the image's shorter one: 112 of 128 pixels
        latent_dim: Count = 200,
        image_size: Count = 64,
        width: Count = 64,
        hidden_dim: Count = 1024,
    ) -> None:
        super().__init__(encoder)
        self.crop = crop
        self.latent_dim, self.image_size = latent_dim, image_size
        with seeded(encoder.seed, "code, generator, discriminator"):
            self.projector = nn.Linear(encoder.feature_dim, latent_dim)
            self.generator = nn.Sequential(*vector_decoder(latent_dim, image_size, width), nn.Tanh())
            self.discriminator = JointDiscriminator(image_size, width, latent_dim, hidden_dim)

    def views(self, size: int) -> tuple[View, ...]:
        """A square in its true colours, never mirrored."""
        return (SQUARE_VIEW(size, self.crop, flip=0.0),)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views that are smaller than what is generated."""
        if view_size < self.image_size:
            raise BadInput(f"view_size {view_size} is below objective.image_size {self.image_size}; lower the latter.")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_generator (of G and E), loss_discriminator; ln 2 both where D is at chance."""
        (v,) = batch.views  # N×3×H×W
        d = self.discriminator
        x = 2.0 * small_rgb(v, self.image_size) - 1.0  # N×3×s×s
        e_x = self.code(self.encoder(v))  # N×Z
        z = 2.0 * draws.uniform(len(v), self.latent_dim, like=v) - 1.0  # N×Z
        g_z = self.generator(z)  # N×3×s×s
        loss_d = discrimination(real=d(x, e_x.detach()), fake=d(g_z.detach(), z))
        loss_ge = discrimination(real=frozen_call(d, g_z, z), fake=frozen_call(d, x, e_x))  # labels exchanged
        return {
            "loss": loss_d + loss_ge,
            "loss_generator": loss_ge.detach(),
            "loss_discriminator": loss_d.detach(),
        }

    def code(self, features: Tensor) -> Tensor:
        """Return E(x) in [−1, 1], in float32 or more, of pooled features: N×F -> N×Z.

        2·σ(y) − 1 = tanh(y/2), which in bf16 would be a grid that z is not on.
        """
        y = self.projector(features)
        return (0.5 * (y if y.dtype == torch.float64 else y.float())).tanh()

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """The pooled feature, and its code."""
        features = self.encoder(images)
        return {"backbone": features, "projector": self.code(features)}
