"""What a checkpoint unpacks to is known before it is unpacked: each of these ends or fills a process that loads it."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.convert.checkpoint_file import read_checkpoint
from bench.convert.dialects import load_trunk, trunk_shapes
from bench.convert.pickled import DEEPEST, excess
from bench.errors import BadInput

PROTOCOL, DICT_WITH_KEY, VALUE = b"\x80\x02", b"})", b"K\x01s."
DEEP = PROTOCOL + DICT_WITH_KEY + b"\x85" * 1_000_000 + VALUE  # a key of a million tuples, one in another
DOUBLED = b"".join(bytes((0x71, place, 0x68, place, 0x86)) for place in range(60))  # (x, x) of what came before
SHARED = PROTOCOL + DICT_WITH_KEY + DOUBLED + VALUE
BUFFER = PROTOCOL + b"c__builtin__\nbytearray\n\x8a\x05\0\0\0\0\x7f\x85R."  # of half a terabyte


def archive(pickled: bytes, name: str = "data.pkl", first: bytes | None = None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as whole:
        if first is not None:
            whole.writestr("a/other.data.pkl", first)
        for part, content in ((name, pickled), ("version", b"3\n"), ("data/0", bytes(100))):
            whole.writestr(f"a/{part}", content)
    return stream.getvalue()


BOMBS = {
    "deep": (archive(DEEP), f"tuples nested more than {DEEPEST} deep"),
    "deep, in the older form": (DEEP, f"tuples nested more than {DEEPEST} deep"),
    "deep, behind another": (archive(DEEP, first=pickle.dumps({}, 2)), f"tuples nested more than {DEEPEST} deep"),
    "shared": (archive(SHARED), "a tuple of more values than it has bytes"),
    "a buffer": (archive(BUFFER), "545,460,846,592 values by one call"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_end_or_fill_the_process_is_refused_unread(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, said = BOMBS[name]
    (tmp_path / "bomb.pth").write_bytes(data)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was loaded"))
    with pytest.raises(BadInput, match=rf"^\S+bomb\.pth has [\d,]+ bytes and unpacks to {said}, which is no"):
        read_checkpoint(tmp_path / "bomb.pth")


def test_a_few_values_seen_many_times_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1).expand(100_000, 100_000)}, tmp_path / "wide.pth")
    with pytest.raises(BadInput, match="unpacks to a tensor of 10,000,000,000 values"):
        read_checkpoint(tmp_path / "wide.pth")


@pytest.mark.parametrize("kind", ["meta", "sparse", "complex", "quantized"])
def test_tensors_that_are_no_weights_are_none(kind: str, tmp_path: Path) -> None:
    state: dict[str, Any] = {name: torch.ones(shape) for name, shape in trunk_shapes("resnet18w8").items()}
    name, one = next(iter(state.items()))
    state[name] = {
        "meta": lambda: one.to("meta"),
        "sparse": one.to_sparse,
        "complex": lambda: one.to(torch.complex64),
        "quantized": lambda: torch.quantize_per_tensor(one, 0.1, 0, torch.qint8),
    }[kind]()
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(BadInput, match=f"{name} is missing"):
        load_trunk(tmp_path / "odd.pth", "resnet18w8")


def test_what_torch_writes_is_in_proportion(tmp_path: Path) -> None:
    """Optimizers, old files, empty tensors, large numbers, bytes, and tuples as a person would nest them."""
    module = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    nested: Any = 1
    for _ in range(DEEPEST - 10):
        nested = (nested,)
    content = {
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "seed": 2**63,
        "buffer": bytearray(b"abc"),
        "shape": torch.Size((3, 4)),
        "empty": torch.zeros(0),
        "args": nested,
    }
    for new in (True, False):
        torch.save(content, tmp_path / "file.pth", _use_new_zipfile_serialization=new)
        read = read_checkpoint(tmp_path / "file.pth")
        assert read["args"] == nested
        assert read["seed"] == 2**63
        assert read["buffer"] == b"abc"


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x02R.", b"\x80\x02t", b"\x80\x02h\x05.", b"\xff" * 50])
def test_what_is_no_pickle_builds_nothing(data: bytes) -> None:
    assert excess(io.BytesIO(data), 10) == ""
