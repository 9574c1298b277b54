"""A convert stage's folder with any bit of it changed: never other weights, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from bench.convert.matching import trunk_hash
from bench.convert.proof import PROOF, load_proven, prove, read_proof, write_proof
from bench.convert.trunk import TRUNK, read_trunk, save_trunk
from bench.errors import BadInput
from bench.files import with_checksum, write_text
from bench.nn.encoder import Encoder, build_encoder


class Maps(Encoder):
    """An encoder that is called like a segmentation backbone."""

    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return self.maps(x)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a convert stage, of a ResNet-18."""
    folder = tmp_path_factory.mktemp("convert")
    encoder = build_encoder("resnet18", 3).eval()
    other = build_encoder("resnet18", 3)
    other.__class__ = Maps
    save_trunk(folder / TRUNK, encoder.state_dict(), "resnet18")
    write_proof(folder, prove(encoder.state_dict(), "resnet18", encoder.maps, other, exported="encoder"))
    return {name: (folder / name).read_bytes() for name in (TRUNK, PROOF)}


@pytest.fixture
def folder(written: dict[str, bytes], tmp_path: Path) -> Path:
    for name, data in written.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def flip(file: Path, bit: int) -> None:
    """Change one bit in place."""
    with file.open("r+b") as stream:
        stream.seek(bit // 8)
        (byte,) = stream.read(1)
        stream.seek(bit // 8)
        stream.write(bytes([byte ^ 1 << bit % 8]))


@pytest.mark.slow
def test_every_kind_of_bit_of_a_trunk_file_counts(folder: Path, written: dict[str, bytes]) -> None:
    data = written[TRUNK]
    header = 8 + int.from_bytes(data[:8], "little")
    rng = np.random.default_rng(0)
    load_proven(folder)
    places = [*range(0, 64), *rng.integers(64, 8 * header, 60), *rng.integers(8 * header, 8 * len(data), 12)]
    for bit in map(int, places):
        flip(folder / TRUNK, bit)
        for read in (load_proven, lambda place: read_trunk(place / TRUNK)):
            with pytest.raises(BadInput, match="again"):
                read(folder)
        flip(folder / TRUNK, bit)
    load_proven(folder)


def test_every_bit_of_a_proof_counts(folder: Path, written: dict[str, bytes]) -> None:
    rng = np.random.default_rng(1)
    for bit in rng.integers(0, 8 * len(written[PROOF]), 600).tolist():
        flip(folder / PROOF, bit)
        with pytest.raises(BadInput, match=r"Weights refused: .* is not a load proof .* run the convert stage again"):
            read_proof(folder)
        flip(folder / PROOF, bit)
    assert read_proof(folder).passed


EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "fewer matched": (lambda p: p.update(matched=119), "passed with 119 of 120 tensors and lists 120"),
    "fewer wanted": (lambda p: p.update(matched=119, of=119), "passed with 119 of 119 tensors and lists 120"),
    "a tensor less": (lambda p: p["tensors"].pop("bn1.bias"), "passed with 120 of 120 tensors and lists 119"),
    "a fault": (lambda p: p.update(fault="C3"), "it passed and names a fault"),
    "failed without one": (lambda p: p.update(passed=False), "it failed and names no fault"),
    "a map over the limit": (lambda p: p["maps"].update(C3=0.45), "it passed with maps that differ by 0.45"),
    "a map that is no number": (lambda p: p["maps"].update(C3=float("nan")), r"maps\.C3: Input should be"),
    "an infinite map": (lambda p: p["maps"].update(C5=float("inf")), "maps that differ by inf"),
    "a map below zero": (lambda p: p["maps"].update(C5=-1e-9), r"maps\.C5: Input should be greater"),
    "a map less": (lambda p: p["maps"].pop("C4"), "its maps are C2, C3, C5, not C2, C3, C4, C5"),
    "another map": (lambda p: p["maps"].update(C6=0.0), "its maps are C2, C3, C4, C5, C6"),
    "a wider tolerance": (lambda p: p.update(tolerance=1.0), "its tolerance or its image are not"),
    "another image": (lambda p: p.update(image="zeros"), "its tolerance or its image are not"),
    "a word for a number": (lambda p: p.update(matched="120"), "matched: Input should be a valid integer"),
    "a number for a truth": (lambda p: p.update(passed=1), "passed: Input should be a valid boolean"),
    "a shorter hash": (lambda p: p.update(trunk_hash=p["trunk_hash"][1:]), "trunk_hash: String should match"),
    "a hash in capitals": (lambda p: p.update(trunk_hash=p["trunk_hash"].upper()), "trunk_hash: String should match"),
    "a shape below zero": (lambda p: p["tensors"]["bn1.bias"].update(shape=[-64]), "greater than or equal to 0"),
    "a shape of fractions": (lambda p: p["tensors"]["bn1.bias"].update(shape=[64.5]), "valid integer"),
    "a field more": (lambda p: p.update(note=""), "note: Extra inputs are not permitted"),
    "a field less": (lambda p: p.pop("fault"), "fault: Field required"),
    "an empty name": (lambda p: p.update(arch=""), "arch: String should match"),
    "no object": (lambda p: p.clear() or p.update(tensors=[]), "Field required"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_proof_is_read_field_by_field(name: str, folder: Path) -> None:
    """As by an older version or by hand: no checksum tells of the edit, or one that fits it."""
    edit, message = EDITS[name]
    content = json.loads((folder / PROOF).read_text(encoding="utf-8"))
    del content["checksum"]
    edit(content)
    for text in (with_checksum(content), json.dumps({**content, "network": ""})):
        write_text(folder / PROOF, text)
        with pytest.raises(BadInput, match=f"is not a load proof .*{message}"):
            read_proof(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"arch": "resnet50"}, "the load proof is about a resnet50, not a resnet18"),
        ({"stem": "stl"}, "the load proof is about the stem stl, not imagenet"),
        ({"trunk_hash": "0" * 64}, "the load proof is about another trunk"),
        ({"passed": False, "fault": "map C3 differs"}, r"the load proof failed \(map C3 differs\)"),
    ],
)
def test_a_proof_agrees_with_its_trunk(edit: dict[str, Any], message: str, folder: Path) -> None:
    content = json.loads((folder / PROOF).read_text(encoding="utf-8"))
    del content["checksum"]
    write_text(folder / PROOF, with_checksum(content | edit))
    with pytest.raises(BadInput, match=message):
        load_proven(folder)


