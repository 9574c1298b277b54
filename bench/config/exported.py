"""Which encoder a recipe evaluates, and whether its objective has it: read from its class, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.config.objective_source import class_says, objectives
from bench.errors import BadInput

if TYPE_CHECKING:
    from bench.config.recipe import Recipe


def check_export(recipe: Recipe) -> None:
    """Refuse the export of a copy that an objective of this package does not keep.

    Recipes that differ in `export` alone share a pretraining, so that the pretraining may be that of another recipe,
    and the conversion after it would be the first to miss the copy. What an objective from outside keeps is seen when
    it is built.
    """
    name = str(recipe.objective["name"])
    if recipe.export == "online" or name not in objectives() or class_says(name, "keeps_copy"):
        return
    able = [each for each in objectives() if class_says(each, "keeps_copy")]
    raise BadInput(
        f"{recipe.name} has export='target', but its objective {name} keeps no copy of the encoder; set 'online', or "
        f"take one of {', '.join(able)}."
    )
