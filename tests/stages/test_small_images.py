"""What runs on CIFAR and STL-10 are made of: the views that replace an objective's own, and stems under objectives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.config.load import load_recipe, load_task
from bench.config.recipe import Recipe
from bench.config.tasks import KnnTask, LinearTask, SegmentationTask
from bench.data.views import SMALL_VIEW, Batch, View
from bench.data.views.pillow import make_test_view
from bench.errors import BadInput
from bench.nn.encoder import build_encoder
from bench.objectives import OBJECTIVES, build
from bench.objectives.base import Objective
from bench.stages import convert, knn, linear, pretrain
from bench.stages.job import Job
from bench.stages.linear import rate_factor
from bench.stages.pretrain import views_of
from bench.train.schedule import learning_rate, peak_rate

pytestmark = pytest.mark.slow

SMALL: dict[str, dict[str, Any]] = {
    "byol": {"hidden_dim": 16, "projection_dim": 8},
    "two_loss": {"hidden_dim": 16, "projection_dim": 8},
    "moco": {"queue_size": 4, "dim": 8},
}


def recipe(name: str, augmentation: str = "small", size: int = 32, **objective: Any) -> Recipe:
    empty: dict[str, Any] = {"summary": "", "source": "", "profile": "full", "optimizer": {"lr": 1.0}}
    settings = {"name": name, **objective}
    return Recipe(
        name="test",
        dataset="imagenet",
        epochs=1,
        objective=settings,
        augmentation=augmentation,
        view_size=size,
        **empty,
    )


def views(name: str, augmentation: str = "small", size: int = 32, **objective: Any) -> tuple[View, ...]:
    wanted = recipe(name, augmentation, size, **objective)
    model = build(wanted.objective, build_encoder("resnet18", 0), num_classes=3, num_images=8)
    return views_of(model, wanted)


def test_the_small_view_is_that_of_the_code_base() -> None:
    view = SMALL_VIEW(32)
    assert (view.size, view.scale, view.ratio, view.interpolation) == (32, (0.2, 1.0), (3 / 4, 4 / 3), "bicubic")
    assert (view.jitter, view.jitter_p, view.grey, view.flip) == ((0.4, 0.4, 0.4, 0.1), 0.8, 0.1, 0.5)
    assert (view.blur, view.solarize, view.strong, view.overlap, view.salient) == (0.0, 0.0, 0, 0.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("byol", 2), ("two_loss", 2), ("simsiam", 2), ("instance_discrimination", 1)]
)
def test_global_views_become_small_ones(name: str, count: int) -> None:
    assert views(name) == (SMALL_VIEW(32),) * count
    full_size = views(name, "own")
    assert len(full_size) == count
    assert full_size != views(name)


def test_small_crops_keep_their_size_scale_and_place() -> None:
    crop = replace(SMALL_VIEW(96), size=40, scale=(0.05, 0.14), count=3)
    specs = views("byol", size=96, crops=3, crop_size=40)
    assert specs == (SMALL_VIEW(96), SMALL_VIEW(96), crop)


SPECIAL = {
    *("rotation", "relative_patch", "jigsaw", "cpc", "pirl", "colorization", "cmc", "split_brain", "supervised"),
    *("context_encoder", "denoising_autoencoder", "vae", "bigan", "pixel_cnn", "pixel_rnn", "cast", "clsa"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SPECIAL))
def test_special_views_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match=rf"The objective {name} needs views of its own kind.*augmentation='own'"):
        views(name, size=128, **({"queue_size": 4} if name in {"clsa", "cast"} else {}))


def test_a_piece_to_be_cut_is_refused_whatever_its_size() -> None:
    with pytest.raises(BadInput, match="The objective pirl needs views of its own kind"):
        views("pirl", size=255, puzzle_size=255)


def test_special_objectives_are_known() -> None:
    assert set(OBJECTIVES) >= SPECIAL


def test_clips_are_refused_when_a_recipe_is_loaded() -> None:
    with pytest.raises(ValueError, match="augmentation='small' is for images, not for clips"):
        Recipe.model_validate(recipe("taco").model_dump() | {"dataset": "clips"})


# ------------------------------------------------------------------------------------------------ stems


def batch(size: int) -> Batch:
    torch.manual_seed(0)
    n = 4
    whole = torch.tensor([[0.0, 0, 1, 1, 0]]).repeat(n, 1)
    return Batch([torch.randn(n, 3, size, size) for _ in range(2)], [whole, whole], None, torch.arange(n))


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["cifar", "stl"])
@pytest.mark.parametrize("name", SMALL)
def test_objectives_train_behind_another_stem(name: str, stem: str) -> None:
    encoder = build_encoder("resnet18", 0, stem)
    objective: Objective = build({"name": name, **SMALL[name]}, encoder, num_images=8)
    copies = [m for n, m in objective.named_modules() if n in {"target_encoder", "key_encoder"}]
    assert copies
    for copy in copies:
        assert copy.stem == stem
        assert copy.conv1.weight.shape == (64, 3, 3, 3)
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=0.1)
    before = encoder.conv1.weight.detach().clone()
    loss = objective(batch(32))["loss"]
    loss.backward()
    optimizer.step()
    objective.after_step(0.5)
    assert torch.isfinite(loss)
    assert not torch.equal(before, encoder.conv1.weight)
    target = copies[0].conv1.weight
    assert not torch.equal(target, before)  # it has followed
    assert not torch.equal(target, encoder.conv1.weight)


@pytest.mark.parametrize("name", ["colorization", "split_brain", "denoising_autoencoder"])
def test_decoders_from_stride_32_refuse_another_stem(name: str) -> None:
    objective = build({"name": name}, build_encoder("resnet18", 0, "cifar"))
    with pytest.raises(BadInput, match=f"{name} decodes from a last map of stride 32.*set stem='imagenet'"):
        objective.check(4, 64)


@pytest.mark.parametrize("name", ["amdim", "pixpro", "detcon", "cast"])
def test_a_map_of_one_position_depends_on_the_stem(name: str) -> None:
    settings = {"queue_size": 4} if name == "cast" else {}
    with pytest.raises(BadInput, match="set view_size to 64 or more"):
        build({"name": name, **settings}, build_encoder("resnet18", 0)).check(4, 32)
    build({"name": name, **settings}, build_encoder("resnet18", 0, "cifar")).check(4, 32)


# ---------------------------------------------------------------------------------------------- configs

RUNS = {
    "stl10_byol_loss1": ("byol", None),
    "stl10_byol_two_loss": ("two_loss", 1.0),
    "cifar100_byol_loss1": ("byol", None),
    "cifar100_byol_two_loss": ("two_loss", 1.0),
    "cifar100_byol_loss2": ("two_loss", 0.0),
    "cifar10_byol_loss1": ("byol", None),
    "cifar10_byol_two_loss": ("two_loss", 1.0),
    "cifar10_byol_loss2": ("two_loss", 0.0),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_decks_runs_are_those_of_the_code_base(name: str) -> None:
    recipe, stl = load_recipe(name), name.startswith("stl10")
    objective = recipe.objective
    assert (objective["name"], objective.get("loss1_weight")) == RUNS[name]
    assert objective.get("loss2", "logistic") == "logistic"
    settings = [objective[key] for key in ("hidden_dim", "projection_dim", "tau0", "crops")]
    assert settings == [1024, 128 if stl else 64, 0.99, 0]
    assert (recipe.dataset, recipe.arch, recipe.stem) == (name.split("_")[0], "resnet18", "stl" if stl else "cifar")
    assert (recipe.augmentation, recipe.precision) == ("small", "auto")
    assert (recipe.view_size, recipe.epochs) == ((96, 2000) if stl else (32, 1000))
    assert recipe.batch_size == (512 if recipe.dataset == "cifar10" else 4096)
    optimizer = recipe.optimizer
    assert optimizer is not None
    assert (optimizer.name, optimizer.weight_decay, optimizer.decay) == ("adam", 1e-6, "all")
    peak = peak_rate(optimizer, recipe.batch_size)
    assert peak == (2e-3 if stl else 3e-3)
    steps = 97  # an epoch of CIFAR-10
    rate = learning_rate(recipe.schedule, peak, recipe.epochs * steps, steps)
    assert rate(0) == pytest.approx(peak / 500)
    assert rate(250) == pytest.approx(peak * 251 / 500, rel=2e-3)
    first, second, last = ((recipe.epochs - before) * steps for before in (50, 25, 0))
    assert [rate(s) / peak for s in (500, first - 1)] == pytest.approx([1, 1])
    assert [rate(s) / peak for s in (first, second - 1)] == pytest.approx([0.2, 0.2])
    assert [rate(s) / peak for s in (second, last - 1)] == pytest.approx([0.04, 0.04])


@pytest.mark.parametrize("name", ["cifar10_byol_loss1", "stl10_byol_two_loss"])
def test_their_heads_have_the_layers_of_the_code_base(name: str) -> None:
    objective = build(load_recipe(name).objective, build_encoder("resnet18", 0, "cifar"))
    d = 128 if name.startswith("stl10") else 64
    for head, before in ((objective.projector, 512), (objective.predictor, d)):
        first, norm, relu, last = head
        assert (first.in_features, first.out_features, first.bias is not None) == (before, 1024, True)
        assert (norm.num_features, type(relu)) == (1024, torch.nn.ReLU)
        assert (last.in_features, last.out_features, last.bias) == (1024, d, None)  # there: with a bias


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "stl10"])
def test_their_evaluations_are_those_of_the_code_base(dataset: str) -> None:
    size = 96 if dataset == "stl10" else 32
    adam, knn5, knn, sgd = (load_task(f"{dataset}_{name}") for name in ("linear_adam", "knn5", "knn", "linear"))
    for task in (adam, knn5, knn, sgd):
        assert not isinstance(task, SegmentationTask)
        assert (task.dataset, task.size, task.resize) == (dataset, size, size)
    assert isinstance(adam, LinearTask)
    assert (adam.optimizer, adam.features, adam.epochs, adam.batch_size) == ("adam", "centre", 500, 1000)
    assert (adam.learning_rates, adam.weight_decay) == ((1e-2,), 5e-6)
    assert 1e-2 * rate_factor(adam, 499, 500) == pytest.approx(1e-6 * 1e4 ** (1 / 500))
    assert isinstance(knn5, KnnTask)
    assert (knn5.k, knn5.vote, knn5.metric) == (5, "majority", "euclidean")
    assert isinstance(knn, KnnTask)
    assert (knn.k, knn.vote, knn.metric, knn.temperature) == (200, "weighted", "cosine", 0.1)
    assert isinstance(sgd, LinearTask)
    assert (sgd.optimizer, sgd.features) == ("sgd", "augmented")


@pytest.mark.parametrize("size", [32, 96])
def test_an_image_of_the_tests_size_stays_as_it_is(size: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    view, place = make_test_view(Image.fromarray(pixels), size, size)
    assert np.array_equal(view, pixels)
    assert place == (0.0, 0.0, 1.0, 1.0, 0.0)


# ---------------------------------------------------------------------------------------------- the way


@pytest.mark.slow
def test_from_png_to_the_decks_three_columns(tmp_path: Path) -> None:
    """Pretraining, conversion, and both evaluations, in this process."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for label in range(6):
            (folder := tmp_path / "data" / split / f"class{label}").mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(40 * label + rng.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    recipe = load_recipe("cifar10_byol_two_loss", "smoke", {"diagnostics": {"images": 0}})
    roots = {"cifar10": tmp_path / "data"}

    def job(name: str, config: Any, **inputs: Path) -> Job:
        (tmp_path / name).mkdir()
        return Job(config=config, seed=0, folder=tmp_path / name, inputs=inputs, data_roots=roots)

    trained = pretrain.run(job("pretrain", recipe))
    assert trained["steps"] == 2
    assert trained["loss"] == pytest.approx(trained["loss1"] + trained["loss2"], rel=1e-4)
    proven = convert.run(job("convert", recipe, pretrain=tmp_path / "pretrain"))
    assert proven["tensors"] == 120
    assert proven["maps"] == {"C2": 0.0, "C3": 0.0, "C4": 0.0, "C5": 0.0}
    trunk = {"convert": tmp_path / "convert"}
    by_head = linear.run(job("linear", load_task("cifar10_linear_adam", "smoke", {"workers": 0}), **trunk))
    by_neighbours = knn.run(job("knn", load_task("cifar10_knn5", "smoke", {"workers": 0}), **trunk))
    assert (by_head["training_images"], by_head["validation_images"]) == (24, 12)
    assert by_head["top5_percent"] >= by_head["top1_percent"] >= 0
    assert by_neighbours["k"] == 5
    assert by_neighbours["top1_percent"] > 100 / 6  # grey levels are told apart by any convolution
