"""Every dialect is read to the same trunk; whatever is not a whole trunk is refused with counts and a remedy."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor

from bench.convert.dialects import COUNTER, load_trunk, to_mmseg, to_torchvision, trunk_shapes
from bench.convert.proof import fixed_image
from bench.errors import BadInput

State = dict[str, Tensor]
TINY = "tiny_resnet"  # of this folder's conftest


def random_state(arch: str, seed: int = 0) -> State:
    """A trunk in which every tensor is random, statistics of batch norms included."""
    torch.manual_seed(seed)
    shapes = trunk_shapes(arch)
    return {n: torch.rand(s) if not n.endswith(COUNTER) else torch.tensor(7) for n, s in shapes.items()}


@pytest.fixture(scope="module")
def trunk() -> State:
    return random_state(TINY)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def doubled(state: State) -> State:
    return {name: tensor * 2 for name, tensor in state.items()}


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


FC = {"fc.weight": torch.ones(10, 16), "fc.bias": torch.ones(10)}
DIALECTS: dict[str, Callable[[State], Any]] = {
    "torchvision": lambda s: s | FC,
    "ddp": lambda s: {"epoch": 3, "state_dict": prefixed(s | FC, "module.")},
    "mmseg": lambda s: {
        "meta": {"epoch": 1},
        "state_dict": prefixed(s, "backbone.") | {"decode_head.conv_seg.weight": torch.ones(19, 512, 1, 1)},
    },
    "moco": lambda s: {
        "state_dict": prefixed(doubled(s), "module.encoder_k.")
        | prefixed(s | {"fc.0.weight": torch.ones(3, 3)}, "module.encoder_q.")
        | {"module.queue": torch.ones(4, 4)}
    },
    "ours": lambda s: {
        "step": 9,
        "objective": prefixed(doubled(s), "target_encoder.")
        | prefixed(s, "encoder.")
        | {"predictor.0.weight": torch.ones(2, 2)},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}},
    },
    "timm with an average": lambda s: {"state_dict_ema": doubled(s) | FC, "state_dict": s | FC},
    "an unknown prefix": lambda s: {"net": {"weights": prefixed(s, "my.own.trunk.")}},
}


@pytest.mark.parametrize("name", DIALECTS)
def test_each_dialect_gives_the_same_trunk(name: str, trunk: State, tmp_path: Path) -> None:
    loaded = load_trunk(save(tmp_path / "x.pth", DIALECTS[name](trunk)), TINY)
    assert list(loaded) == list(trunk_shapes(TINY))
    assert all(torch.equal(loaded[key], trunk[key]) for key in trunk)


def test_safetensors_and_the_old_format_are_read(trunk: State, tmp_path: Path) -> None:
    safetensors.torch.save_file(prefixed(trunk, "backbone."), tmp_path / "x.bin")
    torch.save(trunk, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for file in ("x.bin", "old.pth"):
        assert torch.equal(load_trunk(tmp_path / file, TINY)["conv1.weight"], trunk["conv1.weight"])


def test_what_was_read_does_not_follow_the_file(trunk: State, tmp_path: Path) -> None:
    file = save(tmp_path / "x.pth", trunk)
    loaded = load_trunk(file, TINY)
    file.write_bytes(b"\0" * file.stat().st_size)
    assert torch.equal(loaded["conv1.weight"], trunk["conv1.weight"])


def test_absent_counters_are_zero_and_half_precision_becomes_float32(trunk: State, tmp_path: Path) -> None:
    foreign = {name: tensor.half() for name, tensor in trunk.items() if not name.endswith(COUNTER)}
    loaded = load_trunk(save(tmp_path / "x.pth", foreign), TINY)
    assert len(loaded) == 72
    assert loaded["bn1.num_batches_tracked"].item() == 0
    assert loaded["bn1.num_batches_tracked"].dtype == torch.int64
    assert loaded["conv1.weight"].dtype == torch.float32
    assert torch.equal(loaded["conv1.weight"], trunk["conv1.weight"].half().float())


def test_two_trunks_of_equal_rank_are_not_guessed_between(trunk: State, tmp_path: Path) -> None:
    file = save(tmp_path / "x.pth", {"student": trunk, "teacher": doubled(trunk)})
    with pytest.raises(BadInput, match=r"several trunks \(student:\* and teacher:\*\); write the one"):
        load_trunk(file, TINY)


def deep_stem(state: State) -> State:
    """The trunk as mmseg's ResNetV1c has it."""
    rest = {name: t for name, t in state.items() if not name.startswith(("conv1.", "bn1."))}
    return rest | {f"stem.{i}.weight": torch.ones(32, 3 if i == 0 else 32, 3, 3) for i in (0, 3, 6)}


