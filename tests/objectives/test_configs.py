"""Every objective has a config of its own, which goes through its smoke form: views, a step, what follows it."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from narrow import NarrowEncoder

from bench.config.config_files import config_files, read
from bench.config.load import load_recipe
from bench.objectives import OBJECTIVES, build

CONFIGS = config_files("pretrain_configs")


@cache
def by_objective() -> dict[str, list[str]]:
    configs: dict[str, list[str]] = {}
    for name in CONFIGS:
        configs.setdefault(str(load_recipe(name).objective["name"]), []).append(name)
    return configs


def narrow(recipe) -> NarrowEncoder:
    """A narrow encoder, with as many features as an objective takes a part of."""
    return NarrowEncoder(width=384 if "d0" in recipe.objective else 24)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_has_a_config(objective):
    assert by_objective().get(objective), f"no config in pretrain_configs/ has the objective {objective}"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_opens_with_what_a_user_wants_to_know(name):
    docstring = read(CONFIGS[name])[1]
    for word in ("Source:", "Command:", "Hours:", "Expected:", "Smoke:"):
        assert re.search(rf"^{word}", docstring, re.MULTILINE), word
    assert f"--pretrain {name} " in docstring
    for profile in ("full", "mini", "smoke"):
        assert load_recipe(name, profile).name == name
    small = load_recipe(name).dataset in {"cifar10", "cifar100", "stl10"}
    network = "resnet18w16" if name.startswith("control_") else "resnet18" if small else "resnet50"
    assert load_recipe(name).arch == network


@pytest.mark.parametrize("name", [name for name in CONFIGS if not name.startswith("random_init")])
def test_its_smoke_form_takes_a_step(name, rendered):
    recipe = load_recipe(name, "smoke")
    objective = build(recipe.objective, narrow(recipe), 2, rendered.num_images)
    objective.check(recipe.batch_size // recipe.accumulate, recipe.view_size)
    batch = rendered(objective, recipe)
    torch.manual_seed(0)
    terms = objective(batch)
    assert all(term.isfinite() for term in terms.values())
    terms["loss"].backward()
    before = objective.encoder.conv1.weight.clone()
    assert objective.encoder.conv1.weight.grad.abs().max() > 0
    objective.before_step(0.0)
    with torch.no_grad():
        for parameter in objective.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    objective.after_step(0.0)
    assert not torch.equal(objective.encoder.conv1.weight, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_its_full_form_is_accepted(name):
    """Batch, queue and view size go together, at the size that is trained."""
    recipe = load_recipe(name)
    objective = build(recipe.objective, narrow(recipe), 1000, 50_000 if recipe.dataset != "none" else 0)
    objective.check(recipe.batch_size // recipe.accumulate, recipe.view_size)
    assert objective.views(recipe.view_size) or name.startswith("random_init")
