"""Mistakes in how a network downstream looks at a trunk that arrived whole: each is refused before anything is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import resnet18, resnet50

from bench.convert.proof import load_proven
from bench.convert.trunk import Trunk
from bench.errors import StageFailed
from bench.load_proofs import forget_load_proof, noted_load_proof
from bench.nn.encoder import Encoder, build_encoder
from bench.stages import frozen_trunk
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.load_proof import (
    SIZES,
    Layout,
    Reference,
    difference,
    dilate,
    fixed_pixels,
    prove_network,
)

CPU = torch.device("cpu")


def test_the_image_is_its_formula() -> None:
    pixels = fixed_pixels(5, 7)
    for c, i, j in ((0, 0, 0), (1, 4, 2), (2, 3, 6)):
        wave = np.sin((c + 1) * (7 * i + 1) / 11) + np.cos((c + 2) * (5 * j + 1) / 13)
        assert pixels[0, c, i, j] == round(127.5 + 63 * wave)
    assert len({tuple(row) for row in fixed_pixels(*SIZES["imagenet"])[0].flatten(1).tolist()}) == 3  # no channel twice


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
@torch.no_grad()
def test_the_reference_is_torchvisions_network_on_torchvisions_normalisation(arch: str) -> None:
    encoder = build_encoder(arch, 4)
    encoder(torch.randn(2, 3, 64, 64))  # batch statistics other than the initial ones
    state = encoder.state_dict()
    theirs = {"resnet18": resnet18, "resnet50": resnet50}[arch](weights=None).eval()
    theirs.load_state_dict(state, strict=False)
    theirs.fc = nn.Identity()
    reference = Reference(Trunk(arch, state, {}, ""), CPU)
    pixels = fixed_pixels(65, 97)
    column = [torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    images = (pixels / 255 - column[0]) / column[1]
    torch.testing.assert_close(reference.normalised(pixels), images, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(reference.feature(images), theirs(images), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_dilating_is_torchvisions_where_that_can() -> None:
    """Its first block of a dilated stage keeps the dilation before, which is half of its own."""
    encoder = build_encoder("resnet50", 4).eval()
    theirs = resnet50(weights=None, replace_stride_with_dilation=[False, True, True]).eval()
    theirs.load_state_dict(encoder.state_dict(), strict=False)
    dilate(encoder, Layout(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract=True))
    x = torch.randn(1, 3, 65, 97)
    c1 = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
    assert torch.equal(encoder.last_map(x), theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(c1)))))
    dilate(encoder, Layout(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)))
    assert not torch.equal(encoder.last_map(x), theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(c1)))))


def test_differences_by_hand() -> None:
    one, other = torch.tensor([1.0, 2.0, -4.0]), torch.tensor([1.0, 3.0, -5.0])
    assert difference(one, other) == pytest.approx(1 / 5)
    assert difference(one, other, in_norm=True) == pytest.approx((2 / 35) ** 0.5)
    assert difference(one, other[:2]) == difference(one * torch.nan, one) == difference(one, one / 0) == float("inf")
    assert difference(torch.zeros(2), torch.zeros(2)) == 0


# ------------------------------------------------------------------------------------------- frozen trunks


@pytest.mark.parametrize("form", ["autocast", "folded"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("inputs", ["rgb", "halves", "grey"])
def test_every_form_of_a_frozen_trunk_passes(form: Any, precision: Any, inputs: Any, trunk_folder: Path) -> None:
    forget_load_proof()
    trunk = FrozenTrunk(trunk_folder, precision, CPU, form, inputs)
    differences = trunk.load_proof.differences
    feature = "feature" if precision == "float32" else "feature bf16"
    assert list(differences) == ["input", "C2", "C3", "C4", "C5", feature]
    assert (trunk.load_proof.matched, trunk.load_proof.of) == (120, 120)
    assert noted_load_proof()["differences"] == differences
    assert trunk.load_proof.words.startswith("load proof: 120 of 120 tensors, maps through the frozen trunk (")


def test_what_was_seen_is_said_once(trunk_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trunk = FrozenTrunk(trunk_folder, "float32", CPU)
    for _ in range(2):
        with trunk.watched():
            pass
    assert capfd.readouterr().out.count("load proof: 120 of 120 tensors, maps through the frozen trunk") == 1


def swapped(images: Tensor, *_: Any) -> Tensor:
    return REAL(images.flip(1), *_)


def other_mean(images: Tensor, *_: Any) -> Tensor:
    return REAL(images, *_) + 0.5 / 255 / 0.229


def other_std(images: Tensor, *_: Any) -> Tensor:
    return REAL(images, *_) * 1.01


def plain(images: Tensor, *_: Any) -> Tensor:
    return images / 255


REAL = frozen_trunk.normalised


@pytest.mark.parametrize("plant", [swapped, other_mean, other_std, plain])
def test_another_normalisation_is_refused(
    plant: Callable[..., Tensor], trunk_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_trunk, "normalised", plant)
    with pytest.raises(
        StageFailed, match=r"input of a resnet18w16 through the frozen trunk .* it should see RGB, less"
    ):
        FrozenTrunk(trunk_folder, "bf16", CPU)


def change(module: nn.Module, **values: Any) -> None:
    for key, value in values.items():
        setattr(module, key, value)


PLANTS: dict[str, tuple[Callable[[Encoder], Any], str]] = {
    "epsilon": (lambda e: change(e.layer2[0].bn1, eps=2e-5), "the norm layer2.0.bn1 of .* has ε 2e-05, and .* 1e-05"),
    "momentum": (lambda e: change(e.bn1, momentum=0.01), "the norm bn1 of .* has momentum 0.01, and pretraining's ha"),
    "no norm": (lambda e: change(e.layer1[0], bn2=nn.Identity()), r"116 of 121 tensors|115 of 120 tensors"),
    "stride": (lambda e: change(e.layer3[0].conv1, stride=(1, 1)), "takes no image .*must match"),
    "dilation": (lambda e: change(e.layer4[1].conv1, dilation=(2, 2), padding=(2, 2)), "C5 of a resnet18w16 through"),
    "padding": (lambda e: change(e.layer2[1].conv2, padding_mode="reflect", _reversed_padding_repeated_twice=[1] * 4),
                "C3 of a resnet18w16 through"),
    "pool": (lambda e: change(e, maxpool=nn.AvgPool2d(3, 2, 1)), "C2 of a resnet18w16 through"),
    "activation": (lambda e: change(e.layer1[1], relu=nn.LeakyReLU(0.01)), "C2 of a resnet18w16 through"),
    "statistics": (lambda e: e.layer4[0].bn1.running_var.add_(1e-3), "119 of 120 tensors .*layer4.0.bn1.running_var"),
    "train mode": (lambda e: change(e.bn1, train=lambda mode=True: e.bn1), "C2 of a resnet18w16 through"),
    "weights": (lambda e: e.conv1.weight.data.mul_(1 + 1e-6), "119 of 120 tensors .*conv1.weight has other values"),
    "pooling": (lambda e: change(e, avgpool=nn.AdaptiveMaxPool2d(1)), "feature of a resnet18w16 through"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTS)
def test_another_network_with_the_same_weights_is_refused(
    name: str, trunk_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted after the weights were loaded and checked."""
    plant, message = PLANTS[name]
    honest = frozen_trunk.load_strictly

    def load(module: Any, *words: Any) -> Any:
        match = honest(module, *words)
        with torch.no_grad():
            plant(module)
        return match

    monkeypatch.setattr(frozen_trunk, "load_strictly", load)
    with pytest.raises(StageFailed, match=message):
        FrozenTrunk(trunk_folder, "float32", CPU)


