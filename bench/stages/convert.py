"""Convert: the trunk of a pretraining, exported to every dialect, with the proof that it loads.

Reads `last.ckpt` of the pretraining; writes `trunk.safetensors`, `proof.json` and the exports `trunk_mmseg.pth`,
`trunk_timm.safetensors`, `trunk_torchvision.pth`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn

from bench.architectures import Architecture, parse_architecture
from bench.config.recipe import Recipe
from bench.convert.checkpoint_file import read_checkpoint
from bench.convert.checksums import save_archive, save_tensors
from bench.convert.dialects import load_trunk, to_mmseg, to_torchvision
from bench.convert.proof import load_strictly, prove, write_proof
from bench.convert.trunk import TRUNK, Trunk, read_trunk, save_trunk
from bench.errors import BadInput, StageFailed
from bench.files import replacing
from bench.nn.ema import copy_of_encoder
from bench.nn.encoder import Encoder, build_encoder
from bench.stages.job import Job
from bench.train.checkpoint import LAST


def run(job: Job) -> dict[str, Any]:
    """Convert one pretraining and prove that its weights arrive.

    Returns {"tensors": how many, "trunk_hash": …, "maps": {"C2": largest relative difference, …}}.

    Raises BadInput for a checkpoint without a whole trunk, StageFailed when the proof fails.
    """
    recipe = job.config
    assert isinstance(recipe, Recipe)
    checkpoint = job.inputs["pretrain"] / LAST
    exported = exported_name(checkpoint, recipe)
    if (exported == "encoder") != (recipe.export == "online"):
        raise StageFailed(f"{recipe.name} has export={recipe.export!r}, but the {exported} was about to be exported.")
    prefix = None if exported == "encoder" else f"{exported}."
    state = load_trunk(checkpoint, recipe.arch, recipe.stem, prefix)
    save_trunk(job.folder / TRUNK, state, recipe.arch, recipe.stem)
    # From here on the two sides share nothing: the pretraining's encoder comes straight from its checkpoint, mmseg's
    # network (torchvision's, for a stem that mmseg lacks) from the file that the stages downstream will read.
    encoder = pretrained_encoder(checkpoint, recipe.arch, recipe.stem, exported).eval()
    trunk = read_trunk(job.folder / TRUNK)
    if trunk.stem == "imagenet":
        from bench.stages.segmentation.model import build_backbone  # imports mmseg, which other stems do without

        network, owner = build_backbone(recipe.arch), "mmseg's ResNet"
    else:
        network, owner = StemmedResNet(trunk.arch, trunk.stem), f"torchvision's ResNet with the stem {trunk.stem}"
    load_strictly(network, trunk.state, owner)
    proof = prove(encoder.state_dict(), recipe.arch, encoder.maps, network, recipe.stem, exported)
    write_proof(job.folder, proof)
    if not proof.passed:
        raise StageFailed(f"The load proof failed: {proof.matched} of {proof.of} tensors matched, and {proof.fault}.")
    _export(job.folder, trunk)
    worst = max(proof.maps.values())
    print(f"load proof: {proof.matched} of {proof.of} tensors matched, maps differ by {worst:.1g}", flush=True)
    return {"tensors": proof.matched, "trunk_hash": proof.trunk_hash, "maps": proof.maps}


class StemmedResNet(nn.Module):
    """torchvision's ResNet with a stem for small images, built apart from our encoder: image -> (C2, C3, C4, C5).

    Its stem is defined a second time on purpose: if the encoder's is not what the trunk file names, the proof fails.
    """

    def __init__(self, arch: str, stem: str) -> None:
        super().__init__()
        architecture = parse_architecture(arch)
        model = torchvision.models.get_model(f"resnet{architecture.depth}", weights=None)
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        change_width(model, architecture)
        if stem == "cifar":
            model.maxpool = nn.Sequential()  # passes its input on
        for name, child in model.named_children():
            if name not in {"avgpool", "fc"}:
                self.add_module(name, child)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return C2, C3, C4, C5 of images N×3×H×W."""
        maps = []
        for name, child in self.named_children():
            x = child(x)
            if name.startswith("layer"):
                maps.append(x)
        return tuple(maps)


def change_width(model: nn.Module, architecture: Architecture) -> None:
    """Put a layer of the architecture's width in the place of each convolution and batch norm of a ResNet."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                inputs = child.in_channels if child.in_channels == 3 else architecture.scaled(child.in_channels)
                outputs = architecture.scaled(child.out_channels)
                kernel, stride = child.kernel_size[0], child.stride[0]
                setattr(module, name, nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False))
            elif isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.BatchNorm2d(architecture.scaled(child.num_features)))


def exported_name(checkpoint: Path, recipe: Recipe) -> str:
    """Return the name of the network in one of our training checkpoints that the recipe evaluates.

    Raises BadInput for another file, and where the recipe asks for a copy of the encoder that is not there.
    """
    if recipe.export == "online":
        return "encoder"
    return copy_of_encoder({name.partition(".")[0] for name in _objective(checkpoint)}, recipe.name)


def pretrained_encoder(checkpoint: Path, arch: str, stem: str = "imagenet", network: str = "encoder") -> Encoder:
    """Return the encoder of one of our training checkpoints, loaded as pretraining itself loads it.

    `network` is its name there: `encoder`, or that of a copy.
    """
    encoder = build_encoder(arch, seed=0, stem=stem)
    prefix = f"{network}."
    tensors = {name.removeprefix(prefix): t for name, t in _objective(checkpoint).items() if name.startswith(prefix)}
    load_strictly(encoder, tensors, "the pretraining encoder")
    return encoder


def _objective(checkpoint: Path) -> dict[str, Tensor]:
    """The state of the objective in one of our training checkpoints; BadInput for another file."""
    content = read_checkpoint(checkpoint)
    objective = content.get("objective") if isinstance(content, dict) else None
    if not isinstance(objective, dict):
        raise BadInput(f"{checkpoint} is not a training checkpoint of this project; run the pretrain stage again.")
    return objective


def _export(folder: Path, trunk: Trunk) -> None:
    """Write the trunk in the other dialects, each whole or not at all; for mmseg only if its ResNet has the stem."""
    state, arch = trunk.state, trunk.arch
    files: dict[str, Any] = {"trunk_torchvision.pth": to_torchvision(state)}
    if trunk.stem == "imagenet":
        files["trunk_mmseg.pth"] = to_mmseg(state, arch)
    for name, content in files.items():
        with replacing(folder / name) as temporary, temporary.open("wb") as stream:
            save_archive(stream, content)
    words = {"arch": arch, "format": "pt", "trunk_hash": trunk.hash}
    words |= {} if trunk.stem == "imagenet" else {"stem": trunk.stem}
    with replacing(folder / "trunk_timm.safetensors") as temporary:
        save_tensors(temporary, to_torchvision(state), words)
