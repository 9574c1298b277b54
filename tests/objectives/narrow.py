"""An encoder at a fiftieth of the real one's cost."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock

from bench.nn.encoder import Encoder
from bench.nn.seeding import seeded


class NarrowEncoder(Encoder):
    """A ResNet of four narrow blocks: the real encoder's methods and names."""

    def __init__(self, seed: int = 0, width: int = 24) -> None:
        nn.Module.__init__(self)
        self.arch, self.seed, self.feature_dim = "narrow", seed, width
        with seeded(seed, "encoder"):
            self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(8)
            self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
            for stage, (before, after) in enumerate(((8, 8), (8, 12), (12, 16), (16, width)), start=1):
                skip = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))
                block = BasicBlock(before, after, *((2, skip) if stage > 1 else ()))
                setattr(self, f"layer{stage}", nn.Sequential(block))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