def test_features_of_something_else_are_refused(trunk_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrozenTrunk, "_of", lambda self, images: self.encoder(REAL(images)) * 1.001)
    with pytest.raises(StageFailed, match=r"feature of a resnet18w16 .* differs from pretraining's by 0\.001"):
        FrozenTrunk(trunk_folder, "float32", CPU)


# ------------------------------------------------------------------------- networks of kinds from elsewhere


def test_a_network_of_ones_own_is_proven_by_one_call(trunk_folder: Path) -> None:
    trunk = load_proven(trunk_folder)
    encoder = build_encoder("resnet18w16", 1).eval()
    encoder.load_state_dict(trunk.state)
    pixels = fixed_pixels(64, 64)
    seen = REAL(pixels)
    layout = Layout(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    with pytest.raises(StageFailed, match="C5 of a resnet18w16 through mine differs from pretraining's by inf"):
        prove_network(trunk, "mine", encoder, seen, encoder.maps, pixels=pixels, layout=layout)
    dilate(encoder, layout)
    proof = prove_network(
        trunk, "mine", encoder, seen, encoder.maps, pixels=pixels, layout=layout, precisions=("bf16",)
    )
    assert list(proof.differences) == ["input", *(f"C{i}" for i in range(2, 6)), *(f"C{i} bf16" for i in range(2, 6))]
    some = prove_network(
        trunk, "mine", encoder, seen, lambda x: encoder.maps(x)[1::2], pixels=pixels, layout=layout, indices=(1, 3)
    )
    assert list(some.differences) == ["input", "C3", "C5"]
    with pytest.raises(StageFailed, match="mine gives 4 maps, not 2"):
        prove_network(trunk, "mine", encoder, seen, encoder.maps, pixels=pixels, layout=layout, indices=(1, 3))
