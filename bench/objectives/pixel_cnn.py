"""PixelCNN: pixel values predicted one after another by masked convolutions, given the trunk's feature.

Claim:     none for ResNet-50; about 3.14 bits per dimension on CIFAR-10, without a condition (from memory).
Paper:     van den Oord et al., "Pixel Recurrent Neural Networks" (ICML 2016), eq. 1 and 2, sections 3.3 to 3.5. With a
           condition: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders" (NeurIPS 2016), eq. 3.
Equation:  loss = −Σ_i log p(x_i | x_<i, h), a mean over images, in nats; i goes through rows, pixels of a row, and R,
           G, B; p is a softmax over 256 levels. x is a small view of an image, h the trunk's pooled feature of another.
           bits_per_dim = loss / (ln 2·3HW), 8 if all levels are equally likely.
Reference: none.
Departs from it: the paper's model has no encoder to convert (`conditional=False`, which no pretraining accepts, as the
           trunk would get no gradient). In this one the trunk has to add what the earlier pixels do not show: h
           is added to the features of each block as a bias. It sees another crop than the one that is modelled,
           in other colours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from bench.config.setting_types import Count
from bench.data.views import SIMCLR_VIEWS, SUPERVISED_VIEW, Batch, View
from bench.errors import BadInput
from bench.losses.reconstruction import bits_per_dim, pixel_nll
from bench.nn.autoregressive import PixelNetwork
from bench.nn.colour import unnormalised
from bench.nn.encoder import Encoder
from bench.nn.seeding import seeded
from bench.objectives.base import Objective


class PixelCNN(Objective):
    """PixelCNN: pixel values predicted one after another by masked convolutions, given the trunk's feature."""

    mean_over_images: ClassVar[bool] = True
    layers: ClassVar[Literal["cnn", "row_lstm"]] = "cnn"  # what the network is made of

    def __init__(
        self,
        encoder: Encoder,
        *,
        conditional: bool = True,
        image_size: Annotated[int, Field(ge=2)] = 32,
        depth: Count = 15,
        width: Annotated[int, Field(ge=3)] = 128,  # a third for each colour
    ) -> None:
        super().__init__(encoder)
        self.conditional, self.image_size = conditional, image_size
        with seeded(encoder.seed, "decoder"):
            self.decoder = PixelNetwork(self.layers, depth, width, encoder.feature_dim if conditional else 0)

    def views(self, size: int) -> tuple[View, ...]:
        """One for the trunk, as SimCLR's; and at image_size, in its own colours, most of the image to be modelled."""
        return SIMCLR_VIEWS(size)[0], replace(SUPERVISED_VIEW(self.image_size), scale=(0.5, 1.0))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse the paper's model without a condition."""
        if not self.conditional:
            raise BadInput("Without a condition the trunk gets no gradient; set objective.conditional to True.")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss (nats an image), bits_per_dim."""
        v, small = batch.views  # N×3×H×W, N×3×S×S
        pixels = (255.0 * unnormalised(small)).round()  # N×3×S×S, the levels 0 … 255
        h = self.encoder(v) if self.conditional else None  # N×F
        logits = self.decoder(pixels / 127.5 - 1.0, h)  # N×256×3×S×S
        loss = pixel_nll(logits, pixels.long())
        return {"loss": loss, "bits_per_dim": bits_per_dim(loss.detach(), pixels[0].numel())}
