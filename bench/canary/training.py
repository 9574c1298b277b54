"""Trains one objective for seconds on one core, and says what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from bench.canary.cases import Canary
from bench.canary.images import COUNTS
from bench.config.recipe import OptimizerSettings
from bench.data.clips import ClipDataset
from bench.data.images import EvalDataset, Sample, ViewDataset, collate, in_order, loader
from bench.data.sampler import DrawSampler
from bench.data.sets import Index, index
from bench.data.views import Batch, View
from bench.nn.encoder import Encoder
from bench.nn.representation import centred, deviation, effective_rank, singular_values
from bench.nn.seeding import seeded
from bench.objectives import build
from bench.objectives.base import Objective
from bench.randomness import reseed
from bench.synthetic.things import OBJECTS
from bench.train.optim import build_optimizer, set_rates

WINDOWS = 8  # parts of the run that the loss is averaged over
WARMUP = 8  # steps
K = 5  # neighbours
LOOKED_AT = ("backbone", "projector")  # of what an objective puts out
KINDS, COUNT = len(OBJECTS), len(OBJECTS) * COUNTS["train"]  # classes and images that objectives are told of

Sabotage = Callable[[Objective], None]


class CanaryEncoder(Encoder):
    """A ResNet of one basic block a stage, 16 to 128 channels: features of 128 numbers.

    Args:
        seed: of the initial weights.
        small: for images of 32 pixels: a 3×3 stem without stride or max-pool, and a first stage of stride 2, so that C5
            has 2×2 positions.
    """

    def __init__(self, seed: int = 0, *, small: bool = False) -> None:
        nn.Module.__init__(self)
        self.arch, self.seed, self.feature_dim = "canary", seed, 128
        widths = (16, 16, 32, 64, 128)
        kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        with seeded(seed, "encoder"):
            self.conv1, self.bn1 = nn.Conv2d(3, 16, kernel, stride, padding, bias=False), nn.BatchNorm2d(16)
            self.relu = nn.ReLU(inplace=True)
            self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
            for stage in range(1, 5):
                before, after = widths[stage - 1], widths[stage]
                skip = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))
                block = BasicBlock(before, after, *((2, skip) if small or stage > 1 else ()))
                setattr(self, f"layer{stage}", nn.Sequential(block))
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.avgpool = nn.AdaptiveAvgPool2d(1)


@dataclass(frozen=True)
class Song:
    """What came of a run.

    Args:
        losses: means over eight equal parts of the run.
        knn_percent: top-1 of 5 neighbours by the cosine of the pooled feature.
        knn_random_percent: the same before the first step.
        std: mean over dimensions of the standard deviation of the unit features, times √D: 1 when they fill the
            sphere, 0 when collapsed; the smaller of the pooled feature's and the projection's.
        rank: effective rank of the pooled feature (exp of the entropy of singular values).
        moved: by network, the root mean square of how far its weights went from where they started; networks are the
            objective's children, and what has no weights is not among them.
        seconds: of the whole run.
    """

    losses: tuple[float, ...]
    knn_percent: float
    knn_random_percent: float
    std: float
    rank: float
    moved: dict[str, float]
    seconds: float

    def values(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


def sing(case: Canary, root: Path, seed: int = 0, sabotage: Sequence[Sabotage] = (), parts: int = WINDOWS) -> Song:
    """Train an objective as its case says, on the images below `root`.

    Args:
        case: how.
        root: a folder that `render_images` wrote.
        seed: of weights, views and the order of images.
        sabotage: done to the objective before the first step, for tests of the canary itself.
        parts: of the eight parts of the run, how many are done; of fewer than all, only the losses are measured.
    """
    start = time.perf_counter()
    torch.set_num_threads(1)  # the last bits, and with them all that follows, would depend on their number
    train, val = (index("imagenet", root / "images", split) for split in ("train", "val"))
    objective = build({"name": case.name, **case.settings}, CanaryEncoder(seed), len(train.classes), len(train.files))
    objective.check(case.batch_size, case.view_size)
    dataset = _dataset(objective, train, root, case, seed)
    for spoil in sabotage:
        spoil(objective)
    if parts < WINDOWS:  # what is not compared is not measured
        losses = descend(objective.train(), dataset, case, seed, case.steps * parts // WINDOWS)
        nan = math.nan
        return Song(_means(losses, parts), nan, nan, nan, nan, {}, time.perf_counter() - start)
    bank, queries = features(objective, train, case.view_size), changed(objective, val, case.view_size)
    before, weights = neighbours(bank, queries), {name: p.detach().clone() for name, p in objective.named_parameters()}
    losses = descend(objective.train(), dataset, case, seed, case.steps)
    bank, queries = features(objective, train, case.view_size), changed(objective, val, case.view_size)
    return Song(
        losses=_means(losses, WINDOWS),
        knn_percent=neighbours(bank, queries),
        knn_random_percent=before,
        std=min(
            float(deviation(z)) * z.shape[1] ** 0.5 for name, z in bank.items() if name in ("backbone", "projector")
        ),
        rank=float(effective_rank(singular_values(centred(bank["backbone"])))),
        moved=moved(objective, weights),
        seconds=time.perf_counter() - start,
    )


@torch.no_grad()
def moved(objective: Objective, before: dict[str, Tensor]) -> dict[str, float]:
    """Return how far each network's weights are from where they were, as a root mean square."""
    squares: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for name, parameter in objective.named_parameters():
        network = name.partition(".")[0]
        squares[network] = squares.get(network, torch.zeros(())) + (parameter - before[name]).square().sum()
        counts[network] = counts.get(network, 0) + parameter.numel()
    return {network: float(square / counts[network]) ** 0.5 for network, square in squares.items()}


