"""What a recipe means on several processes: how many images each has, and which share a batch norm's statistics.

A batch of B images (of all processes, in one micro-batch) falls into B / norm_images groups, and image b, counted over
all processes, belongs to group b mod (B / norm_images). Since process r of w has images r, r + w, …, the groups are the
same whatever w is: they are parts of a process's images, or of the images of several processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.config.objective_source import class_literal, class_says, objectives
from bench.errors import BadInput

if TYPE_CHECKING:
    from bench.config.recipe import Recipe


@dataclass(frozen=True)
class NormGroups:
    """How the norms of w processes make the groups.

    Args:
        parts: groups in one process; part i has its rows i, i + parts, ….
        processes: that share a group; of w processes these are r, r + w/processes, ….
    """

    parts: int = 1
    processes: int = 1


def micro_batch(batch_size: int, world: int, accumulate: int) -> int:
    """Return the images in one micro-batch of a process; BadInput when the batch does not divide evenly."""
    parts = world * accumulate
    if batch_size % parts:
        nearest = max(parts, round(batch_size / parts) * parts)
        raise BadInput(
            f"batch_size {batch_size} does not divide evenly over {world} processes × accumulate {accumulate}; "
            f"set batch_size to a multiple of {parts}, such as {nearest}."
        )
    return batch_size // parts


def check_shares(recipe: Recipe, world: int) -> None:
    """Refuse a batch that `world` processes cannot share, or whose norm groups they cannot.

    The batch that the message names is one which both allow.
    """
    parts, size, batch = world * recipe.accumulate, recipe.norm_images, recipe.batch_size
    if batch % parts:
        several = size is not None and batch // recipe.accumulate > size

        def fits(own: int) -> bool:
            together = own * world
            return size is None or (
                together % size == 0 and (own % size == 0 or size % own == 0) and (not several or together > size)
            )

        # Twice as many images as norm_images on each process always fit.
        most = max(2 * (size or 1), 2 * batch // parts + 1)
        nearest = min((own * parts for own in range(1, most + 1) if fits(own)), key=lambda each: abs(each - batch))
        raise BadInput(
            f"{recipe.name}: batch_size {batch} does not divide evenly over {world} processes × accumulate "
            f"{recipe.accumulate}; use another number of processes (--gpus), or set its batch_size to a multiple of "
            f"{parts}, such as {nearest}."
        )
    norm_groups(recipe, world)
    _check_several(recipe, world)


def _check_several(recipe: Recipe, world: int) -> None:
    """Refuse a single image where the objective's class says for what it needs several."""
    needs = class_literal(str(recipe.objective["name"]), "needs_several_for")
    batch = recipe.batch_size // recipe.accumulate
    if needs and batch < 2:
        part = f" over accumulate {recipe.accumulate}" if recipe.accumulate > 1 else ""
        raise BadInput(
            f"{recipe.name}: the objective {recipe.objective['name']} needs {needs}, but batch_size "
            f"{recipe.batch_size}{part} leaves a single image at a time; set batch_size to {2 * recipe.accumulate} or "
            "more."
        )
    alone = recipe.norm_images is None and not recipe.sync_bn
    if needs and alone and batch // world < 2:
        raise BadInput(
            f"{recipe.name}: each of {world} processes has a single image, and with sync_bn=False norms of its own, "
            f"which need several; set batch_size to {2 * world * recipe.accumulate} or more, or sync_bn to True."
        )


def norm_groups(recipe: Recipe, world: int) -> NormGroups:
    """Return the groups of a recipe on `world` processes.

    Raises BadInput where the images of a process do not fall into groups, nor groups into processes.
    """
    size = recipe.norm_images
    if size is None:
        return NormGroups(processes=world if recipe.sync_bn else 1)
    own = micro_batch(recipe.batch_size, world, recipe.accumulate)
    if own % size == 0:
        return NormGroups(parts=own // size)
    if size % own == 0:
        return NormGroups(processes=size // own)
    batch = own * world
    shares = {n: batch // n for n in range(1, batch + 1) if batch % n == 0}
    fitting = [n for n, share in shares.items() if share % size == 0 or size % share == 0]
    raise BadInput(
        f"{recipe.name}: norm_images is {size}, but each of {world} processes has {own} of the {batch} images of "
        f"{_part(recipe)}, and neither divides the other; use {_words(fitting)} processes (--gpus), or change "
        "norm_images."
    )


def check_norm_images(recipe: Recipe) -> None:
    """Refuse norm groups that a recipe's objective cannot have, or lacks; read from its class, without torch."""
    name = str(recipe.objective["name"])
    check_groups(recipe, grouped=class_says(name, "norm_groups"), shuffles=class_says(name, "shuffles_keys"))


def check_halving(recipe: Recipe) -> None:
    """Refuse to cut batches into smaller parts where the loss compares their images; read from its class."""
    name = str(recipe.objective["name"])
    if recipe.on_out_of_memory == "halve" and not class_says(name, "mean_over_images"):
        able = [each for each in objectives() if class_says(each, "mean_over_images")]
        raise BadInput(
            f"{recipe.name}: on_out_of_memory='halve' cuts a batch into smaller parts, which would change the method "
            f"of {name}, whose loss is no mean over images; set it to 'stop', or take one of {', '.join(able)}."
        )


def check_groups(recipe: Recipe, *, grouped: bool, shuffles: bool) -> None:
    """Do the same for an objective whose class says whether it can have groups, and whether it shuffles its keys.

    With one group a query is normalised among the images of its key, whatever their order: the loss then falls without
    a representation (He et al., "Momentum Contrast", section 3.3), and nothing in a run's numbers shows it. So this is
    refused and not warned of.
    """
    size, batch = recipe.norm_images, recipe.batch_size // recipe.accumulate
    about = f"{recipe.name}: the objective {recipe.objective['name']}"
    if size is not None and not grouped:
        able = [each for each in objectives() if class_says(each, "norm_groups")]
        raise BadInput(
            f"{about} has no norms over groups of images, and norm_images is {size}; set it to None, or take one of "
            f"{', '.join(able)}."
        )
    if shuffles and (size is None or size == batch):
        alone = " on one process" if size is None else ""
        raise BadInput(
            f"{about} shuffles its keys between groups of images that are normalised apart, but norm_images is {size}, "
            f"so that all {batch} images of {_part(recipe)} are normalised together{alone}; set norm_images "
            "to half of them or less (the authors have 32), and sync_bn to False."
        )


def check_compiled_norms(recipe: Recipe, world: int) -> None:
    """Refuse to compile norms over several GPUs; to be asked where there are GPUs.

    torch.nn.SyncBatchNorm leaves ranks without images out by a mask (`count_all[mask]` in
    torch/nn/modules/_functions.py), whose result has no fixed shape: the program breaks at every norm, and nothing of
    it is left to fuse or to record. On a CPU, `GlobalBatchNorm` is compiled whole.
    """
    if recipe.compile and norm_groups(recipe, world).processes > 1:
        other = "sync_bn=False gives another result" if recipe.norm_images is None else "the result is the same"
        raise BadInput(
            f"compile=True and norms over the images of several GPUs do not go together on {world} GPUs: torch.compile "
            f"breaks off at every synchronised norm. Set compile=False, or run it on one GPU ({other})."
        )


def _part(recipe: Recipe) -> str:
    return "a micro-batch" if recipe.accumulate > 1 else "a batch"


def _words(numbers: list[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}" if first else last
