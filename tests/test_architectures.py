"""Networks of another width: how they are named, built, converted and refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.architectures import Architecture, parse_architecture
from bench.config.mmseg_networks import check_backbone
from bench.convert.dialects import load_trunk, trunk_shapes
from bench.convert.proof import compare_maps, load_strictly
from bench.errors import BadInput
from bench.nn.encoder import build_encoder
from bench.stages.compiled_trunk import pays
from bench.stages.convert import StemmedResNet
from bench.stages.segmentation.model import build_backbone

STEMS = ("imagenet", "stl", "cifar")


@pytest.mark.parametrize(
    ("name", "wanted"), [("resnet18", (18, 64)), ("resnet50", (50, 64)), ("resnet18w16", (18, 16))]
)
def test_a_name_says_depth_and_width_and_comes_back(name: str, wanted: tuple[int, int]) -> None:
    assert tuple(parse_architecture(name)) == wanted
    assert Architecture(*wanted).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", r"^Unknown architecture 'resnet5'; did you mean resnet50"),
        ("resnet34w16", "^Unknown architecture 'resnet34w16'"),
        ("resnet18w64", r"^Unknown architecture 'resnet18w64'; write 'resnet18'\.$"),
        ("resnet18w016", r"write 'resnet18w16'\.$"),
        ("resnet18w12", r"its width must be a multiple of 8 from 8 to 256\.$"),
        ("resnet18w0", r"its width must be a multiple of 8 from 8 to 256\.$"),
    ],
)
def test_one_network_has_one_name(name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse_architecture(name)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize(("arch", "features"), [("resnet18w16", 128), ("resnet50w8", 256)])
def test_a_narrow_encoder_computes_what_the_network_downstream_does(arch: str, features: int, stem: str) -> None:
    encoder = build_encoder(arch, seed=0, stem=stem).eval()
    network = build_backbone(arch) if stem == "imagenet" else StemmedResNet(arch, stem)
    assert load_strictly(network, encoder.state_dict()).complete
    assert max(compare_maps(encoder.maps, network).values()) < 1e-5
    assert encoder.feature_dim == features == encoder(torch.zeros(1, 3, 32, 32)).shape[1]
    assert {name: tuple(t.shape) for name, t in encoder.state_dict().items()} == trunk_shapes(arch, stem)


def test_every_count_of_channels_is_in_proportion() -> None:
    narrow, wide = trunk_shapes("resnet50w16", "stl"), trunk_shapes("resnet50", "stl")
    assert list(narrow) == list(wide)
    for name, shape in wide.items():
        scaled = [n if n == 3 else n // 4 for n in shape[:2]]
        assert narrow[name] == (*scaled, *shape[2:]), name


def test_layers_start_as_those_of_a_full_width_do_by_their_own_fan_out() -> None:
    weight = build_encoder("resnet18w16", seed=0, stem="cifar").layer2[0].conv1.weight
    assert tuple(weight.shape) == (32, 16, 3, 3)
    assert weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)


def test_weights_follow_from_the_seed_alone() -> None:
    first, again, other = (build_encoder("resnet18w8", seed=seed, stem="stl").state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_a_trunk_of_another_width_is_named(tmp_path: Path) -> None:
    torch.save(build_encoder("resnet18w16", seed=0).state_dict(), tmp_path / "narrow.pth")
    with pytest.raises(BadInput, match=r"is a resnet18w16, not a resnet18: .*; set arch='resnet18w16' or give"):
        load_trunk(tmp_path / "narrow.pth", "resnet18")
    assert load_trunk(tmp_path / "narrow.pth", "resnet18w16")["conv1.weight"].shape == (16, 3, 7, 7)


def test_an_mmseg_config_of_another_width_is_refused_with_what_to_set() -> None:
    settings = {"model": {"backbone": {"type": "ResNet", "depth": 18}}}
    check_backbone(settings, "some", "resnet18")
    with pytest.raises(BadInput, match=r"of width 64, but the trunk is a resnet18w16 of width 16; set .* to 16"):
        check_backbone(settings, "some", "resnet18w16")
    settings["model"]["backbone"] |= {"base_channels": 16, "stem_channels": 16}
    check_backbone(settings, "some", "resnet18w16")
    with pytest.raises(BadInput, match="of width 16, but the trunk is a resnet18 of width 64"):
        check_backbone(settings, "some", "resnet18")


def test_compiling_counts_the_work_of_a_narrow_network() -> None:
    images = 20_000  # of a ResNet-50 they are enough on any kind of CPU
    assert pays("resnet50", images, 224, torch.device("cpu"))
    assert not pays("resnet50w8", images, 224, torch.device("cpu"))
