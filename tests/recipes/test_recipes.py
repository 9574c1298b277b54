"""Every config's recipe against the table: literals from papers and authors' code, each with its source.

The table (`table/*.py`) has for each config the code that it follows (repository@commit) and for each aspect of the
resolved recipe a text, in the words of `recipe_text`, and its source: a file and lines of that code, a paper ("from
memory" where it was not at hand), or "own choice". A config says in its docstring, or its objective's under "Departs
from it", what it does otherwise than its source.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import recipe_text
import torch

from bench.config.config_files import config_files
from bench.config.load import load_recipe

HOW = ("auto precision, channels last, reference views", "own choice: what a run has by default")
ASPECTS = ("length", "network", "optimizer", "schedule", "views", "heads", "settings", "how")


@cache
def table() -> dict[str, dict[str, Any]]:
    """Return {config: its entry} of all files of the table."""
    entries: dict[str, dict[str, Any]] = {}
    for file in sorted((Path(__file__).parent / "table").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"recipes_{file.stem}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert not set(entries) & set(module.RECIPES), file
        entries |= {name: {"how": HOW, **entry} for name, entry in module.RECIPES.items()}
    return entries


def without_crops(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out the size and scale of small crops where there are none."""
    unused = {"crop_size", "crop_scale"} if settings.get("crops") == 0 else set()
    return {key: value for key, value in settings.items() if key not in unused}


@pytest.fixture
def quick_permutations(monkeypatch):
    """Jigsaw without the search for permutations, which takes long and changes no size."""
    monkeypatch.setattr(
        "bench.objectives.jigsaw.far_permutations", lambda count: torch.arange(9).repeat(count, 1)
    )


def test_the_table_has_every_config_and_no_other():
    assert sorted(table()) == sorted(config_files("pretrain_configs"))


@pytest.mark.parametrize("name", sorted(table()))
def test_each_number_has_a_source(name):
    entry = table()[name]
    assert set(entry) == {"code", "objective", *ASPECTS}
    for aspect in ASPECTS:
        value, source = entry[aspect]
        assert source or value in ({}, [], "none"), aspect


@pytest.mark.parametrize("name", sorted(table()))
def test_a_config_has_the_recipe_of_its_source(name, quick_permutations):
    entry, found = table()[name], recipe_text.aspects(load_recipe(name))
    found["settings"] = without_crops(found["settings"])
    expected = {aspect: entry[aspect][0] for aspect in ASPECTS}
    assert found == {"objective": entry["objective"], **expected}
