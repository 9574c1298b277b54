"""Whether a recipe's back end can make the views of its objective: read from its class, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.config.objective_source import class_literal
from bench.data.sets import get
from bench.errors import BadInput

if TYPE_CHECKING:
    from bench.config.recipe import Recipe


def check_view_backend(recipe: Recipe) -> None:
    """Refuse a back end that cannot make what the loader's workers make: photometric steps, patches, maps, clips.

    An objective says in its class which back ends can (`view_backends`); one that says nothing leaves it to its start.
    """
    video = recipe.dataset != "none" and get(recipe.dataset).video
    able = ("reference", "fast") if video else class_literal(str(recipe.objective["name"]), "view_backends")
    if able is None or recipe.view_backend in able:
        return
    *others, last = map(repr, able)
    what = "of clips" if video else f"of the objective {recipe.objective['name']}"
    raise BadInput(
        f"{recipe.name} has view_backend={recipe.view_backend!r}, which does not make the views {what}; set it to "
        f"{', '.join(others)} or {last}."
    )
