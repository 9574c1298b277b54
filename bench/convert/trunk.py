"""The trunk file: a ResNet's weights with torchvision's key names, and a hash that its content must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.convert.dialects import trunk_shapes
from bench.convert.matching import match_shapes, trunk_hash
from bench.errors import BadInput
from bench.files import replacing

TRUNK = "trunk.safetensors"


@dataclass(frozen=True)
class Trunk:
    """A trunk as read from its file."""

    arch: str
    state: dict[str, Tensor]  # torchvision's key name -> tensor
    metadata: dict[str, str]  # arch, tensors, trunk_hash, the stem if it is not imagenet's, and what the writer added
    hash: str
    stem: str = "imagenet"


def save_trunk(
    file: Path, state: Mapping[str, Tensor], arch: str, stem: str = "imagenet", **metadata: str | int
) -> str:
    """Write a trunk whole or not at all and return its hash.

    Raises BadInput when `state` is not a whole `arch` with that stem.
    """
    match = match_shapes(trunk_shapes(arch, stem), state)
    if not match.complete:
        raise BadInput(f"Not a whole {arch}: {match.counts}, and {match.first_fault}; convert the checkpoint again.")
    content = trunk_hash(state)
    words = {"arch": arch, "tensors": len(state), "trunk_hash": content} | metadata
    if stem != "imagenet":  # files from before there were others name none
        words["stem"] = stem
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with replacing(file) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata={key: str(value) for key, value in words.items()})
    return content


def read_trunk(file: Path, *, check: bool = True) -> Trunk:
    """Read a trunk file; BadInput when it is missing, damaged, incomplete, or (with `check`) not what its hash says."""
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
        state = safetensors.torch.load_file(file)
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{file} is missing or damaged; run the convert stage again.") from error
    arch = metadata.get("arch", "")
    stem = metadata.get("stem", "imagenet")
    match = match_shapes(trunk_shapes(arch, stem), state) if arch else None
    if match is None or not match.complete:
        counts = match.counts if match else "it names no architecture"
        raise BadInput(f"{file} is not a trunk file ({counts}); run the convert stage again.")
    content = trunk_hash(state)
    if check and content != metadata.get("trunk_hash"):
        raise BadInput(f"{file} was changed after it was written (its hash differs); run the convert stage again.")
    return Trunk(arch, {name: state[name] for name in trunk_shapes(arch, stem)}, metadata, content, stem)
