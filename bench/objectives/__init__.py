"""Objectives by name. Planning reads this dictionary, and the constructors it names, from the source without torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput, nearest

if TYPE_CHECKING:
    from bench.nn.encoder import Encoder
    from bench.objectives.base import Objective

OBJECTIVES: dict[str, str] = {
    "byol": "bench.objectives.byol:BYOL",
    "two_loss": "bench.objectives.two_loss:TwoLoss",
    "patch_byol": "bench.objectives.patch_byol:PatchBYOL",
    "supervised": "bench.objectives.supervised:Supervised",
    "rotation": "bench.objectives.rotation:Rotation",
    "relative_patch": "bench.objectives.relative_patch:RelativePatch",
    "jigsaw": "bench.objectives.jigsaw:Jigsaw",
    "colorization": "bench.objectives.colorization:Colorization",
    "split_brain": "bench.objectives.split_brain:SplitBrain",
    "cpc": "bench.objectives.cpc:CPC",
    "amdim": "bench.objectives.amdim:AMDIM",
    "random_init": "bench.objectives.random_init:RandomInit",
}


def build(settings: Mapping[str, Any], encoder: Encoder, num_classes: int = 0, num_images: int = 0) -> Objective:
    """Build the objective `settings["name"]` with the other settings; heads start from the encoder's seed.

    Args:
        settings: the objective of a recipe.
        encoder: what is trained.
        num_classes: of the data set, for objectives that use labels.
        num_images: of the data set, for objectives that keep something for each image.

    Raises BadInput for an unknown name or setting, and for values that an objective refuses.
    """
    own = dict(settings)
    name = str(own.pop("name", ""))
    if name not in OBJECTIVES:
        hint = nearest(name, OBJECTIVES) or f"; known: {', '.join(OBJECTIVES)}."
        raise BadInput(f"Unknown objective {name!r}{hint}")
    module, _, class_name = OBJECTIVES[name].partition(":")
    kind: type[Objective] = getattr(import_module(module), class_name)
    takes = inspect.signature(kind).parameters
    known = [key for key in takes if key not in ("encoder", "num_classes", "num_images")]
    for key in own:
        if key not in known:
            hint = nearest(key, known) or f" for {name}; remove it."
            raise BadInput(f"Unknown key 'objective.{key}'{hint}")
    if "num_classes" in takes:
        own["num_classes"] = num_classes
    if "num_images" in takes:
        own["num_images"] = num_images
    return kind(encoder, **own)
