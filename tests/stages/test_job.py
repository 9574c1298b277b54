"""Which packs the stages ask their job for."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from bench.config.load import load_recipe, load_task
from bench.config.recipe import Recipe
from bench.config.tasks import Task
from bench.stages import knn, linear, pretrain
from bench.stages.job import Job

SETTLED = {"precision": "float32"}
TINY = SETTLED | {
    "arch": "resnet18w16",
    "view_size": 32,
    "batch_size": 2,
    "objective": {"hidden_dim": 16, "projection_dim": 8},
}


class Asked(BaseException):
    """Ends a stage as soon as it asks for a pack."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "config", "dataset", "purpose"),
    [
        (pretrain, load_recipe("imagenet_0", "smoke", TINY), "imagenet", "training"),
        (linear, load_task("imagenet_linear", "smoke", SETTLED), "imagenet", "training"),
        (knn, load_task("imagenet_knn", "smoke", SETTLED | {"search": "float32"}), "imagenet", "evaluation"),
    ],
)
def test_training_and_evaluation_each_ask_for_packs_of_their_purpose(
    stage: ModuleType,
    config: Recipe | Task,
    dataset: str,
    purpose: str,
    imagenet: Path,
    trunk_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def note(_job: Job, *what: str) -> None:
        asked.append(what)
        raise Asked

    monkeypatch.setattr(Job, "pack", note)
    with pytest.raises(Asked):
        stage.run(Job(config, 0, tmp_path, {"convert": trunk_folder}, {"imagenet": imagenet}))
    assert asked == [(dataset, "train", purpose)]
