"""Convert: the trunk of a pretraining, exported to every dialect, with the proof that it loads.

Reads `last.ckpt` of the pretraining; writes `trunk.safetensors`, `proof.json` and the exports `trunk_mmseg.pth`,
`trunk_timm.safetensors`, `trunk_torchvision.pth`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from bench.convert.dialects import load_trunk, to_mmseg, to_timm, to_torchvision
from bench.convert.proof import load_strictly, prove, write_proof
from bench.convert.reading import read_checkpoint
from bench.convert.trunk import TRUNK, read_trunk, save_trunk
from bench.errors import BadInput, StageFailed
from bench.nn.encoder import Encoder, build_encoder
from bench.recipe import Recipe
from bench.stages.job import Job
from bench.stages.segmentation_model import build_backbone

CHECKPOINT = "last.ckpt"


def run(job: Job) -> dict[str, Any]:
    """Convert one pretraining and prove that its weights arrive.

    Returns {"tensors": how many, "trunk_hash": …, "maps": {"C2": largest relative difference, …}}.

    Raises BadInput for a checkpoint without a whole trunk, StageFailed when the proof fails.
    """
    recipe = job.config
    assert isinstance(recipe, Recipe)
    checkpoint = job.inputs["pretrain"] / CHECKPOINT
    state = load_trunk(checkpoint, recipe.arch)
    origin = job.inputs["pretrain"].name
    save_trunk(job.folder / TRUNK, state, recipe.arch, recipe=recipe.name, seed=job.seed, pretraining=origin)
    # From here on both sides go their own way: the pretraining's encoder straight from its checkpoint, and mmseg's
    # network from the file that the stages downstream will read.
    encoder = pretrained_encoder(checkpoint, recipe.arch).eval()
    network = build_backbone(recipe.arch)
    trunk = read_trunk(job.folder / TRUNK)
    load_strictly(network, trunk.state, "mmseg's ResNet")
    proof = prove(encoder.state_dict(), recipe.arch, encoder.maps, network)
    write_proof(job.folder, proof)
    if not proof.passed:
        raise StageFailed(f"The load proof failed: {proof.matched} of {proof.of} tensors matched, and {proof.fault}.")
    _export(job.folder, trunk.state, recipe.arch)
    worst = max(proof.maps.values())
    print(f"load proof: {proof.matched} of {proof.of} tensors matched, maps differ by {worst:.1g}", flush=True)
    return {"tensors": proof.matched, "trunk_hash": proof.trunk_hash, "maps": proof.maps}


def pretrained_encoder(checkpoint: Path, arch: str) -> Encoder:
    """Return the encoder of one of our training checkpoints, loaded as pretraining itself loads it."""
    content = read_checkpoint(checkpoint)
    objective = content.get("objective") if isinstance(content, dict) else None
    if not isinstance(objective, dict):
        raise BadInput(f"{checkpoint} is not a training checkpoint of this project; run the pretrain stage again.")
    encoder = build_encoder(arch, seed=0)
    own = {name.removeprefix("encoder."): tensor for name, tensor in objective.items() if name.startswith("encoder.")}
    load_strictly(encoder, own, "the pretraining encoder")
    return encoder


def _export(folder: Path, state: dict[str, Tensor], arch: str) -> None:
    """Write the trunk in the other dialects, each whole or not at all."""
    for name, content in (("trunk_mmseg.pth", to_mmseg(state, arch)), ("trunk_torchvision.pth", to_torchvision(state))):
        temporary = folder / f".{name}.{os.getpid()}"
        torch.save(content, temporary)
        temporary.replace(folder / name)
    temporary = folder / f".trunk_timm.safetensors.{os.getpid()}"
    safetensors.torch.save_file(to_timm(state), temporary, metadata={"arch": arch, "format": "pt"})
    temporary.replace(folder / "trunk_timm.safetensors")
