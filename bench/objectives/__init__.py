"""Objectives by name. Planning reads this dictionary, and the constructors it names, from the source without torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bench.config.objective_settings import check_values, constructors, settings_of_class
from bench.config.objective_source import locate
from bench.errors import BadInput
from bench.plugins import load

if TYPE_CHECKING:
    from bench.nn.encoder import Encoder
    from bench.objectives.base import Objective

OBJECTIVES: dict[str, str] = {
    "byol": "bench.objectives.byol:BYOL",
    "two_loss": "bench.objectives.two_loss:TwoLoss",
    "patch_byol": "bench.objectives.patch_byol:PatchBYOL",
    "simsiam": "bench.objectives.simsiam:SimSiam",
    "barlow_twins": "bench.objectives.barlow_twins:BarlowTwins",
    "vicreg": "bench.objectives.vicreg:VICReg",
    "swav": "bench.objectives.swav:SwAV",
    "dino": "bench.objectives.dino:DINO",
    "simclr": "bench.objectives.simclr:SimCLR",
    "dcl": "bench.objectives.dcl:DCL",
    "dclw": "bench.objectives.dclw:DCLW",
    "simple_contrastive": "bench.objectives.simple_contrastive:SimpleContrastive",
    "hard_contrastive": "bench.objectives.hard_contrastive:HardContrastive",
    "align_uniform": "bench.objectives.align_uniform:AlignUniform",
    "direct_clr": "bench.objectives.direct_clr:DirectCLR",
    "contrastive_2006": "bench.objectives.contrastive_2006:Contrastive2006",
    "triplet": "bench.objectives.triplet:Triplet",
    "instance_discrimination": "bench.objectives.instance_discrimination:InstanceDiscrimination",
    "cpc": "bench.objectives.cpc:CPC",
    "cmc": "bench.objectives.cmc:CMC",
    "amdim": "bench.objectives.amdim:AMDIM",
    "pirl": "bench.objectives.pirl:PIRL",
    "moco": "bench.objectives.moco:MoCo",
    "moco_v2": "bench.objectives.moco_v2:MoCoV2",
    "moco_v3": "bench.objectives.moco_v3:MoCoV3",
    "clsa": "bench.objectives.clsa:CLSA",
    "cast": "bench.objectives.cast:CAST",
    "densecl": "bench.objectives.densecl:DenseCL",
    "pixpro": "bench.objectives.pixpro:PixPro",
    "detcon": "bench.objectives.detcon:DetCon",
    "vicregl": "bench.objectives.vicregl:VICRegL",
    "rotation": "bench.objectives.rotation:Rotation",
    "relative_patch": "bench.objectives.relative_patch:RelativePatch",
    "jigsaw": "bench.objectives.jigsaw:Jigsaw",
    "colorization": "bench.objectives.colorization:Colorization",
    "denoising_autoencoder": "bench.objectives.denoising_autoencoder:DenoisingAutoencoder",
    "context_encoder": "bench.objectives.context_encoder:ContextEncoder",
    "split_brain": "bench.objectives.split_brain:SplitBrain",
    "vae": "bench.objectives.vae:VAE",
    "pixel_cnn": "bench.objectives.pixel_cnn:PixelCNN",
    "pixel_rnn": "bench.objectives.pixel_rnn:PixelRNN",
    "bigan": "bench.objectives.bigan:BiGAN",
    "taco": "bench.objectives.taco:TaCo",
    "dsm": "bench.objectives.dsm:DSM",
    "supervised": "bench.objectives.supervised:Supervised",
    "random_init": "bench.objectives.random_init:RandomInit",
}


def build(settings: Mapping[str, Any], encoder: Encoder, num_classes: int = 0, num_images: int = 0) -> Objective:
    """Build the objective `settings["name"]` with the other settings; heads start from the encoder's seed.

    Args:
        settings: the objective of a recipe.
        encoder: what is trained.
        num_classes: of the data set, for objectives that use labels.
        num_images: of the data set, for objectives that keep something for each image.

    Raises BadInput for an unknown name or setting, for a class that is no objective, and for values that one refuses.
    """
    values = {key: value for key, value in settings.items() if key != "name"}
    kind = _imported(str(settings.get("name", "")))
    check_values(values, settings_of_class(kind))
    of_data = {"num_classes": num_classes, "num_images": num_images}
    takes = {key for _, parameters in constructors(kind) for key in parameters}
    return kind(encoder, **{key: value for key, value in of_data.items() if key in takes}, **values)


def _imported(name: str) -> type[Objective]:
    """Import an objective's class; BadInput when one that is not ours cannot be run, or is no Objective."""
    from bench.objectives.base import Objective

    if name in OBJECTIVES:  # an error in ours keeps its traceback
        module, _, attribute = OBJECTIVES[name].partition(":")
        return getattr(import_module(module), attribute)
    source = locate(name)
    kind = load(source)
    if not (inspect.isclass(kind) and issubclass(kind, Objective)):
        raise BadInput(
            f"{source.attribute} in {source.file} is no objective; derive it from bench.objectives.base.Objective."
        )
    return kind
