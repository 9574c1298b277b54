"""Work folders of earlier versions, shrunk to what their files look like, and grown again.

    python tests/earlier_forms/miniature.py WORK RESULTS VERSION   # makes the folder VERSION beside this file

Text is kept as it was written, but for paths of the machine: `@work`, `@results`, `@bench` stand for the work folder,
that of the results, and the project. Of a file of tensors (`last.ckpt`, `trunk.safetensors`) everything is kept but the
numbers: shapes, types, names, metadata and all plain values. `grow` gives them numbers again, where it is asked to.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import zlib
from collections.abc import Container
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from bench.convert.matching import digest, trunk_hash

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DESCRIBED = ("last.ckpt", "trunk.safetensors", "heads.safetensors")
KEPT_ENTRIES = 2  # of a proof's tensors, which are all of one form
TEXTS = (".json", ".jsonl")


def shrink(work: Path, results: Path, place: Path) -> None:
    """Make the miniature of a work folder and of its results."""
    for file in [*sorted(work.glob("*/*/*")), work / "data.json"]:
        if "rendered" in file.parts or not file.is_file():
            continue
        target = place / "work" / file.relative_to(work)
        if file.name in DESCRIBED:
            _write(target.with_name(f"{file.name}.described"), json.dumps(described(file), ensure_ascii=False))
        elif file.suffix in TEXTS:
            _write(target, _without_paths(_shortened(file), work, results))
    for file in sorted((results / "records").glob("*.json")):
        _write(place / "records" / file.name, _without_paths(file.read_text(encoding="utf-8"), work, results))


def grow(place: Path, work: Path, results: Path, tensors: Container[str] = ()) -> None:
    """Make a work folder and a folder of results of a miniature; of files of tensors those named in `tensors`."""
    for file in sorted(path for path in place.rglob("*") if path.is_file()):
        top, *rest = file.relative_to(place).parts
        target = (work if top == "work" else results / "records").joinpath(*rest)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".described":
            if file.stem in tensors:
                _made(target.with_suffix(""), json.loads(text))
        else:
            text = text.replace("@work", str(work)).replace("@results", str(results)).replace("@bench", str(ROOT))
            target.write_text(text, encoding="utf-8")
    for proof in work.glob("convert/*/proof.json") if "trunk.safetensors" in tensors else ():
        _proven(proof)


def described(file: Path) -> Any:
    """Return what a file of tensors holds, without the numbers, as JSON-able values."""
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
        return {"metadata": metadata, "tensors": _plain(safetensors.torch.load_file(file))}
    return _plain(torch.load(file, weights_only=True, mmap=True))


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return "@" + str(value.dtype).removeprefix("torch.") + "".join(f" {side}" for side in value.shape)
    if isinstance(value, dict):
        if any(not isinstance(key, str) for key in value):
            return {"@pairs": [[key, _plain(one)] for key, one in value.items()]}
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return {"@tuple": [_plain(one) for one in value]}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _full(value: Any, name: str = "") -> Any:
    if isinstance(value, str) and value.startswith("@"):
        kind, *sides = value[1:].split()
        return _numbers(name, getattr(torch, kind), [int(side) for side in sides])
    if isinstance(value, dict):
        if "@pairs" in value:
            return {key: _full(one, f"{name}.{key}") for key, one in value["@pairs"]}
        if "@tuple" in value:
            return tuple(_full(one, name) for one in value["@tuple"])
        return {key: _full(one, f"{name}.{key}") for key, one in value.items()}
    return [_full(one, name) for one in value] if isinstance(value, list) else value


def _numbers(name: str, kind: torch.dtype, sides: list[int]) -> Tensor:
    """Small numbers that depend on the name alone; variances of 1."""
    if not kind.is_floating_point:
        return torch.ones(sides, dtype=kind)
    if name.endswith("running_var"):
        return torch.ones(sides, dtype=kind)
    draw = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return (0.05 * torch.randn(sides, generator=draw)).to(kind)


def _made(file: Path, description: Any) -> None:
    if file.suffix != ".safetensors":
        torch.save(_full(description), file)
        return
    # As their conversion would leave them: the encoder of the training state that lies in the work folder.
    tensors = _full(description["tensors"], ".objective.encoder" if file.name.startswith("trunk") else "")
    metadata = dict(description["metadata"])
    if "trunk_hash" in metadata:
        metadata["trunk_hash"] = trunk_hash(tensors)
    safetensors.torch.save_file(tensors, file, metadata=metadata)


def _proven(file: Path) -> None:
    """Let a proof be about the tensors that were given to the trunk beside it."""
    proof, tensors = (
        json.loads(file.read_text(encoding="utf-8")),
        safetensors.torch.load_file(file.with_name("trunk.safetensors")),
    )
    form = next(iter(proof["tensors"].values()))
    assert set(form) == {"shape", "sha256"}
    proof["tensors"] = {name: {"shape": list(one.shape), "sha256": digest(one)} for name, one in tensors.items()}
    proof["trunk_hash"] = trunk_hash(tensors)
    file.write_text(json.dumps(proof, ensure_ascii=False), encoding="utf-8")


def _shortened(file: Path) -> str:
    """The text of a file, without the many entries that are of one form."""
    text = file.read_text(encoding="utf-8")
    if file.name == "proof.json":
        content = json.loads(text)
        content["tensors"] = dict(list(content["tensors"].items())[:KEPT_ENTRIES])
        return json.dumps(content, indent=1, ensure_ascii=False)
    if file.name == "data.json":
        content = json.loads(text)
        for entry in content.values():
            entry["stamps"] = dict(list(entry["stamps"].items())[:KEPT_ENTRIES])
        return json.dumps(content)
    return text


def _without_paths(text: str, work: Path, results: Path) -> str:
    for path, name in ((results, "@results"), (work, "@work")):
        text = text.replace(str(path), name)
    return re.sub(r'"(/[^"]*?)/(pretrain_configs|downstream_configs)/', r'"@bench/\2/', text)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    made = HERE / sys.argv[3]
    shutil.rmtree(made, ignore_errors=True)
    shrink(Path(sys.argv[1]), Path(sys.argv[2]), made)
