"""Whether a work folder has room for what a grid will leave there, known while planning and without torch.

The counts are lower bounds, of encoders and their optimizers alone: heads, queues and moving averages come on top. So a
grid that is refused cannot fit, and one that is not may still be too large; each pretraining looks again when it starts
and all its tensors are known (`bench.train.room`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.architectures import parameters_of
from bench.plan import Stage
from bench.storage import check_free

BYTES = 4  # of a weight
WEIGHTS = ("*.ckpt", "*.safetensors", "*.pth")


def check_room(stages: Iterable[Stage], work_dir: Path) -> None:
    """Raise BadInput where the stages that are to do leave more in the work folder than its disk has free."""
    stays, most = 0, 0
    for stage in stages:
        kept, whole = sizes_of(stage)
        stays += max(0, kept - _there(work_dir / stage.folder))
        most = max(most, whole)
    place = next((folder for folder in (work_dir, *work_dir.absolute().parents) if folder.is_dir()), work_dir)
    what = "The checkpoints and trunks of the stages that are to do take at least"
    check_free(place, stays + most, what, "free space there or give another --work-dir")


def sizes_of(stage: Stage) -> tuple[int, int]:
    """Return how many bytes a stage leaves at least, and how many more its next checkpoint takes meanwhile."""
    recipe = stage.recipe
    trunk = BYTES * parameters_of(recipe.arch, recipe.stem)
    if stage.kind == "pretrain":
        if recipe.optimizer is None or recipe.epochs == 0:
            return trunk, 0
        whole = trunk * (1 + recipe.optimizer.kept_of_each_weight)
        kept = sum(recipe.checkpoint.keeps(epoch, recipe.epochs) for epoch in range(recipe.epochs))
        return min(2, recipe.epochs) * whole + kept * trunk, whole if recipe.epochs > 2 else 0
    if stage.kind == "convert":  # the trunk, and its exports
        return (4 if recipe.stem == "imagenet" else 3) * trunk, 0
    return (trunk, 0) if stage.kind == "segmentation" else (0, 0)


def _there(folder: Path) -> int:
    """The bytes of what an earlier start has left of it."""
    return sum(file.stat().st_size for pattern in WEIGHTS for file in folder.glob(pattern))
