"""Contenders of lightly, as its documentation and its benchmarks have them. solo-learn's are in sololearn.py.

Runs in the peers' environment, so it imports nothing of this project but the images and the features to measure with.
`bf16` and `channels_last` make lightly as fast as its users can; without them it is as shipped.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from photographs import listed, small
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

Sample = Callable[[], float]


class Pictures(Dataset[Any]):
    """Pillow images through a transform: files of a folder, or `images` arrays of 32 pixels."""

    def __init__(self, transform: Callable[[Any], Any], folder: str | None = None, images: int = 512) -> None:
        self.transform = transform
        self.files = [] if folder is None else listed(folder)
        self.pixels = small(images) if folder is None else None

    def __len__(self) -> int:
        return len(self.files) if self.pixels is None else len(self.pixels)

    def __getitem__(self, position: int) -> Any:
        if self.pixels is not None:
            return self.transform(Image.fromarray(self.pixels[position]))
        with Image.open(self.files[position]) as opened:
            return self.transform(opened.convert("RGB"))


def byol_transform(size: int) -> Callable[[Any], Any]:
    from lightly.transforms import BYOLTransform, BYOLView1Transform, BYOLView2Transform

    return BYOLTransform(BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size))


def views(count: int, size: int, folder: str | None = None, whose: str = "lightly") -> Sample:
    """Two views of `count` images, one after another, stacked: what a worker of a DataLoader does."""
    if whose == "solo-learn":
        import sololearn

        pictures = Pictures(sololearn.byol_transform(size), folder)
    else:
        pictures = Pictures(byol_transform(size), folder)
    positions = itertools.cycle(range(len(pictures)))

    def sample() -> float:
        made = [pictures[next(positions)] for _ in range(count)]
        for stacked in zip(*made, strict=True):
            torch.stack(stacked)
        return count

    return sample


def byol_step(
    size: int, device: str, bf16: bool, channels_last: bool
) -> tuple[torch.memory_format, Callable[[list[torch.Tensor]], None]]:
    """Return the layout of images, and lightly's BYOL step on two views: loss, gradients, optimizer, momentum update.

    224 pixels: ResNet-50, BYOL's heads, SGD. 32 pixels: ResNet-18 with CIFAR's stem, narrow heads, Adam.
    """
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum

    torch.manual_seed(0)
    tiny = size == 32
    torch.backends.cudnn.benchmark = tiny and device == "cuda"
    trunk = torchvision.models.resnet18() if tiny else torchvision.models.resnet50()
    if tiny:
        trunk.conv1, trunk.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    wide, hidden, narrow = (512, 1024, 64) if tiny else (2048, 4096, 256)
    heads = BYOLProjectionHead(wide, hidden, narrow), BYOLPredictionHead(narrow, hidden, narrow)
    online = nn.ModuleList([nn.Sequential(*list(trunk.children())[:-1]), *heads])
    target = nn.ModuleList([copy.deepcopy(online[0]), copy.deepcopy(online[1])])
    deactivate_requires_grad(target)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for network in (online, target):
        network.to(device=device, memory_format=layout).train()
    criterion = NegativeCosineSimilarity()
    optimizer: torch.optim.Optimizer
    if tiny:
        optimizer = torch.optim.Adam(online.parameters(), lr=3e-3, weight_decay=1e-6)
    else:
        optimizer = torch.optim.SGD(online.parameters(), lr=0.06, momentum=0.9)

    def train(views: list[torch.Tensor]) -> None:
        update_momentum(online[0], target[0], m=0.99)
        update_momentum(online[1], target[1], m=0.99)
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            predicted = [online[2](online[1](online[0](view).flatten(1))) for view in views]
            with torch.no_grad():
                z0, z1 = (target[1](target[0](view).flatten(1)) for view in views)
            loss = 0.5 * (criterion(predicted[0], z1) + criterion(predicted[1], z0))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return layout, train


def step(batch: int, size: int, device: str = "cpu", bf16: bool = False, channels_last: bool = False) -> Sample:
    """One step a sample on a fixed batch of noise."""
    layout, train = byol_step(224, device, bf16, channels_last)
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(batch, 3, size, size, generator=generator) for _ in range(2)]
    views = [view.to(device).contiguous(memory_format=layout) for view in views]

    def sample() -> float:
        train(views)
        return batch

    return sample


def loop(
    batch: int,
    size: int,
    folder: str | None = None,
    images: int = 512,
    steps: int = 1,
    device: str = "cpu",
    bf16: bool = False,
    channels_last: bool = False,
    workers: int = 0,
) -> Sample:
    """`steps` steps a sample, from files (or 32×32 arrays in memory) through lightly's transform and a DataLoader."""
    layout, train = byol_step(size, device, bf16, channels_last)
    given: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": device == "cuda"}
    pictures = Pictures(byol_transform(size), folder, images)
    loader = DataLoader(pictures, batch_size=batch, shuffle=True, drop_last=True, **given)

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    feed = batches()

    def sample() -> float:
        for _ in range(steps):
            train([view.to(device, memory_format=layout, non_blocking=True) for view in next(feed)])
        return batch * steps

    return sample


def linear(data: str, trunk: str, epochs: int, batch: int, bf16: bool = False, channels_last: bool = False) -> Sample:
    """lightly's linear evaluation from files to top-1, with its classifier and pytorch-lightning's Trainer."""
    from lightly.utils.benchmarking import LinearClassifier
    from pytorch_lightning import Trainer
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder

    model = torchvision.models.resnet50()
    model.fc = nn.Identity()
    model.load_state_dict(torch.load(Path(trunk, "torchvision.pth")))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    end = [T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    training = ImageFolder(f"{data}/train", T.Compose([T.RandomResizedCrop(224), T.RandomHorizontalFlip(), *end]))
    validation = ImageFolder(f"{data}/val", T.Compose([T.Resize(256), T.CenterCrop(224), *end]))
    common: dict[str, Any] = {"batch_size": batch, "num_workers": 1, "persistent_workers": True}

    def sample() -> float:
        torch.manual_seed(0)
        classifier = LinearClassifier(model, batch, lr=1.0, feature_dim=2048, num_classes=10, topk=(1, 5))
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            precision="bf16-mixed" if bf16 else "32-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
            check_val_every_n_epoch=epochs,
        )
        loaders = DataLoader(training, shuffle=True, drop_last=True, **common), DataLoader(validation, **common)
        trainer.fit(classifier, *loaders)
        print(f"top-1 {100 * float(trainer.callback_metrics['val_top1']):.1f} lightly", flush=True)
        return float(epochs * len(training) + len(validation))

    return sample


def knn(bank: int, queries: int, k: int, temperature: float, device: str = "cpu", dim: int = 2048) -> Sample:
    """lightly's function for weighted neighbours; 256 queries at a time, as its evaluation asks."""
    from features import CLASSES, drawn
    from lightly.utils.benchmarking import knn_predict

    rows, labels = drawn(bank, 0, dim, device)
    asked, _ = drawn(queries, 1, dim, device)
    columns = rows.t().contiguous()  # as lightly's classifier keeps it
    del rows

    def sample() -> float:
        for part in asked.split(256):
            knn_predict(part, columns, labels, CLASSES, k, temperature)
        return queries

    return sample
