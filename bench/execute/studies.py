"""Studies as data: which pretrainings go to which tasks, in which order, to give one published table.

A study is a line in STUDIES; `bench reproduce NAME` does the rest. Nothing here is run, and torch is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.config.objective_settings import settings_of


@dataclass(frozen=True)
class Part:
    """Pretrainings of one data set, each once for every combination of swept values, and what is measured of them."""

    dataset: str
    pretrain: tuple[str, ...]
    downstream: tuple[str, ...]
    assignments: tuple[str, ...] = ()  # --set, under profile full alone: other profiles have schedules of their own
    sweep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """Parts in the order in which they run: all of one seed before the next seed. `smoke` is the path in seconds."""

    summary: str
    parts: tuple[Part, ...]
    smoke: Part


def _small(dataset: str) -> tuple[str, ...]:
    """What is measured on a set of small images: the deck's three accuracies first, then the usual protocols."""
    return tuple(f"{dataset}_{task}" for task in ("linear_adam", "knn5", "knn", "linear"))


def _candidates() -> tuple[str, ...]:
    """What a second loss may be."""
    return settings_of("two_loss")["loss2"].choices


# The deck doesn't say what its second loss was. The candidates run a fifth of the schedule, on the smallest set, beside
# BYOL at that same schedule: a difference is to nothing else.
_SHORTER = ("pretrain.epochs=200",)

# What two CPU cores can do in an hour: 781 steps of 64 images, on maps of a 64th of the area, in float32. That is a
# thousandth of the deck's training: it says how the losses behave, and nothing about the deck's accuracies.
# (`dense_byol` is not among the candidates, since C5 is a single position here.)
_SHORT = (
    *("pretrain.stem=imagenet", "pretrain.epochs=1", "pretrain.batch_size=64", "pretrain.precision=float32"),
    *("pretrain.schedule.warmup_steps=50", "downstream.subset=10000", "downstream.precision=float32"),
)
_SHORT_TASKS = ("cifar10_linear_adam", "cifar10_knn5", "cifar10_knn")

STUDIES = {
    "deck-small": Study(
        summary="The deck's first table: BYOL with one loss, two, and the second alone, on CIFAR-10, CIFAR-100, STL-10",
        parts=(
            Part("cifar10", ("cifar10_byol_loss1", "cifar10_byol_two_loss", "cifar10_byol_loss2"), _small("cifar10")),
            Part(
                "cifar100", ("cifar100_byol_loss1", "cifar100_byol_two_loss", "cifar100_byol_loss2"), _small("cifar100")
            ),
            Part("stl10", ("stl10_byol_loss1", "stl10_byol_two_loss"), _small("stl10")),
            Part("cifar10", ("cifar10_byol_loss1",), _small("cifar10"), _SHORTER),
            Part(
                "cifar10",
                ("cifar10_byol_two_loss", "cifar10_byol_loss2"),
                _small("cifar10"),
                _SHORTER,
                sweep=(f"objective.loss2={','.join(_candidates())}",),
            ),
        ),
        smoke=Part("cifar10", ("cifar10_byol_loss1", "cifar10_byol_two_loss"), ("cifar10_linear_adam", "cifar10_knn5")),
    ),
    "loss2-short": Study(
        summary="How readings of the deck's second loss behave when training begins, for CPUs; not a table of the deck",
        parts=(
            Part(
                "cifar10",
                ("cifar10_byol_loss1", "cifar10_byol_two_loss", "cifar10_byol_loss2"),
                _SHORT_TASKS,
                _SHORT,
            ),
            Part(
                "cifar100",
                ("cifar100_byol_loss1", "cifar100_byol_two_loss", "cifar100_byol_loss2"),
                tuple(task.replace("cifar10", "cifar100") for task in _SHORT_TASKS),
                _SHORT,
            ),
            Part(
                "cifar10",
                ("cifar10_byol_loss2", "cifar10_byol_two_loss"),
                _SHORT_TASKS,
                _SHORT,
                sweep=("objective.loss2=least_squares,align_uniform,variance_covariance",),
            ),
        ),
        smoke=Part("cifar10", ("cifar10_byol_loss2",), ("cifar10_knn5",)),
    ),
}
