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
from safetensors import SafetensorError

from bench.errors import BadInput, one_line

# What PyTorch itself names in a file of tensors; anything else is code of somebody's.
_OF_TORCH = ("torch ", "torch._utils ", "collections ", "torch.serialization ", "_codecs ")


def read_checkpoint(path: Path) -> Any:
    """Return the content of a safetensors or PyTorch file; tensors lie on the CPU.

    Only tensors and plain values are read (`weights_only`): nothing in the file is ever run.

    Raises BadInput when there is no such file, when it is no checkpoint (or a damaged one), and when it carries code.
    """
    if not path.is_file():
        raise BadInput(f"No checkpoint {path}; give the path of a file.")
    if _is_safetensors(path):
        try:
            return safetensors.torch.load_file(path)
        except (SafetensorError, OSError) as error:
            raise BadInput(
                f"{path} is a damaged safetensors file ({one_line(error)}); fetch or write it again."
            ) from error
    try:
        with warnings.catch_warnings():  # about programs and other pickles, which are refused below
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch.load raises a dozen kinds for files that are no checkpoint
        if code := _code_in(path):
            raise BadInput(
                f"{path} carries code ({code}) and was not read; write its tensors alone, with "
                "torch.save(model.state_dict(), FILE), where you trust it."
            ) from error
        raise BadInput(
            f"{path} is not a checkpoint, or a damaged one; give a file written by torch.save or safetensors."
        ) from error


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
                if any("/code/" in name for name in names):
                    return "a TorchScript program"
                pickled = next((archive.read(name) for name in names if name.endswith("data.pkl")), b"")
        else:
            pickled = path.read_bytes()
        return next(iter(_imports(pickled)), "")
    except (OSError, zipfile.BadZipFile):
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
