"""Images of CIFAR's size: two BYOL views of each, and a whole BYOL step of a ResNet-18 from pixels to new weights.

    python benchmarks/small_images.py [--rounds N] [--only views step] [--quick]

Peers as they are used on CIFAR: transforms of torchvision and Pillow on one image after another, in the processes of a
DataLoader. Against them the back end `resident`, whose images lie on the training device. Writes small_views.json (one
core) and small_step.json (two). benchmarks/gpu.py takes the step's contenders to a GPU: seconds an epoch of 50,000.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from interleave import PEERS, Contender, measure

SIZE, EPOCH, THREADS = 32, 50_000, 2
BASELINE = "lightly 1.6, as shipped"
GOALS = {"resident": 5.0}
PEAK_RATE = 3e-3
Sample = Callable[[], float]


# ---------------------------------------------------------------------------------------------- images


def pixels(count: int) -> Any:
    """Return images N×32×32×3 uint8, smooth with grain; in both environments the same."""
    import numpy as np

    rng = np.random.default_rng(0)
    made = np.repeat(np.repeat(rng.integers(20, 236, (count, 8, 8, 3)), 4, 1), 4, 2)
    return np.clip(made + rng.normal(0, 6, made.shape), 0, 255).astype(np.uint8)


def index(count: int) -> Any:
    """Return the same as a split of this project."""
    from bench.data.sets import Index

    names = tuple(f"image:{number}" for number in range(count))
    return Index("cifar10", Path(), "train", names, (0,) * count, ("one",), pixels=pixels(count))


class Pictures:
    """What a DataLoader of the peers reads: a Pillow image, through a transform."""

    def __init__(self, count: int, transform: Callable[[Any], Any]) -> None:
        self.images, self.transform = pixels(count), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> Any:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[position]))


def lightly_transform() -> Callable[[Any], Any]:
    from lightly.transforms import BYOLTransform, BYOLView1Transform, BYOLView2Transform

    return BYOLTransform(BYOLView1Transform(input_size=SIZE), BYOLView2Transform(input_size=SIZE))


def sololearn_transform() -> Callable[[Any], Any]:
    import sololearn

    data = sololearn.load("utils.pretrain_dataloader")
    each = [data.prepare_transform("cifar10", **sololearn.JITTER, **own) for own in sololearn.ASYMMETRIC]
    return data.prepare_n_crop_transform(each, [1, 1])


PEER_TRANSFORMS = {"lightly": lightly_transform, "solo-learn": sololearn_transform}


# ----------------------------------------------------------------------------------------------- views


def peer_views(whose: str, count: int) -> Sample:
    """Two views of `count` images, one after another, stacked: what a worker of a DataLoader does."""
    import torch

    pictures = Pictures(512, PEER_TRANSFORMS[whose]())
    take = itertools.cycle(range(512))

    def sample() -> float:
        made = [pictures[next(take)] for _ in range(count)]
        for views in zip(*made, strict=True):
            torch.stack(views)
        return count

    return sample


def worker_views(backend: Any, count: int) -> Sample:
    """The same by this project's data set."""
    from bench.data.images import ViewDataset, collate
    from bench.data.views import BYOL_VIEWS

    dataset = ViewDataset(index(512), BYOL_VIEWS(SIZE), 0, backend=backend)
    take, draws = itertools.cycle(range(512)), itertools.count()

    def sample() -> float:
        batch = collate([dataset[next(take), next(draws)] for _ in range(count)])
        return len(batch.to("cpu").views[0])

    return sample


def resident_views(count: int, device: str = "cpu", compiled: bool = False) -> Sample:
    """Two views of batches of `count` images that lie on the device, drawn, made and normalised there."""
    import torch

    from bench.data.sampler import DrawSampler
    from bench.data.views import BYOL_VIEWS
    from bench.data.views.resident import Resident

    split = Resident(index(4 * count), BYOL_VIEWS(SIZE), 0, torch.device(device), compiled=compiled)
    batches = split.batches(DrawSampler(len(split), count, 0))

    def sample() -> float:
        return len(next(batches).to(device, memory_format=torch.channels_last, non_blocking=True).views[0])

    return sample


# ------------------------------------------------------------------------------------------------ steps


def lightly_loop(
    batch: int,
    steps: int,
    images: int,
    device: str = "cpu",
    bf16: bool = False,
    channels_last: bool = False,
    workers: int = 0,
) -> Sample:
    """Steps of lightly's BYOL on CIFAR: its transform in a DataLoader, torchvision's ResNet-18, its heads and loss."""
    import torch
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision.models import resnet18

    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = device == "cuda"
    trunk = resnet18()
    trunk.conv1, trunk.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    backbone = nn.Sequential(*list(trunk.children())[:-1])
    online = nn.ModuleList([backbone, BYOLProjectionHead(512, 1024, 64), BYOLPredictionHead(64, 1024, 64)])
    target = nn.ModuleList([copy.deepcopy(online[0]), copy.deepcopy(online[1])])
    deactivate_requires_grad(target)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for network in (online, target):
        network.to(device=device, memory_format=layout).train()
    criterion = NegativeCosineSimilarity()
    optimizer = torch.optim.Adam(online.parameters(), lr=PEAK_RATE, weight_decay=1e-6)
    given: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": device == "cuda"}
    data: Any = Pictures(images, lightly_transform())
    loader = DataLoader(data, batch_size=batch, shuffle=True, drop_last=True, **given)

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    feed = batches()

    def step() -> None:
        views = [view.to(device, memory_format=layout, non_blocking=True) for view in next(feed)]
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

    def sample() -> float:
        for _ in range(steps):
            step()
        return batch * steps

    return sample


