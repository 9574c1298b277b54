"""Read a checkpoint without running what it carries."""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.convert.checksums import KEY, UNREADABLE, Damaged, check_archive
from bench.convert.matching import trunk_hash
from bench.errors import BadInput, one_line

# What PyTorch itself names in a file of tensors; anything else is code of somebody's.
_OF_TORCH = ("torch ", "torch._utils ", "collections ", "torch.serialization ", "_codecs ")


def read_checkpoint(path: Path) -> Any:
    """Return the content of a safetensors or PyTorch file; tensors lie on the CPU.

    Only tensors and plain values are read (`weights_only`): nothing in the file is ever run. The checksums that it
    carries are compared first: a file of ours has one of the whole, torch's archives have one of each part.

    Raises BadInput when there is no such file, when it is no checkpoint, when it carries code, and when it would unpack
    to more than it is; Damaged, a BadInput, when it is not what was written.
    """
    if not path.is_file():
        raise BadInput(f"No checkpoint {path}; give the path of a file.")
    if _is_safetensors(path):
        return _read_safetensors(path)
    if _holds_program(path):
        raise _carries(path, "a TorchScript program")
    whole = check_archive(path)
    try:
        with warnings.catch_warnings():  # about programs and other pickles, which are refused below
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch.load raises a dozen kinds for files that are no checkpoint
        if code := _code_in(path):
            raise _carries(path, code) from error
        raise Damaged(
            f"{path} is not a checkpoint, or a damaged one; give a file written by torch.save or safetensors."
        ) from error
    if isinstance(content, dict) and content.pop(KEY, None) is not None and not whole:
        raise Damaged(
            f"{path} is damaged: it had a checksum, which is gone; restore it from a copy, or write it again."
        )
    return content


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
        tensors = safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise Damaged(f"{path} is a damaged safetensors file ({one_line(error)}); fetch or write it again.") from error
    if metadata.get("trunk_hash", "") and metadata["trunk_hash"] != trunk_hash(tensors):
        raise Damaged(f"{path} was changed after it was written (its hash differs); fetch or write it again.")
    return tensors


def _carries(path: Path, code: str) -> BadInput:
    return BadInput(
        f"{path} carries code ({code}) and was not read; write its tensors alone, with "
        "torch.save(model.state_dict(), FILE), where you trust it."
    )


def _holds_program(path: Path) -> bool:
    """Whether an archive has the folder in which TorchScript keeps its code."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except UNREADABLE:
        return False


def _is_safetensors(path: Path) -> bool:
    """A safetensors file opens with the length of its JSON header, then the header."""
    with path.open("rb") as file:
        head = file.read(9)
    return path.suffix == ".safetensors" or (
        len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 10**8
    )


def _code_in(path: Path) -> str:
    """Return the first function or class that loading the file would import, or "" if there is none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                pickled = next((archive.read(name) for name in names if name.endswith("data.pkl")), b"")
        else:
            pickled = path.read_bytes()
        return next(iter(_imports(pickled)), "")
    except UNREADABLE:
        return ""


def _imports(pickled: bytes) -> list[str]:
    """List the names that a pickle imports, by reading its instructions without following them."""
    names: list[str] = []
    words: list[str] = []  # the last strings, which STACK_GLOBAL takes its module and name from
    stream = io.BytesIO(pickled)
    try:
        while stream.tell() < len(pickled):  # the old format is several pickles in a row
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in {"GLOBAL", "INST"}:
                    names.append(str(argument))
                elif opcode.name == "STACK_GLOBAL" and len(words) >= 2:
                    names.append(" ".join(words[-2:]))
                elif isinstance(argument, str):
                    words.append(argument)
    except (ValueError, IndexError, OverflowError, pickle.PickleError):
        pass  # no pickle, or the raw tensors after the last one
    return [name.replace(" ", ".") for name in names if not name.startswith(_OF_TORCH)]
