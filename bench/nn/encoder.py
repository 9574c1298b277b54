"""The backbone: torchvision's ResNet without its classifier, under torchvision's key names.

Source: He et al., "Deep Residual Learning for Image Recognition" (2016), in torchvision's form: 7×7 stem, stride in the
3×3 convolution of a bottleneck, fan-out initialisation (He et al. 2015), no zero-initialised last BN.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from bench.errors import BadInput, nearest
from bench.nn.seeding import seeded

ARCHITECTURES = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


class Encoder(ResNet):
    """An image's feature maps and their pooled feature. The keys of its state dict are torchvision's, without `fc`.

    The weights depend on `seed` alone; heads that are built for an encoder start from its seed, too.

    Args:
        arch: `resnet18` or `resnet50`.
        seed: of the initial weights.

    Raises BadInput for another architecture.
    """

    def __init__(self, arch: str = "resnet50", seed: int = 0) -> None:
        if arch not in ARCHITECTURES:
            hint = nearest(arch, ARCHITECTURES) or f"; known: {', '.join(ARCHITECTURES)}."
            raise BadInput(f"Unknown architecture {arch!r}{hint}")
        block, layers = ARCHITECTURES[arch]
        with seeded(seed, "encoder"):
            super().__init__(block, list(layers))
        self.arch = arch
        self.seed = seed
        self.feature_dim: int = self.fc.in_features
        del self.fc

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled features of images: N×3×H×W -> N×feature_dim."""
        return self.pool(self.last_map(x))

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return C2, C3, C4, C5 of images N×3×H×W: strides 4, 8, 16, 32; of ResNet-50 256, 512, 1024, 2048 channels."""
        c1 = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        c2 = self.layer1(c1)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return c2, c3, c4, self.layer4(c4)

    def last_map(self, x: Tensor) -> Tensor:
        """Return C5 alone: N×3×H×W -> N×feature_dim×⌈H/32⌉×⌈W/32⌉."""
        return self.maps(x)[-1]

    def pool(self, c5: Tensor) -> Tensor:
        """Return the mean over the positions of C5: N×D×h×w -> N×D."""
        return torch.flatten(self.avgpool(c5), 1)


def build_encoder(arch: str, seed: int) -> Encoder:
    """Return an encoder whose weights depend on (arch, seed) alone. Raises BadInput for an unknown architecture."""
    return Encoder(arch, seed)
