"""A ResNet of a few kilobytes, known to torchvision by name, so that these tests write no large files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models._api import register_model
from torchvision.models.resnet import BasicBlock, conv1x1


class TinyResNet(nn.Module):
    """One basic block a stage, 8 to 16 channels, torchvision's key names: 72 tensors without `fc`."""

    def __init__(self, blocks: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 8
        for stage, width in enumerate((8, 12, 16, 16), start=1):
            down = nn.Sequential(conv1x1(channels, width, 2), nn.BatchNorm2d(width)) if stage > 1 else None
            first = BasicBlock(channels, width, 1 if stage == 1 else 2, down)
            rest = [BasicBlock(width, width) for _ in range(blocks - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(first, *rest))
            channels = width
        self.fc = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


@register_model(name="tiny_resnet")
def _tiny(weights: None = None, **_: Any) -> TinyResNet:
    return TinyResNet()


@register_model(name="tiny_deeper")
def _deeper(weights: None = None, **_: Any) -> TinyResNet:
    return TinyResNet(blocks=2)
