"""A tiny objective, data and recipe for tests of the loop, and a program that trains them:

    python stand_in.py FOLDER [--signal-at STEP] [--set key=value …]

The objective has all that makes resuming hard: dropout, a batch norm, an EMA target, several terms, a queue.
"""

from __future__ import annotations

import argparse
import copy
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset, Sampler

from bench.config.assignments import parse_assignments
from bench.config.recipe import Recipe
from bench.randomness import derive, generator
from bench.train.checkpoint import LAST, before, read
from bench.train.distributed import Ranks, ranks_of
from bench.train.feed import Parts, Source
from bench.train.interventions import Interventions, until_done
from bench.train.loop import fit
from bench.train.metrics_log import read_metrics

torch.set_num_threads(1)  # so small a network only loses by more; and the last bits may depend on it

LENGTH = 14
TIMES = ("images_per_second", "data_wait_share")  # what may differ between two equal runs


@dataclass
class Batch:
    images: Tensor  # N×3×8×8
    indices: Tensor  # N
    skipped: int = 0

    def to(self, device: torch.device, memory_format: Any = None, non_blocking: bool = False) -> Batch:
        assert memory_format in {None, torch.channels_last}
        return Batch(self.images.to(device), self.indices.to(device), self.skipped)

    def __len__(self) -> int:
        return len(self.images)


class Noise(Dataset[Any]):
    def __init__(self, dtype: torch.dtype, seed: int = 0) -> None:
        self.dtype, self.seed = dtype, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        index, draw = key
        image = generator(self.seed, "image", index).standard_normal((3, 8, 8))
        image += 0.3 * generator(self.seed, "view", draw).standard_normal((3, 8, 8))
        return torch.from_numpy(image).to(self.dtype), index

    def __len__(self) -> int:
        return LENGTH


class Draws(Sampler[list[tuple[int, int]]]):
    """One rank's share of each global batch, from an optimizer step on, without an end."""

    def __init__(self, batch: int, start: int, rank: int = 0, world: int = 1, seed: int = 0) -> None:
        self.batch, self.start, self.rank, self.world, self.seed = batch, start, rank, world, seed

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch, step = LENGTH // self.batch, self.start
        while True:
            epoch, within = divmod(step, per_epoch)
            order = generator(self.seed, "epoch", epoch).permutation(LENGTH)
            positions = range(within * self.batch + self.rank, (within + 1) * self.batch, self.world)
            yield [(int(order[p]), epoch * per_epoch * self.batch + p) for p in positions]
            step += 1


def collate(samples: list[tuple[Tensor, int]]) -> Batch:
    skipped = sum(index == 0 for _, index in samples)  # as if image 0 could not be read
    return Batch(torch.stack([image for image, _ in samples]), torch.tensor([i for _, i in samples]), skipped)


def source(recipe: Recipe, workers: int = 0, ranks: Ranks | None = None, dtype: torch.dtype = torch.float32) -> Source:
    ranks = ranks or Ranks()

    def batches(step: int) -> DataLoader[Batch]:
        draws = Draws(recipe.batch_size, step, ranks.rank, ranks.world)
        return DataLoader(
            Noise(dtype), batch_sampler=Parts(draws, recipe.accumulate), num_workers=workers, collate_fn=collate
        )

    return batches


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default}
        return func(*args, **(kwargs or {}))


class StandIn(nn.Module):
    """Regression of a projection on that of an EMA target, and a term that keeps the features spread."""

    def __init__(self, norm: bool = True, dropout: float = 0.2, ema: bool = True) -> None:
        super().__init__()
        torch.manual_seed(derive(0, "weights"))
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(dropout)
        )
        self.projector = nn.Linear(8, 4)
        self.target = nn.ModuleList([copy.deepcopy(self.encoder), copy.deepcopy(self.projector)]) if ema else None
        if self.target is not None:
            self.target.requires_grad_(False)
        self.ema = ema
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.hook: Callable[[int], None] | None = None  # called after each optimizer step
        self.progress: list[float] = []

    def views(self, size: int) -> tuple[Any, ...]:
        return ()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        z = self.projector(self.encoder(batch.images).mean((2, 3)))  # N×4
        if self.target is not None:
            with torch.no_grad():
                t = self.target[1](self.target[0](batch.images.flip(3)).mean((2, 3)))
        else:
            t = torch.sin(batch.images.mean((2, 3)).sum(1, keepdim=True) + torch.arange(4, device=z.device))
        near, spread = (z - t - 1).square().mean(), z.sin().mean()
        return {"loss": near + 0.1 * spread, "near": near, "spread": spread}

    def before_step(self, progress: float) -> None:
        assert 0.0 <= progress < 1.0
        assert all(p.grad is not None for p in self.parameters() if p.requires_grad)

    def after_step(self, progress: float) -> None:
        self.progress.append(progress)
        rate = 0.9 + 0.1 * progress
        if self.target is not None:
            online = [*self.encoder.parameters(), *self.projector.parameters()]
            for ours, theirs in zip(self.target.parameters(), online, strict=True):
                ours.data.lerp_(theirs.data, 1 - rate)
        self.seen += 1
        if self.hook is not None:
            self.hook(int(self.seen))

    def param_groups(self) -> list[dict[str, Any]]:
        trained = [p for p in self.parameters() if p.requires_grad]
        return [
            {"params": [p for p in trained if p.ndim > 1], "decay": True, "adapt": True},
            {"params": [p for p in trained if p.ndim <= 1], "decay": False, "adapt": False},
        ]


