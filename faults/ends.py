"""What a grid came to: hashes of all tensors, the records, what was finished when, and what lies about."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORK, RESULTS = "runs", "results"


@dataclass(frozen=True)
class End:
    """What is compared between an undisturbed run and a killed one.

    Attributes:
        tensors: file -> hash over names, shapes, types and values of its tensors.
        records: file -> hash of its metrics, of its proof and of the outcomes of its images.
        twice: stages with more than one record.
        left: temporary files that nobody will read.
    """

    tensors: dict[str, str]
    records: dict[str, str]
    twice: tuple[str, ...]
    left: tuple[str, ...]

    def differs_from(self, other: End) -> list[str]:
        """Name what differs in tensors and records."""
        pairs = ((self.tensors, other.tensors), (self.records, other.records))
        return [name for one, two in pairs for name in sorted(one | two) if one.get(name) != two.get(name)]


def end_of(folder: Path) -> End:
    """Read the end of a grid below a folder."""
    work = folder / WORK
    tensors = {str(file.relative_to(work)): _hash_of_tensors(file) for file in sorted(_weights(work))}
    found = sorted((folder / RESULTS / "records").glob("*.json"))
    contents = [json.loads(file.read_text()) for file in found]
    stages = Counter(content["fingerprints"]["stage"] for content in contents)
    hashes = {file.name: _hash_of_record(file, content) for file, content in zip(found, contents, strict=True)}
    left = [str(file.relative_to(folder)) for file in folder.rglob(".*") if not file.name.startswith(".writable")]
    left += [str(file.relative_to(folder)) for file in folder.rglob("*.partial")]
    return End(tensors, hashes, tuple(stage for stage, count in stages.items() if count > 1), tuple(sorted(set(left))))


def finished(folder: Path) -> dict[str, bytes]:
    """stage -> the content of its `done.json`, for those that have a whole one."""
    found: dict[str, bytes] = {}
    for file in (folder / WORK).glob("*/*/done.json"):
        content = file.read_bytes()
        try:
            json.loads(content)
        except ValueError:
            continue
        found[file.parent.name] = content
    return found


def _weights(work: Path) -> Iterator[Path]:
    yield from work.glob("pretrain/*/last.ckpt")
    yield from work.glob("convert/*/trunk.safetensors")
    yield from work.glob("segmentation/*/last.ckpt")


def _hash_of_tensors(file: Path) -> str:
    if file.suffix == ".safetensors":
        from safetensors.numpy import load_file

        digest = hashlib.sha256()
        for name, array in sorted(load_file(file).items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()[:16]
    # torch's archive: each storage is an entry, in the order in which it was met.
    digest = hashlib.sha256()
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if "/data/" in name:
                digest.update(name.rpartition("/data/")[2].encode() + archive.read(name))
    return digest.hexdigest()[:16]


def _hash_of_record(file: Path, content: dict[str, Any]) -> str:
    parts = {"metrics": content["metrics"], "weights": content.get("weights"), "proof": content.get("load_proof")}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for beside in sorted(file.parent.glob(f"{file.stem}.*")):
        if beside != file:
            digest.update(beside.name.encode() + beside.read_bytes())
    return digest.hexdigest()[:16]
