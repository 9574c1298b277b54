"""Checksums that files carry in themselves, so that a changed bit is noticed when they are read.

torch writes the CRC of each part of an archive and never looks at it again, and a safetensors file has no checksum at
all. So an archive that this project writes ends with a sha256 over all before it, as the comment that a zip file may
have (PKWARE's APPNOTE, 4.3.16): torch.load reads it as any other. Of an archive without one the CRCs are compared.

Tensor files are written in one order, whatever the process, so that equal tensors give equal files.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from bench.convert.matching import plain_bytes
from bench.errors import BadInput, one_line

MARK = b"sha256 of all before this: "
KEY = "checksum"  # in an archive that ends with one, so that it is missed where it is cut off
ATTACHED = "sha256, at the end of the file"
_DIGITS = 64
_END = 22  # bytes of the record that a zip file ends with, without a comment; its last two are the comment's length
_CHUNK = 1 << 22
# What zipfile raises for a damaged archive.
UNREADABLE = (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error, zlib.error)
_TYPES = {torch.float32: "F32", torch.float64: "F64", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64"}


class Damaged(BadInput):
    """A file's content is not what was written, or not all of it."""


def save_archive(stream: BinaryIO, content: Any) -> str:
    """Write what torch.save writes, with the sha256 of all of it at the end, and return that.

    Equal contents give equal bytes, wherever they are written.
    """
    summing: Any = _Summing(stream)
    torch.save(content, summing)
    return summing.finish()


class _Summing:
    """Passes on what torch writes, with its sum; the end is held back, as the comment's length is said there."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.sum, self.end = stream, hashlib.sha256(), b""

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if len(view) >= _END:
            self._put(self.end)
            self._put(view[: len(view) - _END])
            self.end = bytes(view[len(view) - _END :])
        else:
            joined = self.end + bytes(view)
            self._put(joined[:-_END])
            self.end = joined[-_END:]
        return len(view)

    def flush(self) -> None:
        self.stream.flush()

    def finish(self) -> str:
        assert self.end.startswith(b"PK\5\6")  # what torch writes ends without a comment
        self._put(self.end[:-2] + struct.pack("<H", len(MARK) + _DIGITS) + MARK)
        result = self.sum.hexdigest()
        self.stream.write(result.encode())
        return result

    def _put(self, data: bytes | memoryview) -> None:
        self.sum.update(data)
        self.stream.write(data)


def check_archive(file: Path) -> bool:
    """Check a file before anything in it is followed; return whether it has a sha256 of the whole.

    Raises Damaged where it, or without it the CRC of a part, is not that of the content; BadInput for an archive whose
    parts are said to be larger than the file, which unpacks to more than it is and is none of torch's.
    """
    attached = _attached(file)
    if attached is not None and attached != _sum_before(file, len(attached)):
        raise Damaged(
            f"{file} is damaged: its checksum is not that of its content; restore it from a copy, or write it again."
        )
    try:
        if not zipfile.is_zipfile(file):
            return False
        with zipfile.ZipFile(file) as archive:
            size, parts = file.stat().st_size, archive.infolist()
            packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
            if packed or sum(part.file_size for part in parts) > size:
                total = sum(part.file_size for part in parts)
                raise BadInput(
                    f"{file} has {size:,} bytes and says that {total:,} are in it, packed, which torch.save never "
                    "writes; load it where you trust it, and write its tensors with torch.save."
                )
            wrong = archive.testzip() if attached is None else None
    except UNREADABLE as error:
        raise Damaged(f"{file} is a damaged archive ({one_line(error)}); restore it, or write it again.") from error
    if wrong is not None:
        raise Damaged(
            f"{file} is damaged: the CRC of {wrong} is not that of its content; restore it or write it again."
        )
    return attached is not None


def _attached(file: Path) -> bytes | None:
    """The checksum that a file ends with; None for one without."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - len(MARK) - _DIGITS))
        mark, digits = stream.read(len(MARK)), stream.read()
    return digits if mark == MARK else None


def _sum_before(file: Path, end: int) -> bytes:
    left, total, buffer = file.stat().st_size - end, hashlib.sha256(), bytearray(_CHUNK)
    with file.open("rb", buffering=0) as stream:
        while left > 0 and (n := stream.readinto(memoryview(buffer)[: min(left, _CHUNK)])):
            total.update(memoryview(buffer)[:n])
            left -= n
    return total.hexdigest().encode()


def save_tensors(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file whose bytes are a function of the tensors, their order, and the metadata alone.

    The library orders metadata by hashes that each process draws anew. Raises OSError.
    """
    with file.open("wb") as stream:
        stream.write(header_of(tensors, metadata))
        for tensor in tensors.values():
            stream.write(plain_bytes(tensor))


def header_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return what such a file begins with: the header's length in 8 bytes, and the header, padded to 8 bytes."""
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def read_header(file: Path) -> bytes:
    """Return what a safetensors file begins with, as `header_of` does. Raises OSError."""
    with file.open("rb") as stream:
        length = stream.read(8)
        return length + stream.read(min(int.from_bytes(length, "little"), file.stat().st_size))