def test_a_proof_whose_checksum_was_taken_away_is_refused(folder: Path) -> None:
    content = json.loads((folder / PROOF).read_text(encoding="utf-8"))
    del content["checksum"]
    write_text(folder / PROOF, json.dumps(content, indent=1) + "\n")
    with pytest.raises(BadInput, match=r"is not a load proof \(it has no checksum\)"):
        load_proven(folder)


@pytest.mark.parametrize(
    ("exported", "export", "message"),
    [
        ("encoder", "online", None),
        ("target_encoder", "target", None),
        ("", "target", None),  # of an older version, which did not say
        ("target_encoder", "online", "is the target_encoder of its objective, but export='online' asks for the enc"),
        ("encoder", "target", "is the encoder of its objective, but export='target' asks for a copy of the encoder"),
    ],
)
def test_the_wrong_twin_is_refused(exported: str, export: str, message: str | None, folder: Path) -> None:
    proof = read_proof(folder).model_copy(update={"network": exported})
    write_proof(folder, proof)
    if message is None:
        load_proven(folder, export)
        return
    with pytest.raises(BadInput, match=message):
        load_proven(folder, export)


def test_equal_trunks_are_equal_files_whatever_came_before(folder: Path, tmp_path: Path) -> None:
    state = read_trunk(folder / TRUNK).state
    save_trunk(tmp_path / "again", dict(reversed(state.items())), "resnet18")
    assert (tmp_path / "again").read_bytes() == (folder / TRUNK).read_bytes()


def test_a_folder_of_an_older_version_is_read(folder: Path) -> None:
    """Its header is as the library orders it and names the recipe; its proof has neither network nor checksum."""
    state = read_trunk(folder / TRUNK).state
    words = {"arch": "resnet18", "tensors": "120", "trunk_hash": trunk_hash(state), "recipe": "coco", "seed": "3"}
    safetensors.torch.save_file(state, folder / TRUNK, metadata=words)
    content = json.loads((folder / PROOF).read_text(encoding="utf-8"))
    for key in ("checksum", "network", "stem"):
        del content[key]
    write_text(folder / PROOF, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    assert load_proven(folder, "target").hash == trunk_hash(state)
    changed = state | {"conv1.weight": state["conv1.weight"] + torch.eye(7)}
    safetensors.torch.save_file(changed, folder / TRUNK, metadata=words)
    with pytest.raises(BadInput, match="119 of 120 tensors matched the load proof"):
        load_proven(folder)
