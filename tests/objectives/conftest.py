"""Small objectives in float64, and batches for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from bench.data.views import Batch
from bench.nn.encoder import Encoder
from bench.nn.seeding import seeded
from bench.objectives import build
from bench.objectives.base import Objective

N = 4


class NarrowEncoder(Encoder):
    """A ResNet of four narrow blocks: the real encoder's methods and names at a fiftieth of its cost."""

    def __init__(self, seed: int = 0) -> None:
        nn.Module.__init__(self)
        self.arch, self.seed, self.feature_dim = "narrow", seed, 24
        with seeded(seed, "encoder"):
            self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(8)
            self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
            for stage, (before, after) in enumerate(((8, 8), (8, 12), (12, 16), (16, 24)), start=1):
                skip = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))
                block = BasicBlock(before, after, *((2, skip) if stage > 1 else ()))
                setattr(self, f"layer{stage}", nn.Sequential(block))
        self.avgpool = nn.AdaptiveAvgPool2d(1)


@pytest.fixture
def encoder() -> Callable[..., Encoder]:
    """Return encoder(seed): a narrow one."""
    return NarrowEncoder


@pytest.fixture
def make() -> Callable[..., Objective]:
    """Return make(name, **settings): an objective in float64 with a narrow encoder and small heads."""

    def objective(name: str, num_classes: int = 0, **settings: Any) -> Objective:
        heads = {"hidden_dim": 12, "projection_dim": 6} if name not in ("supervised", "random_init") else {}
        return build({"name": name, **heads, **settings}, NarrowEncoder(), num_classes).double()

    return objective


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """Return batch(size, …): N images with one view of each size, boxes over the whole image, labels 0 to 2."""

    def images(*sizes: int, seed: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        views = [torch.randn(N, 3, size, size, dtype=torch.float64, generator=generator) for size in sizes]
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0]], dtype=torch.float64).repeat(N, 1)
        return Batch(
            views=views, boxes=[whole.clone() for _ in sizes], labels=torch.arange(N) % 3, indices=torch.arange(N)
        )

    return images


@pytest.fixture
def apart() -> Callable[[Objective], None]:
    """Return apart(objective): moves the target's weights away from the online network's."""

    @torch.no_grad()
    def move(objective: Objective) -> None:
        for name, parameter in objective.named_parameters():
            if name.startswith("target_"):
                parameter += 0.1 * torch.randn(
                    parameter.shape, dtype=parameter.dtype, generator=torch.Generator().manual_seed(len(name))
                )

    return move


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors are tiny here: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
