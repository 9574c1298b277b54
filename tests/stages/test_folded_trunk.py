"""An encoder with folded batch norms computes what the encoder computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.nn.encoder import Encoder, build_encoder
from bench.stages import compiled_trunk
from bench.stages.compiled_trunk import compile_frozen, pays
from bench.stages.folded_trunk import fold


def trained(arch: str) -> Encoder:
    """An encoder whose batch norms are far from doing nothing."""
    encoder = build_encoder(arch, seed=0)
    rng = torch.Generator().manual_seed(0)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=rng)
            module.running_var.uniform_(0.3, 3.0, generator=rng)
            nn.init.uniform_(module.weight, 0.3, 1.2, generator=rng)
            nn.init.normal_(module.bias, 0, 0.3, generator=rng)
    return encoder.eval()


def images(n: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_maps_and_features_are_the_encoders_in_float32(arch):
    encoder = trained(arch)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    folded = fold(encoder)
    with torch.no_grad():
        for ours, theirs in zip(folded.maps(images()), encoder.maps(images()), strict=True):
            assert relative(ours, theirs) < 1e-5
        assert relative(folded(images()), encoder(images())) < 1e-5
    assert not [name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
    after = encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_in_bf16_features_are_float32_and_differ_by_rounding():
    encoder = trained("resnet18")
    folded = fold(encoder).to(torch.bfloat16, memory_format=torch.channels_last)
    with torch.no_grad():
        features = folded(images().bfloat16())
        assert features.dtype == torch.float32
        assert 1e-4 < relative(features, encoder(images())) < 0.02


def test_only_constants_fold():
    with pytest.raises(ValueError, match="eval mode"):
        fold(build_encoder("resnet18", seed=0))
    encoder = trained("resnet18")
    encoder.layer2[0].conv1 = nn.Identity()
    with pytest.raises(ValueError, match="bn1 follows no convolution"):
        fold(encoder)


def test_whether_compiling_pays_depends_on_the_work(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(compiled_trunk, "amx", lambda: False)
    enough = compiled_trunk.BREAK_EVEN["cpu"]
    assert pays("resnet50", enough, 224, cpu)
    assert not pays("resnet50", enough - 1, 224, cpu)
    assert not pays("resnet50", enough, 128, cpu)
    assert not pays("resnet18", enough, 224, cpu)
    monkeypatch.setattr(compiled_trunk, "amx", lambda: True)
    assert pays("resnet50", enough // 10, 224, cpu)
    assert not pays("resnet50", 10**9, 224, torch.device("meta"))


def test_a_machine_that_cannot_compile_says_so_once(monkeypatch, capsys):
    def broken(*_: object, **__: object) -> object:
        def program(_: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no working\nC++ compiler found")

        return program

    monkeypatch.setattr(torch, "compile", broken)
    assert compile_frozen(nn.Identity(), torch.zeros(1)) is None
    assert capsys.readouterr().out == (
        "the trunk is not compiled (RuntimeError: no working C++ compiler found); it runs all the same, slower\n"
    )
