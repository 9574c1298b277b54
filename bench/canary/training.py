"""Trains one objective for some dozen steps on a small fixed set, and measures the result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from bench.canary.cases import TOLD, Canary
from bench.canary.image_set import COUNTS
from bench.canary.verdict import Measurements
from bench.config.recipe import OptimizerSettings
from bench.data.clips import ClipDataset
from bench.data.images import EvalDataset, Sample, ViewDataset, collate, in_order, loader
from bench.data.sampler import DrawSampler
from bench.data.sets import Index, index
from bench.data.views import View
from bench.nn.encoder import Encoder
from bench.nn.norm import convert_norms
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
DRAWS = 4  # of each held-out clip
COMPARED_OUTPUTS = ("backbone", "projector")
CLASSES, IMAGES = len(OBJECTS), len(OBJECTS) * COUNTS["train"]  # of the training set

Change = Callable[[Objective], None]  # made to an objective before its first step


class CanaryEncoder(Encoder):
    """A ResNet of one basic block a stage, 16 to 128 channels: features of 128 numbers."""

    def __init__(self, seed: int = 0) -> None:
        nn.Module.__init__(self)
        self.arch, self.seed, self.feature_dim = "canary", seed, 128
        widths = (16, 16, 32, 64, 128)
        with seeded(seed, "encoder"):
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(16)
            self.relu = nn.ReLU(inplace=True)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
            for stage in range(1, 5):
                before, after = widths[stage - 1], widths[stage]
                skip = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))
                block = BasicBlock(before, after, *((2, skip) if stage > 1 else ()))
                setattr(self, f"layer{stage}", nn.Sequential(block))
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.avgpool = nn.AdaptiveAvgPool2d(1)


def run(
    case: Canary, root: Path, *changes: Change, seed: int = 0, parts: int = WINDOWS, threads: int = 1
) -> Measurements:
    """Train an objective as its case says, on the images below `root`, and return what was measured.

    Args:
        case: how.
        root: a folder that `render_images` wrote.
        changes: made to the objective before the first step: a shake of its weights, or a planted mistake.
        seed: of weights, views and the order of images.
        parts: how many eighths of the run are done; if fewer than all, only the losses are measured.
        threads: of torch; rounding, and with it all that follows, depends on their number.
    """
    start = time.perf_counter()
    torch.set_num_threads(threads)
    train, val = (index("imagenet", root / "images", split) for split in ("train", "val"))
    objective = build({"name": case.name, **case.settings}, CanaryEncoder(seed), len(train.classes), len(train.files))
    objective.check(case.batch_size, case.view_size)
    if case.norm_images is not None:
        convert_norms(objective, "cpu", parts=case.batch_size // case.norm_images)
    dataset = _dataset(objective, train, root, case, seed)
    for change in changes:
        change(objective)
    if parts < WINDOWS:
        losses = _losses(objective.train(), dataset, case, seed, case.steps * parts // WINDOWS)
        return Measurements(_means(losses, parts))
    bank, queries = _features(objective, train, case.view_size), _changed(objective, val, case.view_size)
    told = _told(objective, root, case)
    before, weights = _accuracy(bank, queries), {name: p.detach().clone() for name, p in objective.named_parameters()}
    losses = _losses(objective.train(), dataset, case, seed, case.steps)
    bank, queries = _features(objective, train, case.view_size), _changed(objective, val, case.view_size)
    return Measurements(
        losses=_means(losses, WINDOWS),
        knn_percent=_accuracy(bank, queries),
        knn_random_percent=before,
        std=min(float(deviation(bank[name])) * bank[name].shape[1] ** 0.5 for name in COMPARED_OUTPUTS if name in bank),
        rank=float(effective_rank(singular_values(centred(bank["backbone"])))),
        moved=_moved(objective, weights),
        told_percent=_told(objective, root, case),
        told_random_percent=told,
        seconds=time.perf_counter() - start,
        capability=torch.backends.cpu.get_cpu_capability(),
    )


@torch.no_grad()
def _moved(objective: Objective, before: dict[str, Tensor]) -> dict[str, float]:
    """Return {network: root mean square distance of its weights from those before}."""
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


def shake(number: int) -> Change:
    """Return what multiplies each trained weight by 1 + 0.0001·N(0, 1), drawn from seed `number`; 0: does nothing."""

    def change(objective: Objective) -> None:
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for parameter in objective.parameters():
                if parameter.requires_grad:
                    parameter.mul_(1 + 1e-4 * torch.randn(parameter.shape, generator=generator))

    return change if number else lambda objective: None  # noqa: ARG005


def _losses(
    objective: Objective, dataset: ViewDataset | ClipDataset, case: Canary, seed: int, steps: int
) -> list[float]:
    """Train for the first `steps` of the schedule and return the loss of each."""
    settings = OptimizerSettings.model_validate({"name": "adam", "lr": case.lr, "lr_batch": None})
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


def _features(objective: Objective, images: Index, size: int) -> dict[str, Tensor]:
    """Return the objective's outputs, M×D each, of the centre crops of all images in eval mode, and their labels."""
    data = EvalDataset(images, size, size * 9 // 8, backend="fast")
    return _outputs(objective, [[data[i] for i in some] for some in in_order(len(data), 96)])


def _changed(objective: Objective, images: Index, size: int) -> dict[str, Tensor]:
    """As `_features`, of images whose colours and crop are changed, which random weights are sensitive to."""
    view = View(size=size, scale=(0.35, 1.0), jitter=(0.4, 0.4, 0.4, 0.2), jitter_p=1.0, grey=0.3, blur=0.0)
    data = ViewDataset(images, (view,), seed=0, backend="fast")
    return _outputs(objective, [[data[i, i] for i in some] for some in in_order(len(data), 96)])


@torch.no_grad()
def _told(objective: Objective, root: Path, case: Canary) -> float:
    """Return the `top1_percent` of held-out clips, each drawn four times, in eval mode; nan where there is none."""
    clip = objective.video()
    if case.name not in TOLD or clip is None:
        return math.nan
    objective.eval()
    clips = index("clips", root / "clips", "val")
    data = ClipDataset(clips, objective.views(case.view_size), 0, clip, backend="fast")
    parts = len(data) // case.batch_size  # each of clips that are far apart in the list, so of all kinds
    percent = 0.0
    for number in range(DRAWS):
        for some in range(parts):
            reseed(0, "told", number, some)
            samples = [data[i, number * len(data) + i] for i in range(some, len(data), parts)]
            percent += objective(collate(samples).to("cpu"))["top1_percent"].item()
    return percent / (DRAWS * parts)


@torch.no_grad()
def _outputs(objective: Objective, parts: list[list[Sample]]) -> dict[str, Tensor]:
    objective.eval()
    outputs: dict[str, list[Tensor]] = {}
    for part in parts:
        batch = collate(part).to("cpu")
        assert batch.labels is not None
        for name, value in {**objective.outputs(batch.views[0]), "labels": batch.labels}.items():
            outputs.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in outputs.items()}


def _accuracy(bank: dict[str, Tensor], queries: dict[str, Tensor]) -> float:
    """Return the top-1 accuracy in percent of a vote of the 5 nearest neighbours by cosine."""
    query, known = (nn.functional.normalize(part["backbone"], dim=1) for part in (queries, bank))
    nearest = (query @ known.T).topk(K, dim=1).indices
    votes = nn.functional.one_hot(bank["labels"][nearest]).sum(1)
    return 100.0 * (votes.argmax(1) == queries["labels"]).float().mean().item()