REFUSED: dict[str, tuple[Callable[[State], Any], str]] = {
    "prefix": (
        lambda s: prefixed(s, "x.").__class__((f"a{i}", t) for i, t in enumerate(s.values())),
        "0 of 72 tensors",
    ),
    "stem": (lambda s: {"state_dict": prefixed(deep_stem(s), "backbone.")}, r"deep 3×3 stem.*66 of 72.*7×7 stem"),
    "deeper": (
        lambda s: random_state("tiny_deeper") | FC,
        r"is not a tiny_resnet: 72 of 72.*layer1\.1\.conv1.* left over",
    ),
    "missing": (
        lambda s: {n: t for n, t in s.items() if n != "layer4.0.conv2.weight"},
        r"71 of 72 .*layer4\.0\.conv2\.weight is missing",
    ),
    "misshapen": (
        lambda s: s | {"conv1.weight": torch.ones(8, 1, 7, 7)},
        r"71 of 72 .*conv1\.weight is 8×1×7×7, not 8×3×7×7",
    ),
    "no tensors": (lambda s: {"epoch": 3}, r"no tensors by name \(0 of 72 wanted\)"),
    "nan": (
        lambda s: s | {"bn1.weight": torch.full((8,), torch.nan)},
        r"bn1\.weight holds nan or inf; take an earlier",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_whole_trunk_is_refused_with_counts(name: str, trunk: State, tmp_path: Path) -> None:
    change, message = REFUSED[name]
    with pytest.raises(BadInput, match=message):
        load_trunk(save(tmp_path / "x.pth", change(trunk)), TINY)


def test_the_architecture_that_it_is_gets_named(tmp_path: Path) -> None:
    deeper = {name: tensor.half() for name, tensor in random_state("resnet34").items()}
    with pytest.raises(BadInput, match=r"is a resnet34, not a resnet18: 120 of 120 .*; set arch='resnet34' or give a"):
        load_trunk(save(tmp_path / "x.pth", deeper | FC), "resnet18")
    with pytest.raises(BadInput, match=r"is a resnet34, not a resnet50: \d+ of 318 tensors matched"):
        load_trunk(tmp_path / "x.pth", "resnet50")


def test_unknown_architecture(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Unknown architecture 'resnet49'; did you mean resnet"):
        load_trunk(tmp_path / "x.pth", "resnet49")


# ---------------------------------------------------------------------------------- files that are none


@pytest.mark.parametrize(
    "content",
    [b"", b"hello world, this is text", b"\x08\0\0\0\0\0\0\0{broken}", bytes(range(256)) * 9, b"PK\x03\x04 cut"],
)
def test_a_file_that_is_no_checkpoint(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.pth is (not a checkpoint, or a damaged one|a damaged safetensors file)"):
        load_trunk(tmp_path / "x.pth", TINY)


def test_a_truncated_checkpoint(trunk: State, tmp_path: Path) -> None:
    file = save(tmp_path / "x.pth", trunk)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BadInput, match="not a checkpoint, or a damaged one"):
        load_trunk(file, TINY)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"No checkpoint .*; give the path"):
        load_trunk(tmp_path, TINY)


class Payload:
    """Unpickling this runs a function."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("form", ["zip", "old", "pickle2", "pickle4"])
def test_code_is_refused_and_never_run(form: str, tmp_path: Path) -> None:
    file, marker = tmp_path / "x.pth", tmp_path / "was_run"
    content = {"state_dict": {"conv1.weight": torch.ones(3)}, "extra": Payload(marker)}
    if form.startswith("pickle"):
        file.write_bytes(pickle.dumps({"extra": Payload(marker)}, protocol=int(form[-1])))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(BadInput, match=r"carries code \(\w+\.mkdir\) and was not read; write its tensors alone"):
        load_trunk(file, TINY)
    assert not marker.exists()
    if form == "pickle4":  # the marker is a true witness
        pickle.loads(file.read_bytes())
        assert marker.exists()


def test_a_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "x.pt")
    with pytest.raises(BadInput, match="carries code"):
        load_trunk(tmp_path / "x.pt", TINY)


# ----------------------------------------------------------------------------------------------- exports


@pytest.mark.slow
@torch.no_grad()
def test_exports_load_strictly_and_compute_the_same() -> None:
    torch.manual_seed(1)
    reference = torchvision.models.resnet50().eval()
    state = {name: tensor for name, tensor in reference.state_dict().items() if not name.startswith("fc.")}
    assert len(state) == 318
    image = fixed_image()
    features = torch.nn.Sequential(*list(reference.children())[:-1])(image).flatten(1)

    ours = torchvision.models.resnet50().eval()
    left = ours.load_state_dict(to_torchvision(state), strict=False)
    assert sorted(left.missing_keys) == ["fc.bias", "fc.weight"]
    assert left.unexpected_keys == []
    ours.fc = torch.nn.Identity()
    assert torch.equal(ours(image), features)

    theirs = timm.create_model("resnet50", pretrained=False, num_classes=0).eval()
    theirs.load_state_dict(to_torchvision(state), strict=True)
    torch.testing.assert_close(theirs(image), features, rtol=1e-5, atol=1e-6)

    prefixed_state = to_mmseg(state, "resnet50")["state_dict"]
    assert {name.removeprefix("backbone.") for name in prefixed_state} == set(state)
    assert all(name.startswith("backbone.") for name in prefixed_state)
