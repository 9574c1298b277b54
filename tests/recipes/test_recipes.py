"""Every config's recipe against the table of literals from papers and authors' code (recipe_table.py).

A config says in its docstring, or its objective's under "Departs from it", what it does otherwise than its source.
"""

from __future__ import annotations

from typing import Any

import pytest
import recipe_text
import torch
from recipe_table import ASPECTS, table

from bench.config.config_files import config_files
from bench.config.load import load_recipe
from bench.data.views import View
from bench.train.schedule import learning_rate


@pytest.fixture(autouse=True)
def quick_permutations(monkeypatch):
    """Jigsaw without the search for permutations, which takes long and changes no size."""
    monkeypatch.setattr("bench.objectives.jigsaw.far_permutations", lambda count: torch.arange(9).repeat(count, 1))


def without_crops(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out the size and scale of small crops where there are none."""
    unused = {"crop_size", "crop_scale"} if settings.get("crops") == 0 else set()
    return {key: value for key, value in settings.items() if key not in unused}


def test_the_table_has_every_config_and_no_other():
    assert sorted(table()) == sorted(config_files("pretrain_configs"))


@pytest.mark.parametrize("name", sorted(table()))
def test_each_number_has_a_source(name):
    entry = table()[name]
    assert set(entry) == {"code", "objective", *ASPECTS}
    assert "@" in entry["code"] or entry["code"].startswith("none")
    for aspect in ASPECTS:
        value, source = entry[aspect]
        assert source or value in ({}, [], "none"), aspect


@pytest.mark.parametrize("name", sorted(table()))
def test_a_config_has_the_recipe_of_its_source(name):
    entry, found = table()[name], recipe_text.aspects(load_recipe(name))
    found["settings"] = without_crops(found["settings"])
    expected = {aspect: entry[aspect][0] for aspect in ASPECTS}
    assert found == {"objective": entry["objective"], **expected}


@pytest.mark.parametrize("part", [None, "optimizer", "schedule"])
def test_a_key_that_no_aspect_has_is_an_error(part, monkeypatch):
    recipe = load_recipe("imagenet_moco")
    dump = recipe.model_dump()
    (dump[part] if part else dump)["sharpness"] = 1
    monkeypatch.setattr(type(recipe), "model_dump", lambda _self: dump)
    with pytest.raises(AssertionError, match="sharpness"):
        recipe_text.aspects(recipe)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "224 px of 0.08 to 1, bicubic, flip 0.5, jitter 0.4 0.4 0.2 0.1 at 0.8, grey 0.2, blur 0.1 to 2 at 0.5"),
        ({"grey_first": True, "blur": 0.0}, "224 px of 0.08 to 1, bicubic, flip 0.5, grey 0.2, jitter 0.4 0.4 0.2 0.1 "
         "at 0.8"),
        ({"jitter": None, "grey": 0.0, "blur": 0.0, "flip": 0.0, "square": 0.5}, "224 px of a square of 0.5, bicubic"),
        ({"jitter": None, "blur": 0.0, "solarize": 0.2, "strong": 5, "count": 3, "ratio": (1.0, 1.0)},
         "3 x 224 px of 0.08 to 1, ratio 1 to 1, bicubic, flip 0.5, grey 0.2, solarize 0.2, strong 5"),
    ],
)  # fmt: skip
def test_a_view_in_words(changed, text):
    assert recipe_text.view_text(View(**changed)) == text


def test_bigans_rate_falls_by_a_factor_each_epoch_of_its_second_half():
    """train_gan.py:812-831: constant for 50 epochs, then log-linear in (e − 50 + 1) / 50 to a hundredth."""
    rate = learning_rate(load_recipe("imagenet_bigan").schedule, 2e-4, 1000, 10)  # ten steps an epoch
    for epoch in range(100):
        expected = 2e-4 if epoch < 50 else 2e-4 * 0.01 ** ((epoch - 49) / 50)
        assert rate(10 * epoch) == pytest.approx(expected)
        assert rate(10 * epoch + 9) == pytest.approx(expected)
