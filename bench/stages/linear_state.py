"""The heads of a linear evaluation between two sittings: written after each epoch, and the ones before stay, too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.convert.checksums import Damaged, header_of, read_header, save_tensors
from bench.convert.matching import trunk_hash
from bench.files import replacing
from bench.stages.linear_heads import Heads
from bench.storage import when_there_is_room
from bench.timing_gaps import note_gap
from bench.train.checkpoint import keep_as_before, read_newest

HEADS = "heads.safetensors"  # what a resumed stage goes on from
CHECKSUM, SAYS_SO = "checksum", "has_checksum"
Read = tuple[dict[str, Tensor], dict[str, str]]


def save(file: Path, heads: Heads, about: Mapping[str, str]) -> None:
    """Write the heads, and what they are of, whole or not at all; those before them stay as `previous.safetensors`.

    A full disk is waited for as a checkpoint waits. Raises CannotWrite.
    """
    tensors = dict(sorted(heads.tensors().items()))
    words = {**about, SAYS_SO: "sha256"}

    def once() -> None:
        with replacing(file) as temporary:
            save_tensors(temporary, tensors, {**words, CHECKSUM: _checksum(tensors, words)})
            keep_as_before(file)

    when_there_is_room(file, once)


def resume(file: Path, heads: Heads, about: Mapping[str, str], *, say: bool = True) -> tuple[int, int, Path]:
    """Load what an earlier start left; return (finished steps, skipped images, which file it was).

    They are (0, 0) if it left nothing of use. Raises Damaged, a BadInput, when neither file is what was written.
    """
    if not file.is_file():
        return 0, 0, file
    (tensors, metadata), used = read_newest(file, read, say=say)
    if {key: metadata.get(key) for key in about} != about:
        print(f"{file.name} is about another trunk or task: starting anew", flush=True)
        return 0, 0, file
    for name, tensor in heads.tensors().items():
        tensor.copy_(tensors[name])
    note_gap(f"{metadata['steps']} steps")
    return int(metadata["steps"]), int(metadata["skipped"]), used


def read(file: Path) -> Read:
    """Return heads' tensors and what they are of; Damaged where they are not what was written.

    Files of older versions have no checksum, and are believed.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
        tensors = safetensors.torch.load_file(file)
        header = read_header(file)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise Damaged(f"{file} is damaged; delete it, and the linear stage starts anew.") from error
    if CHECKSUM in metadata or SAYS_SO in metadata:
        whole = header_of(dict(sorted(tensors.items())), metadata)
        stated = metadata.pop(CHECKSUM, None)
        if header != whole or stated != _checksum(tensors, metadata):
            raise Damaged(f"{file} is damaged; delete it, and the linear stage starts anew.")
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """The sha256 of tensors and of what is said of them."""
    words = json.dumps(dict(sorted(about.items())))
    return hashlib.sha256(f"{words}\n{trunk_hash(tensors)}".encode()).hexdigest()
