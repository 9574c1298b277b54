"""Stages on small images: both layouts of a data set give one result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_images import write_binary, write_png

from bench.config.recipe import OptimizerSettings, Recipe
from bench.config.tasks import KnnTask, LinearTask
from bench.data.sets import fingerprint
from bench.errors import BadInput
from bench.stages import knn, linear, pretrain
from bench.stages.job import Job

pytestmark = pytest.mark.slow

COMMON: dict[str, Any] = {"name": "small", "summary": "", "source": "here", "profile": "smoke", "precision": "float32"}
TASK: dict[str, Any] = COMMON | {"size": 32, "resize": 32, "batch_size": 8, "workers": 1}
ROOTS: dict[str, Callable[[str, Path], Any]] = {"binary": write_binary, "png": write_png}


def job(dataset: str, config: Any, root: Path, folder: Path, **more: Any) -> Job:
    folder.mkdir(exist_ok=True)
    return Job(config, 0, folder, data_roots={dataset: root}, **more)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["stl10"])
def test_neighbours_and_a_linear_head_are_those_of_the_other_layout(
    dataset: str, trunk_folder: Path, tmp_path: Path
) -> None:
    tasks = [
        (knn, KnnTask(kind="knn", dataset=dataset, k=3, subset=12, **TASK)),  # type: ignore[arg-type]
        (
            linear,
            LinearTask(
                kind="linear", dataset=dataset, epochs=1, learning_rates=(0.1, 1.0), selection_share=0.4, **TASK
            ),  # type: ignore[arg-type]
        ),
    ]
    results: list[list[dict[str, Any]]] = []
    for name, write in ROOTS.items():
        root = tmp_path / name
        write(dataset, root)
        more = {"inputs": {"convert": trunk_folder}, "features": tmp_path / "features"}
        more["data"] = {dataset: fingerprint(dataset, root)}
        results.append([stage.run(job(dataset, task, root, tmp_path / "stage", **more)) for stage, task in tasks])
        assert len(list((tmp_path / "features").iterdir())) == 3 * len(results)  # nothing is taken from the other
    assert results[0] == results[1]
    assert (results[0][0]["bank_images"], results[0][0]["validation_images"]) == (12, 6)


def recipe(dataset: str, **more: Any) -> Recipe:
    return Recipe(
        dataset=dataset,  # type: ignore[arg-type]
        objective={"name": "simsiam", "hidden_dim": 16, "projection_dim": 16},
        arch="resnet18w16",
        view_size=32,
        epochs=1,
        batch_size=11,
        optimizer=OptimizerSettings(lr=0.05),
        **COMMON,
        **more,
    )


@pytest.mark.slow
def test_pretraining_on_stl_sees_the_unlabelled_images(tmp_path: Path) -> None:
    weights = []
    for name, write in ROOTS.items():
        write("stl10", tmp_path / name)
        folder = tmp_path / f"stage {name}"
        result = pretrain.run(job("stl10", recipe("stl10"), tmp_path / name, folder))
        assert result["steps"] == 2  # of 11 of 15 + 7 images; of 15 there would be one
        weights.append(torch.load(folder / "last.ckpt", weights_only=False)["objective"])
    assert all(torch.equal(one, weights[1][name]) for name, one in weights[0].items())


def test_pretraining_on_stl_without_them_is_refused(tmp_path: Path) -> None:
    write_binary("stl10", tmp_path / "data")
    (tmp_path / "data" / "stl10_binary" / "unlabeled_X.bin").unlink()
    with pytest.raises(BadInput, match=r"unlabeled_X\.bin is missing"):
        pretrain.run(job("stl10", recipe("stl10"), tmp_path / "data", tmp_path / "stage"))


@pytest.mark.slow
def test_planning_says_what_only_pretraining_lacks(bench: Callable[..., Any], tmp_path: Path) -> None:
    write_binary("stl10", tmp_path / "stl10")
    (tmp_path / "stl10" / "stl10_binary" / "unlabeled_X.bin").unlink()
    words = ["--downstream", "imagenet_knn", "--set", "downstream.dataset=stl10", "--data-root", "stl10=stl10"]
    lacks = "unlabeled_X.bin is missing"
    planned = bench("plan", "--pretrain", "imagenet_simsiam", "--set", "pretrain.dataset=stl10", *words)
    assert f"{lacks}; unpack" in planned.stdout + planned.stderr
    refused = bench("run", "--pretrain", "imagenet_simsiam", "--set", "pretrain.dataset=stl10", *words)
    assert refused.returncode == 2
    assert lacks in refused.stderr
    control = bench("plan", "--pretrain", "random_init", *words)
    assert control.returncode == 0
    assert lacks not in control.stdout + control.stderr
