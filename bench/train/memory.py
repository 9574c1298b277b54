"""Memory that runs out in a pretraining, on a GPU or on the host: what its recipe could change about it."""

from __future__ import annotations

from pydantic import ValidationError

from bench.config.processes import check_shares
from bench.config.recipe import Recipe
from bench.errors import BadInput, one_line


def halved(recipe: Recipe, world: int) -> Recipe | None:
    """Return a recipe with micro-batches of half the size, the batch being the same; None where there are none.

    There are none where a process has a single image or an odd number, and where norms or the objective need more.
    """
    try:
        smaller = Recipe.model_validate(recipe.model_dump() | {"accumulate": 2 * recipe.accumulate})
        check_shares(smaller, world)
    except (ValidationError, BadInput):
        return None
    return smaller


def memory_words(error: BaseException, recipe: Recipe, world: int, mean_over_images: bool) -> str:
    """Say what took the memory of a pretraining and what to try, in two sentences with this recipe's numbers.

    Args:
        error: what was raised.
        recipe: as it was in force.
        world: processes.
        mean_over_images: whether the objective's loss is a mean over images, so that a batch may be cut into parts.
    """
    own = recipe.batch_size // recipe.accumulate // world
    size = f"batch_size={recipe.batch_size} with accumulate={recipe.accumulate} on {world} process"
    size += "es" if world > 1 else ""
    numbers = f"{own} images at a time in {recipe.precision} on each process ({size})"
    return f"Memory ran out ({one_line(error)}), with {numbers}. Try {_remedies(recipe, world, mean_over_images)}."


def _remedies(recipe: Recipe, world: int, mean_over_images: bool) -> str:
    tries = []
    if not recipe.checkpoint_activations and not recipe.compile:
        tries.append("checkpoint_activations=True (equal results, a third more computing)")
    if recipe.precision != "bf16":
        tries.append("precision='bf16' where it is native")
    smaller = halved(recipe, world)
    if smaller is not None and mean_over_images:
        norms = "norms keep their groups" if recipe.norm_images else "batch norms then see half as many images"
        by_itself = (
            "" if recipe.on_out_of_memory == "halve" else ", or on_out_of_memory='halve', which does it by itself"
        )
        tries.append(f"accumulate={smaller.accumulate} ({norms}){by_itself}")
    elif smaller is not None:
        tries.append(
            f"accumulate={smaller.accumulate}, which changes the method, as the loss then compares the images of half "
            "a batch"
        )
    if recipe.batch_size > world * recipe.accumulate:
        tries.append(f"batch_size={recipe.batch_size // 2}, or more processes")
    return "; ".join(tries) or "a smaller view_size or arch"
