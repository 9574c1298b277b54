"""What an evaluation shows a frozen trunk: images in colour, or the form of them that its pretraining learnt from."""

from __future__ import annotations

import ast
from typing import Literal

from bench.config.objective_source import class_attribute
from bench.config.recipe import Recipe
from bench.errors import BadInput

# `grey`: lightness alone, as three equal channels. `halves`: lightness alone, and a and b alone at a middle lightness,
# one after the other; the features of both are joined.
TrunkInputs = Literal["rgb", "grey", "halves"]
WORDS = {"grey": "grey images", "halves": "the lightness and the colours of an image apart"}


def check_inputs(task: str, inputs: TrunkInputs, recipe: Recipe) -> None:
    """Raise BadInput where a trunk has not learnt from what the task shows it, or has no norm statistics for that."""
    if inputs == "rgb":
        return
    name = str(recipe.objective["name"])
    if inputs not in _learnt_from(name):
        raise BadInput(
            f"{task} shows trunks {WORDS[inputs]} (inputs={inputs!r}), which {recipe.name}, whose objective is {name}, "
            "has not learnt from; leave one of the two out, or set inputs='rgb'."
        )
    if recipe.objective.get("image_statistics"):
        raise BadInput(
            f"{task} shows trunks {WORDS[inputs]} (inputs={inputs!r}), but the norms of {recipe.name} keep the "
            "statistics of images in colour; give --set objective.image_statistics=False, which is another pretraining."
        )


def _learnt_from(objective: str) -> tuple[str, ...]:
    """What an objective's class says in `inputs`, read from its source."""
    found = class_attribute(objective, "inputs")
    if found is None:
        return ()
    value, node = found
    try:
        return tuple(ast.literal_eval(value))
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"{node.name}.inputs is {ast.unparse(value)}; write its words out there, as in ('grey',)."
        ) from error
