"""The trunk file: a ResNet's weights with torchvision's key names, and a hash that its content must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.convert.checksums import header_of, read_header, save_tensors
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
    metadata: dict[str, str]  # arch, tensors, trunk_hash, the stem if it is not imagenet's; in older files the recipe
    hash: str
    stem: str = "imagenet"


def save_trunk(file: Path, state: Mapping[str, Tensor], arch: str, stem: str = "imagenet") -> str:
    """Write a trunk whole or not at all and return its hash.

    The file is a function of the tensors and the architecture alone: equal trunks are equal files.

    Raises BadInput when `state` is not a whole `arch` with that stem.
    """
    match = match_shapes(trunk_shapes(arch, stem), state)
    if not match.complete:
        raise BadInput(f"Not a whole {arch}: {match.counts}, and {match.first_fault}; convert the checkpoint again.")
    tensors = {name: state[name] for name in trunk_shapes(arch, stem)}
    content = trunk_hash(tensors)
    with replacing(file) as temporary:
        save_tensors(temporary, tensors, metadata_of(arch, stem, len(tensors), content))
    return content


def metadata_of(arch: str, stem: str, tensors: int, content: str) -> dict[str, str]:
    """Return what a trunk file says of a trunk with so many tensors and the hash `content`."""
    words = {"arch": arch, "tensors": str(tensors), "trunk_hash": content}
    return words if stem == "imagenet" else words | {"stem": stem}  # files from before there were others name none


def read_trunk(file: Path, *, check: bool = True) -> Trunk:
    """Read a trunk file; BadInput when it is missing, damaged, incomplete, or (with `check`) not what its hash says.

    Its header is compared with the one that its content has; that of an older file, which names the recipe, has no
    order of its own, and is believed where the tensors and their hash agree with it.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
        state = safetensors.torch.load_file(file)
        header = read_header(file)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise BadInput(f"{file} is missing or damaged; run the convert stage again.") from error
    arch = metadata.get("arch", "")
    stem = metadata.get("stem", "imagenet")
    try:
        match = match_shapes(trunk_shapes(arch, stem), state) if arch else None
    except BadInput:  # an architecture or stem that there is not
        match = None
    if match is None or not match.complete:
        counts = match.counts if match else "it names no architecture"
        raise BadInput(f"{file} is not a trunk file ({counts}); run the convert stage again.")
    content = trunk_hash(state)
    if check and content != metadata.get("trunk_hash"):
        raise BadInput(f"{file} was changed after it was written (its hash differs); run the convert stage again.")
    tensors = {name: state[name] for name in trunk_shapes(arch, stem)}
    stated = metadata_of(arch, stem, len(tensors), metadata.get("trunk_hash", ""))
    if "recipe" not in metadata and header != header_of(tensors, stated):
        raise BadInput(f"{file} was changed after it was written (its header differs); run the convert stage again.")
    return Trunk(arch, tensors, metadata, content, stem)