def _means(losses: Sequence[float], parts: int) -> tuple[float, ...]:
    """The means over equal parts."""
    cuts = [losses[len(losses) * i // parts : len(losses) * (i + 1) // parts] for i in range(parts)]
    return tuple(sum(cut) / len(cut) for cut in cuts)


def _dataset(objective: Objective, train: Index, root: Path, case: Canary, seed: int) -> ViewDataset | ClipDataset:
    views, clip = objective.views(case.view_size), objective.video()
    if clip is not None:
        return ClipDataset(index("clips", root / "clips", "train"), views, seed, clip, backend="fast")
    return ViewDataset(train, views, seed, backend="fast", map=objective.map)


def shaken(number: int) -> Sabotage:
    """Return what changes an objective's trained weights by a ten-thousandth of themselves, at random."""

    def shake(objective: Objective) -> None:
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for parameter in objective.parameters():
                if parameter.requires_grad:
                    parameter.mul_(1 + 1e-4 * torch.randn(parameter.shape, generator=generator))

    return shake


def descend(
    objective: Objective, dataset: ViewDataset | ClipDataset, case: Canary, seed: int, steps: int
) -> list[float]:
    """Train for the first `steps` of the schedule and return the loss of each."""
    settings = OptimizerSettings.model_validate({"name": case.optimizer, "lr": case.lr, "lr_batch": None})
    optimizer = build_optimizer(objective.param_groups(), settings, case.batch_size)
    batches = loader(dataset, DrawSampler(len(dataset), case.batch_size, seed))
    losses = []
    for step, batch in zip(range(steps), batches, strict=False):
        reseed(seed, "step", step)
        loss = objective(batch.to("cpu"))["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        set_rates(optimizer, case.lr * min(1.0, (step + 1) / WARMUP), case.lr)
        objective.before_step(step / case.steps)
        optimizer.step()
        objective.after_step(step / case.steps)
        losses.append(loss.item())
    return losses


def features(objective: Objective, images: Index, size: int) -> dict[str, Tensor]:
    """Return what `outputs` gives of the centres of all images in eval mode, M×D each, and their labels."""
    data = EvalDataset(images, size, size * 9 // 8, backend="fast")
    return _all_outputs(objective, [[data[i] for i in some] for some in in_order(len(data), 96)])


def changed(objective: Objective, images: Index, size: int) -> dict[str, Tensor]:
    """As `features`, of images whose colours and crop are changed: random weights find it hard to see past that."""
    view = View(size=size, scale=(0.35, 1.0), jitter=(0.4, 0.4, 0.4, 0.2), jitter_p=1.0, grey=0.3, blur=0.0)
    data = ViewDataset(images, (view,), seed=0, backend="fast")
    return _all_outputs(objective, [[data[i, i] for i in some] for some in in_order(len(data), 96)])


@torch.no_grad()
def _all_outputs(objective: Objective, parts: list[list[Sample]]) -> dict[str, Tensor]:
    objective.eval()
    found: dict[str, list[Tensor]] = {}
    for part in parts:
        for name, value in _outputs(objective, collate(part).to("cpu")).items():
            found.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in found.items()}


def _outputs(objective: Objective, batch: Batch) -> dict[str, Tensor]:
    assert batch.labels is not None
    return {**objective.outputs(batch.views[0]), "labels": batch.labels}


def neighbours(bank: dict[str, Tensor], queries: dict[str, Tensor]) -> float:
    """Return the top-1 accuracy in percent of a vote of the 5 nearest by cosine."""
    one, other = (nn.functional.normalize(part["backbone"], dim=1) for part in (queries, bank))
    near = (one @ other.T).topk(K, dim=1).indices
    votes = nn.functional.one_hot(bank["labels"][near]).sum(1)
    return 100.0 * (votes.argmax(1) == queries["labels"]).float().mean().item()
