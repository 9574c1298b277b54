"""Files that say what they hold: a changed bit is noticed, equal contents are equal bytes, nothing unpacks to more."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from bench.convert import checksums
from bench.convert.checkpoint_file import read_checkpoint
from bench.convert.checksums import Damaged, save_archive, save_tensors
from bench.convert.matching import match_contents
from bench.errors import BadInput
from bench.files import sha256_of
from bench.train.checkpoint import read, write

STATE = {"w": torch.arange(300.0), "n": torch.tensor(7), "b": torch.tensor([0.5, -1.25, 3e-8])}


def content_of() -> dict[str, Any]:
    return {"objective": STATE, "step": 3, "run": {"recipe": "test"}}


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def same(found: Any) -> bool:
    return found["step"] == 3 and match_contents(STATE, found["objective"]).complete


def test_an_archive_says_the_sha256_of_all_before_and_torch_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    with file.open("wb") as stream:
        said = save_archive(stream, STATE)
    data = file.read_bytes()
    assert said == hashlib.sha256(data[:-64]).hexdigest() == data[-64:].decode()
    for mapped in (False, True):
        assert match_contents(STATE, torch.load(file, weights_only=True, mmap=mapped)).complete
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.comment == data[-91:]
    assert sha256_of(file) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("sizes", [(1,) * 40, (5, 30, 1, 22, 21, 23, 100)])
def test_the_sum_does_not_depend_on_how_torch_cuts_what_it_writes(
    sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(sum(sizes)) + b"PK\5\6" + bytes(18)

    def written(_: Any, stream: Any) -> None:
        start = 0
        for size in (*sizes, 22):
            stream.write(memoryview(data)[start : start + size])
            start += size

    monkeypatch.setattr(torch, "save", written)
    save_archive(stream := io.BytesIO(), None)
    result = stream.getvalue()
    assert result[: len(data) - 2] == data[:-2]
    assert result[-64:].decode() == hashlib.sha256(result[:-64]).hexdigest()


def test_no_flipped_bit_of_a_checkpoint_loads_or_ends_in_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    write(file, content_of())
    data = file.read_bytes()
    assert same(read(file))
    rng = np.random.default_rng(0)
    places = {*rng.integers(0, 8 * len(data), 300).tolist(), *range(8 * (len(data) - 113), 8 * len(data), 3)}
    for bit in sorted(places):
        file.write_bytes(flipped(data, bit))
        with pytest.raises(BadInput, match="is damaged"):
            read(file)
    for length in (0, 1, 100, len(data) // 2, len(data) - 64, len(data) - 1):
        file.write_bytes(data[:length])
        with pytest.raises(BadInput):
            read(file)


def test_no_flipped_bit_of_an_archive_of_torchs_own_loads_other_tensors(tmp_path: Path) -> None:
    """Without our checksum: the CRCs that torch wrote, and does not read."""
    file = tmp_path / "foreign.pth"
    torch.save(content_of(), file)
    data = file.read_bytes()
    rng = np.random.default_rng(1)
    weights = 8 * data.index(np.arange(300, dtype=np.float32).tobytes())
    refused = 0
    for bit in (*rng.integers(0, 8 * len(data), 400).tolist(), *range(weights, weights + 100)):
        file.write_bytes(flipped(data, bit))
        try:
            assert same(read_checkpoint(file))
        except BadInput:
            refused += 1
    assert refused > 300
    file.write_bytes(flipped(data, weights + 77))
    with pytest.raises(Damaged, match=r"is damaged: the CRC of foreign/data/0 is not that of its content; restore it"):
        read_checkpoint(file)
    other = torch.load(file, weights_only=True)  # which torch itself does not notice
    assert not same(other)


@pytest.mark.parametrize("ours", [True, False])
def test_an_archive_that_unpacks_to_more_than_it_is_is_refused_by_its_headers(ours: bool, tmp_path: Path) -> None:
    whole, file = tmp_path / "whole.pth", tmp_path / "bomb.pth"
    torch.save({"objective": {"w": torch.zeros(1 << 20)}, "format": 1}, whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    assert file.stat().st_size < 10_000
    with pytest.raises(BadInput, match=r"says that 4,19\d,\d+ are in it, packed, which torch.save never writes; load"):
        (read if ours else read_checkpoint)(file)


def test_parts_that_lie_on_one_another_are_refused(tmp_path: Path) -> None:
    """Many entries with one content: small without being packed."""
    file = tmp_path / "bomb.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data/0", bytes(100_000))
        info = archive.filelist[0]
        archive.filelist += [info] * 1_000
    with pytest.raises(BadInput, match="says that 100,100,000 are in it"):
        read_checkpoint(file)


PROGRAM = """
import sys, torch
from pathlib import Path
from bench.convert.checksums import save_archive, save_tensors
state = {name: torch.arange(6.0).reshape(2, 3) + i for i, name in enumerate(sorted({"b", "a", "c", "d"}))}
save_tensors(Path(sys.argv[1]), state, dict.fromkeys({"x", "y", "z", "u", "v", "w"}, "1"))
with open(sys.argv[2], "wb") as stream:
    save_archive(stream, {"state_dict": state})
"""


@pytest.mark.slow
def test_equal_tensors_are_equal_bytes_whatever_the_process(tmp_path: Path) -> None:
    for seed in "12":
        files = [str(tmp_path / f"{seed}.safetensors"), str(tmp_path / f"name{seed}.pth")]
        subprocess.run([sys.executable, "-c", PROGRAM, *files], env=os.environ | {"PYTHONHASHSEED": seed}, check=True)
    assert sha256_of(tmp_path / "1.safetensors") == sha256_of(tmp_path / "2.safetensors")
    assert sha256_of(tmp_path / "name1.pth") == sha256_of(tmp_path / "name2.pth")


@pytest.mark.parametrize(
    "tensors",
    [
        STATE,
        {"bf16": torch.randn(3, 4).bfloat16(), "half": torch.randn(2).half(), "wide": torch.randn(2, 2).double()},
        {
            "last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
            "none": torch.zeros(0, 3),
            "é": torch.ones(1),
        },
    ],
)
def test_the_library_reads_what_is_written_here(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save_tensors(file, tensors, {"b": "ü", "a": '"1"'})
    assert match_contents(tensors, safetensors.torch.load_file(file)).complete
    with safe_open(file, framework="pt") as opened:
        assert opened.metadata() == {"a": '"1"', "b": "ü"}
    assert checksums.read_header(file) == checksums.header_of(tensors, {"a": '"1"', "b": "ü"})
