"""What is killed: small grids that together run all kinds of stages, on data that are rendered once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PRETRAIN = (
    "arch=resnet18w16",
    "objective.hidden_dim=64",
    "objective.projection_dim=32",
    "pretrain.subset=16",
    "pretrain.epochs=3",
)
PRETRAIN += ("pretrain.checkpoint.every_steps=1",)


@dataclass(frozen=True)
class Subject:
    """One `bench run` that is started, killed and started again.

    Attributes:
        name: what figures call it.
        words: of the command, without data and folders.
        share: of all lives, relative to the others'.
        processes: of a stage that takes several.
        real: whether each start is a process of its own, as a shell starts it, and not a fork of one that has imported.
    """

    name: str
    words: Sequence[str]
    share: int
    processes: int = 1
    real: bool = False

    def command(self, data: Path) -> list[str]:
        """Return the words after `bench`."""
        gpus = ("--gpus", str(self.processes)) if self.processes > 1 else ()
        return ["run", *self.words, *gpus, "--profile", "smoke", "--data-root", str(data), "--results-dir", "results"]


def _pretraining(workers: int, *tasks: str, settings: Sequence[str] = PRETRAIN) -> list[str]:
    words = ["--pretrain", "coco_two_loss", "--downstream", *tasks]
    return [*words, "--set", *settings, f"pretrain.workers={workers}", f"downstream.workers={workers}"]


SEGMENTATION = ("--pretrain", "random_init", "--downstream", "cityscapes_pspnet", "--set", "arch=resnet18")
SEGMENTATION += ("validate_every=2", "downstream.workers=1")

SUBJECTS = (
    *(Subject(f"one process, {n} workers", _pretraining(n, "imagenet_linear", "imagenet_knn"), 3) for n in range(4)),
    Subject("segmentation", SEGMENTATION, 3),
    Subject("two processes", _pretraining(1, "imagenet_linear", "imagenet_knn"), 2, processes=2),
    Subject("fresh processes", _pretraining(1, "imagenet_linear"), 1, real=True),
)
