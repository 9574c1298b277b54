"""Read a checkpoint without running what it carries."""

from __future__ import annotations

import io
import mmap
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.convert.checksums import KEY, UNREADABLE, Damaged, check_archive
from bench.convert.matching import trunk_hash
from bench.convert.pickled import excess, imports
from bench.errors import BadInput, one_line, shortened

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
    for stream in _pickled(path):
        if what := excess(stream, path.stat().st_size):
            raise _unpacks(path, what)
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
    _check_sizes(path, content)
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
    named = code if len(code) <= 100 and code.isprintable() else shortened(code, 100)
    return BadInput(
        f"{path} carries code ({named}) and was not read; write its tensors alone, with "
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
    names = (name for stream in _pickled(path) for name in imports(stream))
    return next((name.replace(" ", ".") for name in names if not name.startswith(_OF_TORCH)), "")


def _pickled(path: Path) -> Iterator[Any]:
    """Yield the pickles that a file holds or begins with, as streams; none where it cannot be read."""
    with suppress(*UNREADABLE):  # an empty file cannot be mapped
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # all of that name: which one torch takes is its business
                for part in archive.infolist():
                    if part.filename.endswith("data.pkl"):
                        yield io.BytesIO(archive.read(part))
        else:  # mapped: a read is no larger than what is there, whatever length the file states
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                yield mapped


def _check_sizes(path: Path, content: Any) -> None:
    """Raise BadInput for a tensor that takes more bytes than the file has: a few values seen many times."""
    size, waiting, seen = path.stat().st_size, [content], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            if value.layout == torch.strided and not value.is_meta and value.numel() * value.element_size() > size:
                raise _unpacks(path, f"a tensor of {value.numel():,} values")
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value


def _unpacks(path: Path, what: str) -> BadInput:
    return BadInput(
        f"{path} has {path.stat().st_size:,} bytes and unpacks to {what}, which is no checkpoint of a network; write "
        "its tensors anew with torch.save(model.state_dict(), FILE) where you trust it."
    )
