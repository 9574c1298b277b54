"""What runs on CIFAR and STL-10 are made of: the views that replace an objective's own, and stems under objectives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.data.views import SMALL_VIEW, Batch, View
from bench.errors import BadInput
from bench.nn.encoder import build_encoder
from bench.objectives import OBJECTIVES, build
from bench.objectives.base import Objective
from bench.recipe import Recipe
from bench.stages.pretrain import views_of
from tests.objectives.narrow import NarrowEncoder

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
    model = build(wanted.objective, NarrowEncoder(width=24), num_classes=3, num_images=8)
    return views_of(model, wanted)


def test_the_small_view_is_that_of_the_code_base() -> None:
    view = SMALL_VIEW(32)
    assert (view.size, view.scale, view.ratio, view.interpolation) == (32, (0.2, 1.0), (3 / 4, 4 / 3), "bicubic")
    assert (view.jitter, view.jitter_p, view.grey, view.flip) == ((0.4, 0.4, 0.4, 0.1), 0.8, 0.1, 0.5)
    assert (view.blur, view.solarize, view.strong, view.overlap, view.salient) == (0.0, 0.0, 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("name", "count"), [("byol", 2), ("two_loss", 2), ("simsiam", 2), ("instance_discrimination", 1)]
)
def test_global_views_become_small_ones(name: str, count: int) -> None:
    assert views(name) == (SMALL_VIEW(32),) * count
    own = views(name, "own")
    assert len(own) == count
    assert own != views(name)


def test_small_crops_keep_their_size_scale_and_place() -> None:
    crop = replace(SMALL_VIEW(96), size=40, scale=(0.05, 0.14), count=3)
    found = views("byol", size=96, crops=3, crop_size=40)
    assert found == (SMALL_VIEW(96), SMALL_VIEW(96), crop)


SPECIAL = {
    *("rotation", "relative_patch", "jigsaw", "cpc", "pirl", "colorization", "cmc", "split_brain", "supervised"),
    *("context_encoder", "denoising_autoencoder", "vae", "bigan", "pixel_cnn", "pixel_rnn", "cast", "clsa"),
}


@pytest.mark.parametrize("name", sorted(SPECIAL))
def test_special_views_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match=rf"The objective {name} needs views of its own kind.*augmentation='own'"):
        views(name, size=128, **({"queue_size": 4} if name in {"clsa", "cast"} else {}))


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
