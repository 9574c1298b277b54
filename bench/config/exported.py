"""Which encoder of a pretraining is evaluated: the one that is trained, or a copy that follows it."""

from __future__ import annotations

from bench.config.objective_source import class_says, objectives
from bench.config.recipe import Recipe
from bench.errors import BadInput


def check_export(recipe: Recipe) -> None:
    """Refuse to evaluate a copy of the encoder where the objective keeps none; read from its class, without torch.

    For an objective from outside, or where a setting decides it (DetCon's variant), this is known only once the
    networks are built: the pretraining then refuses it before it trains anything.

    Raises BadInput with the remedy.
    """
    name = str(recipe.objective["name"])
    if recipe.export == "target" and name in objectives() and not class_says(name, "keeps_copy"):
        able = ", ".join(each for each in objectives() if class_says(each, "keeps_copy"))
        raise BadInput(
            f"{recipe.name} has export='target', but its objective, {name}, keeps no copy of the encoder; set "
            f"export='online', or take one of {able}."
        )