def recipe(**values: Any) -> Recipe:
    """14 images in batches of 4: three steps an epoch, three epochs, a log line every two steps."""
    given: dict[str, Any] = {
        "name": "tiny",
        "summary": "",
        "source": "here",
        "profile": "smoke",
        "dataset": "coco",
        "objective": {"name": "stand_in"},
        "arch": "resnet18",
        "epochs": 3,
        "batch_size": 4,
        "precision": "float32",
        "optimizer": {"name": "lars", "lr": 0.5, "lr_batch": 4, "weight_decay": 1e-3, "trust_coefficient": 0.1},
        "schedule": {"warmup_epochs": 0.5},
        "checkpoint": {"every_steps": 2, "keep_every_epochs": 1},
        "log_every": 2,
    }
    return Recipe.model_validate(given | values)


def train(
    folder: Path,
    config: Recipe | None = None,
    *,
    workers: int = 0,
    hook: Callable[[int], None] | None = None,
    ranks: Ranks | None = None,
    dtype: torch.dtype = torch.float32,
    kind: type[StandIn] = StandIn,
    **model: Any,
) -> dict[str, Any]:
    """Train the stand-in in `folder`; `hook(step)` is called after each optimizer step."""
    folder.mkdir(exist_ok=True)
    config = config or recipe()

    def attempt(again: bool) -> dict[str, Any]:
        objective = kind(**model).to(dtype)
        objective.hook = hook
        return fit(
            objective,  # type: ignore[arg-type]
            source(Interventions(folder, config, ranks or Ranks()).recipe, workers, ranks, dtype),
            config,
            seed=7,
            steps_per_epoch=LENGTH // config.batch_size,
            folder=folder,
            ranks=ranks,
            again=again,
        )

    return until_done(attempt)


def lines(folder: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_metrics(folder)]


def same(a: Any, b: Any) -> bool:
    """Whether two nested values are equal bit for bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def assert_same_run(a: Path, b: Path) -> None:
    """Assert that two folders hold the same run: files, weights, optimizer, sums and log lines, bit for bit.

    Of which step the checkpoint before the last one is depends on when a run was stopped.
    """
    older = before(a / LAST).name
    names, others = (sorted({file.name for file in folder.glob("*.ckpt")} - {older}) for folder in (a, b))
    assert names == others
    assert LAST in names
    for name in names:
        ours, theirs = read(a / name), read(b / name)
        for key in ours:
            assert same(ours[key], theirs[key]), f"{name}: {key} differs"
    assert lines(a) == lines(b)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--signal-at", type=int, help="send SIGTERM to the whole process group in this step")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--model", nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--double", action="store_true")
    words = parser.parse_args()

    class Signalled(StandIn):
        def forward(self, batch: Batch) -> dict[str, Tensor]:
            if int(self.seen) + 1 == words.signal_at and not signal.getsignal(signal.SIGTERM).__self__.asked:
                # By another process, as in life: torch's workers leave quietly when their parent ends them.
                group = os.getpgid(0)
                assert group == os.getpid(), "start this program in a session of its own"
                program = f"import os, signal; os.killpg({group}, signal.SIGTERM)"
                subprocess.run([sys.executable, "-c", program], check=False)
                time.sleep(0.5)  # a worker that got it has ended by now
            return super().forward(batch)

    with ranks_of(device="cpu") as ranks:
        train(
            words.folder,
            recipe(**parse_assignments(words.set)),
            workers=words.workers,
            ranks=ranks,
            kind=Signalled,
            dtype=torch.float64 if words.double else torch.float32,
            **parse_assignments(words.model),
        )


if __name__ == "__main__":
    main()