def our_loop(
    batch: int, steps: int, images: int, device: str = "cpu", backend: str = "resident", **switches: Any
) -> Sample:
    """Steps of this project's BYOL on the same, as the recipe of CIFAR-10 has it, with BYOL's own views."""
    from bench.allocator import settle

    settle()
    import torch

    from bench.config.load import load_recipe
    from bench.data.images import ViewDataset, loader
    from bench.data.sampler import DrawSampler
    from bench.data.views.resident import Resident
    from bench.nn.encoder import build_encoder
    from bench.objectives import build
    from bench.train.distributed import Ranks
    from bench.train.feed import to_device
    from bench.train.step import Step

    place = torch.device(device)
    torch.backends.cudnn.benchmark = device == "cuda"
    recipe = load_recipe("cifar10_byol_loss1").model_copy(update={"batch_size": batch, **switches})
    objective = build(recipe.objective, build_encoder(recipe.arch, 0, recipe.stem), 0)
    work = Step(objective, recipe, Ranks(device=place))
    views, sampler = objective.views(SIZE), DrawSampler(images, batch, 0)
    feed: Iterator[Any]
    if backend == "resident":
        feed = Resident(index(images), views, 0, place, compiled=recipe.compile).batches(sampler)
    else:
        dataset: Any = ViewDataset(index(images), views, 0, backend=backend)  # type: ignore[arg-type]
        feed = iter(loader(dataset, sampler, 0))

    def sample() -> float:
        for _ in range(steps):
            work.backward(to_device(next(feed), place, work.memory_format))
            work.update(PEAK_RATE, 0.0)
        return batch * steps

    return sample


# ----------------------------------------------------------------------------------------- measurement


def views_part(quick: bool, rounds: int) -> None:
    """Views alone, on one core."""
    import report
    import sololearn

    few, many = (4, 16) if quick else (64, 512)
    one: dict[str, Any] = {"threads": 1, "warmup": 1}
    contenders = [
        Contender("reference", "small_images:worker_views", {"backend": "reference", "count": few}, "Pillow", **one),
        Contender("fast", "small_images:worker_views", {"backend": "fast", "count": few}, "OpenCV", **one),
        Contender("resident", "small_images:resident_views", {"count": many}, f"batches of {many} in torch", **one),
    ]
    if not quick:
        compiled = {"count": many, "compiled": True}
        contenders.append(Contender("resident, compiled", "small_images:resident_views", compiled, "the same", **one))
    baseline = "reference"
    for number, (name, whose) in enumerate(((BASELINE, "lightly"), ("solo-learn 1.0.2", "solo-learn"))):
        if not PEERS.exists() or (whose == "solo-learn" and not sololearn.at_hand()):
            print(f"{name} is left out: make peers fetches it")
            continue
        same = {"whose": whose, "count": few}
        contenders.insert(number, Contender(name, "small_images:peer_views", same, "Pillow", peer=True, **one))
        baseline = contenders[0].name
    report.write(
        "small_views",
        f"Two BYOL views at {SIZE} of each image of {SIZE}x{SIZE} pixels, one core",
        measure(contenders, rounds),
        unit="images",
        baseline=baseline,
        goals={} if quick else GOALS,
        notes=[
            "Images lie in memory as uint8; all end in normalised float32.",
            f"Samples of {few} images where they are made one by one, of {many} where they are made as a batch.",
        ],
    )


def step_part(quick: bool, rounds: int) -> None:
    """From pixels to new weights, on two cores."""
    import report

    batch = 4 if quick else 32
    same: dict[str, Any] = {"batch": batch, "steps": 1, "images": 4 * batch}
    two: dict[str, Any] = {"threads": THREADS}
    contenders = [
        Contender("ours, fast", "small_images:our_loop", same | {"backend": "fast"}, "bf16, channels_last", **two),
        Contender("ours, resident", "small_images:our_loop", same, "bf16, channels_last", **two),
    ]
    if PEERS.exists():
        tuned = same | {"bf16": True, "channels_last": True}
        about = "bf16, channels_last"
        contenders[:0] = [
            Contender(BASELINE, "small_images:lightly_loop", same, "float32, NCHW", peer=True, **two),
            Contender("lightly, tuned", "small_images:lightly_loop", tuned, about, peer=True, **two),
        ]
    else:
        print("lightly is left out: make peers fetches it")
    report.write(
        "small_step",
        f"One BYOL step from pixels, ResNet-18 for {SIZE} pixels, batch {batch}",
        measure(contenders, rounds),
        unit="images",
        baseline=contenders[0].name,
        notes=[f"All read in the training process, {THREADS} threads; BYOL's views, heads of 1,024 and 64, Adam."],
    )


PARTS: dict[str, Callable[[bool, int], None]] = {"views": views_part, "step": step_part}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="one round of few images: shows that it runs")
    words = parser.parse_args()
    for name in words.only:
        PARTS[name](words.quick, 1 if words.quick else words.rounds)


if __name__ == "__main__":
    main()
