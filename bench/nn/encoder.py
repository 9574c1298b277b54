"""The backbone: torchvision's ResNet without its classifier, under torchvision's key names.

Source: He et al., "Deep Residual Learning for Image Recognition" (2016), in torchvision's form: 7×7 stem, stride in the
3×3 convolution of a bottleneck, fan-out initialisation (He et al. 2015). The last norm of each residual block starts
with the weight 1 or, as Goyal et al., "Accurate, Large Minibatch SGD" (2017), have it, with 0, so that a block starts
as its shortcut.

For small images the stem is another (Ermolov et al., "Whitening for Self-Supervised Representation Learning", ICML
2021, and their code, htdt/self-supervised): a 3×3 convolution of stride 1, and for images of 32 pixels no max-pool.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from bench.architectures import WIDTH, parse_architecture
from bench.errors import BadInput, nearest_or_all
from bench.nn.seeding import seeded

BLOCKS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {  # of each depth
    18: (BasicBlock, (2, 2, 2, 2)),
    50: (Bottleneck, (3, 4, 6, 3)),
}

STEMS = {  # the layers before the first block, with the stride of C2; those of C3, C4 and C5 are 2, 4 and 8 times that
    "imagenet": 4,  # 7×7 convolution of stride 2, max-pool
    "stl": 2,  # 3×3 convolution of stride 1, max-pool
    "cifar": 1,  # 3×3 convolution of stride 1
}


class Encoder(ResNet):
    """An image's feature maps and their pooled feature. The keys of its state dict are torchvision's, without `fc`.

    The weights depend on `seed` alone; heads that are built for an encoder start from its seed, too.

    Args:
        arch: `resnet18` or `resnet50`, or one with a width, such as `resnet18w16` (bench/architectures.py).
        seed: of the initial weights. All but those of the first convolution are the same for every stem.
        stem: `imagenet` (7×7 of stride 2, max-pool), `stl` (3×3 of stride 1, max-pool) or `cifar` (3×3 of stride 1).
        zero_init_residual: whether the last norm of each residual block starts with the weight 0. All other weights are
            the same.

    Raises BadInput for another architecture or stem.
    """

    stem: str = "imagenet"

    def __init__(
        self, arch: str = "resnet50", seed: int = 0, stem: str = "imagenet", zero_init_residual: bool = False
    ) -> None:
        check_stem(stem)
        architecture = parse_architecture(arch)
        block, layers = BLOCKS[architecture.depth]
        self.width = architecture.width  # before the layers are made, which ask for it
        with seeded(seed, "encoder"):
            super().__init__(block, list(layers), zero_init_residual=zero_init_residual)
        self.arch = arch
        self.seed = seed
        self.stem = stem
        if stem != "imagenet" or self.width != WIDTH:
            kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
            with seeded(seed, "stem"):
                self.conv1 = nn.Conv2d(3, self.width, kernel, stride, padding=kernel // 2, bias=False)
                nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's
        if self.width != WIDTH:
            self.bn1 = nn.BatchNorm2d(self.width)
        if stem == "cifar":
            self.maxpool: nn.Module = nn.Identity()
        self.feature_dim: int = architecture.scaled(self.fc.in_features)
        del self.fc

    def _make_layer(
        self, block: type[BasicBlock | Bottleneck], planes: int, blocks: int, stride: int = 1, dilate: bool = False
    ) -> nn.Sequential:
        """Make a stage as torchvision does, of the encoder's width; torchvision has no width for basic blocks."""
        if planes == WIDTH:  # the first stage, whose input is the stem's output
            self.inplanes = self.width
        return super()._make_layer(block, planes * self.width // WIDTH, blocks, stride, dilate)

    @property
    def stride(self) -> int:
        """Pixels of an image from one position of C5 to the next: 32 with the stem `imagenet`, 16 `stl`, 8 `cifar`."""
        return 8 * STEMS[self.stem]

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled features of images: N×3×H×W -> N×feature_dim."""
        return self.pool(self.last_map(x))

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return C2, C3, C4, C5 of images N×3×H×W; of ResNet-50 256, 512, 1024, 2048 channels.

        Their strides are 4, 8, 16, 32 with the stem `imagenet`, 2, 4, 8, 16 with `stl`, and 1, 2, 4, 8 with `cifar`.
        """
        c1 = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        c2 = self.layer1(c1)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return c2, c3, c4, self.layer4(c4)

    def last_map(self, x: Tensor) -> Tensor:
        """Return C5 alone: N×3×H×W -> N×feature_dim×⌈H/s⌉×⌈W/s⌉, s 32 with the stem `imagenet` (see `stride`)."""
        return self.maps(x)[-1]

    def pool(self, c5: Tensor) -> Tensor:
        """Return the mean over the positions of C5: N×D×h×w -> N×D."""
        return torch.flatten(self.avgpool(c5), 1)


def build_encoder(arch: str, seed: int, stem: str = "imagenet", zero_init_residual: bool = False) -> Encoder:
    """Return an encoder whose weights depend on these arguments alone; BadInput for an unknown arch or stem."""
    return Encoder(arch, seed, stem, zero_init_residual)


def check_stride(encoder: Encoder, name: str, view_size: int) -> None:
    """Raise BadInput unless the last map, which the objective `name` decodes, has stride 32 and divides the view."""
    if encoder.stride != 32:
        raise BadInput(
            f"{name} decodes from a last map of stride 32, but with stem={encoder.stem!r} it is {encoder.stride}; set "
            "stem='imagenet'."
        )
    if view_size % 32:
        nearest_size = max(1, round(view_size / 32)) * 32
        raise BadInput(
            f"{name} decodes from a last map of stride 32, and view_size {view_size} is no multiple of its stride; set "
            f"view_size to {nearest_size}."
        )


def check_positions(encoder: Encoder, view_size: int) -> None:
    """Raise BadInput for views whose last map has a single position."""
    if view_size < (least := 2 * encoder.stride):
        raise BadInput(f"view_size {view_size} leaves a map of one position; set view_size to {least} or more.")


def check_stem(stem: str) -> None:
    """Raise BadInput for an unknown stem."""
    if stem not in STEMS:
        raise BadInput(f"Unknown stem {stem!r}{nearest_or_all(stem, STEMS)}")
