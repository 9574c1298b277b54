"""A folded trunk, compiled or not: the features of the trunk, and checks that still find what changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.config.load import load_task
from bench.errors import StageFailed
from bench.plan import hashed_settings, protocol_hash
from bench.stages import frozen_trunk as frozen
from bench.stages.compiled_trunk import compile_frozen
from bench.stages.folded_trunk import FoldedEncoder
from bench.stages.frozen_trunk import FrozenTrunk

IMAGES = torch.randn(19, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.slow
def test_folded_features_are_the_trunks(trunk_folder: Path) -> None:
    in_float32 = FrozenTrunk(trunk_folder, "float32").features(IMAGES)
    folded = FrozenTrunk(trunk_folder, "float32", form="folded")
    assert relative(folded.features(IMAGES), in_float32) < 1e-5
    half = FrozenTrunk(trunk_folder, "bf16", form="folded")
    features = half.features(IMAGES)
    assert features.dtype == torch.float32
    assert not features.is_inference()
    assert 1e-6 < relative(features, in_float32) < 0.02
    for trunk in (folded, half):
        trunk.check()
        assert trunk.metrics == {"trunk_compiled": 0}
    assert half.features(IMAGES[:0]).shape == (0, 128)


@pytest.mark.slow
def test_a_change_of_the_folded_copy_or_of_the_trunk_is_found(trunk_folder: Path) -> None:
    for part in ("folded", "encoder"):
        trunk = FrozenTrunk(trunk_folder, "bf16", form="folded")
        weight = getattr(trunk, part).layer4[1].conv2.weight
        with torch.no_grad():
            weight[3, 2, 1, 0] += 1
        with pytest.raises(StageFailed, match="changed"):
            trunk.check()
    trunk = FrozenTrunk(trunk_folder, "bf16", form="folded")
    assert trunk.folded is not None
    trunk.folded.train()
    with pytest.raises(StageFailed, match="train mode"):
        trunk.check()


def test_a_copy_that_computes_something_else_is_refused(trunk_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = frozen.fold

    def wrong(encoder: object) -> FoldedEncoder:
        folded = real(encoder)  # type: ignore[arg-type]
        folded.layer3[0].conv1.bias.data += 0.1
        return folded

    monkeypatch.setattr(frozen, "fold", wrong)
    with pytest.raises(StageFailed, match=r"differs in C5 by .* set trunk='autocast'"):
        FrozenTrunk(trunk_folder, form="folded")


def stand_in(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Tensor], Tensor] = lambda x: x) -> list[int]:
    """Compile to a program that is the network itself, for one shape; returns the sizes of the batches it gets."""
    seen: list[int] = []

    def compiled(network: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
        def program(images: Tensor) -> Tensor:
            assert images.shape == example.shape
            assert images.dtype == example.dtype
            assert images.is_contiguous(memory_format=torch.channels_last)
            seen.append(len(images))
            return spoil(network(images))

        return program

    monkeypatch.setattr(frozen, "compile_frozen", compiled)
    return seen


@pytest.mark.slow
def test_a_compiled_trunk_sees_one_shape(trunk_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = stand_in(monkeypatch)
    trunk = FrozenTrunk(trunk_folder, "bf16", form="folded")
    plain = trunk.features(IMAGES)
    trunk.compile(10, 32, 8, None)  # too few to pay
    assert trunk.compiled is None
    trunk.compile(10**9, 32, 8, False)
    assert trunk.compiled is None
    trunk.compile(10, 32, 8, True)
    assert trunk.metrics == {"trunk_compiled": 1}
    torch.testing.assert_close(trunk.features(IMAGES), plain, rtol=0, atol=1e-2 * float(plain.abs().max()))
    assert set(seen) == {8}
    trunk.check()
    before = FrozenTrunk(trunk_folder, "bf16")
    before.compile(10**9, 32, 8, True)  # it is for folded trunks alone
    assert before.compiled is None
    other = FrozenTrunk(trunk_folder, "bf16", form="folded")
    other.compile(10**9, 32, 8)
    assert other.compiled is not None
    assert other.words != trunk.words or other.words["compiled"] == "True"


@pytest.mark.slow
def test_what_torch_compiles_runs(trunk_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrapper that torch.compile returns has a length, and so no truth value: it raises where one is asked for."""
    monkeypatch.setattr(frozen, "compile_frozen", lambda network, example: torch.compile(network, backend="eager"))
    trunk = FrozenTrunk(trunk_folder, "float32", form="folded")
    plain = trunk.features(IMAGES)
    trunk.compile(10, 32, 8, True)
    assert trunk.compiled is not None
    torch.testing.assert_close(trunk.features(IMAGES), plain)
    trunk.check()


@pytest.mark.slow
def test_a_program_that_computes_something_else_is_not_used(
    trunk_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, lambda features: features * 1.1)
    trunk = FrozenTrunk(trunk_folder, "bf16", form="folded")
    trunk.compile(10, 32, 8, True)
    assert trunk.compiled is None
    assert "compiled features differ by 0.1: the trunk is not compiled" in capsys.readouterr().out


def test_a_program_that_changes_later_is_found(trunk_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = [1.0]
    stand_in(monkeypatch, lambda features: features * scale[0])
    trunk = FrozenTrunk(trunk_folder, "bf16", form="folded")
    trunk.compile(10, 32, 8, True)
    trunk.check()
    scale[0] = 1.1
    with pytest.raises(StageFailed, match="changed"):
        trunk.check()


@pytest.mark.slow
def test_a_network_is_compiled_with_its_weights_as_constants() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False).eval()
    images = IMAGES[:2, :, :8, :8]
    program = compile_frozen(network, images)
    if program is None:
        pytest.skip("no C++ compiler on this machine")
    with torch.inference_mode():
        torch.testing.assert_close(program(images), network(images))


def test_switches_that_came_later_change_a_protocol_only_where_they_are_used() -> None:
    for name, later in (("imagenet_linear", "features"), ("imagenet_knn", "search")):
        before = load_task(name, extra={"trunk": "autocast", "precision": "float32"})
        assert not {"trunk", "compile_trunk", "reuse_features", later} & hashed_settings(before).keys()
        folded = load_task(name, extra={"trunk": "folded", "precision": "float32"})
        assert hashed_settings(folded)["trunk"] == "folded"
        assert protocol_hash(folded) != protocol_hash(before)
        unused = {"compile_trunk": False, "reuse_features": False}
        here = load_task(name, extra={"trunk": "folded", "precision": "float32", **unused})
        assert protocol_hash(here) == protocol_hash(folded)
