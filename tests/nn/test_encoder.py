from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from bench.errors import BadInput
from bench.nn.encoder import Encoder, build_encoder
from bench.nn.seeding import seeded


@pytest.mark.parametrize(("arch", "width", "tensors"), [("resnet18", 512, 120), ("resnet50", 2048, 318)])
def test_state_dict_is_torchvisions_without_fc(arch, width, tensors):
    with torch.device("meta"):
        reference = getattr(torchvision.models, arch)()
    expected = {name: t.shape for name, t in reference.state_dict().items() if not name.startswith("fc.")}
    encoder = build_encoder(arch, seed=0)
    assert {name: t.shape for name, t in encoder.state_dict().items()} == expected
    assert len(expected) == tensors
    assert encoder.feature_dim == width
    assert encoder.arch == arch


def test_features_are_torchvisions():
    encoder = build_encoder("resnet18", seed=0).eval()
    reference = torchvision.models.resnet18()
    reference.fc = nn.Identity()
    reference.load_state_dict(encoder.state_dict(), strict=True)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), reference.eval()(x), rtol=0, atol=0)


def test_maps():
    encoder = build_encoder("resnet18", seed=0).eval()
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = encoder.maps(x)
        assert [tuple(m.shape[1:]) for m in maps] == [(64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3)]
        torch.testing.assert_close(encoder(x), maps[-1].mean((2, 3)))
        assert torch.equal(encoder.last_map(x), maps[-1])


def test_maps_survive_the_layers_after_them():
    """ReLUs work in place; none may write into a map that was returned."""
    encoder = build_encoder("resnet18", seed=0).eval()
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        c2 = encoder.maps(x)[0]
        stem = encoder.maxpool(encoder.relu(encoder.bn1(encoder.conv1(x))))
        assert torch.equal(c2, encoder.layer1(stem))


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_encoder("resnet18", seed=3).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = build_encoder("resnet18", seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build_encoder("resnet18", seed=4).state_dict()
    convolutions = [name for name, tensor in first.items() if tensor.ndim == 4]
    assert len(convolutions) == 20
    assert not any(torch.equal(first[name], other[name]) for name in convolutions)


def test_initialisation_is_fan_out():
    weight = build_encoder("resnet50", seed=0).layer3[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)


def test_unknown_architecture():
    with pytest.raises(BadInput, match=r"Unknown architecture 'resnet5'; did you mean resnet50"):
        Encoder("resnet5")
    with pytest.raises(BadInput, match=r"'vit'; known: resnet18, resnet50\."):
        build_encoder("vit", seed=0)


@pytest.mark.parametrize(("stem", "stride"), [("imagenet", 4), ("stl", 2), ("cifar", 1)])
def test_stems_have_their_strides(stem, stride):
    encoder = build_encoder("resnet18", seed=0, stem=stem).eval()
    with torch.no_grad():
        maps = encoder.maps(torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    strides = [stride * 2**i for i in range(4)]
    assert [tuple(m.shape[2:]) for m in maps] == [(64 // s, 96 // s) for s in strides]
    assert encoder.stride == strides[-1]
    assert encoder.stem == stem


@pytest.mark.parametrize("stem", ["stl", "cifar"])
def test_a_small_stem_changes_its_convolution_alone(stem):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    small = build_encoder("resnet18", seed=3, stem=stem).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    usual = build_encoder("resnet18", seed=3).state_dict()
    assert list(small) == list(usual)
    assert [name for name in usual if not torch.equal(usual[name], small[name])] == ["conv1.weight"]
    first = small["conv1.weight"]
    assert first.shape == (64, 3, 3, 3)
    assert first.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)  # He et al. 2015, by fan-out
    assert torch.equal(first, build_encoder("resnet18", seed=3, stem=stem).state_dict()["conv1.weight"])


@pytest.mark.parametrize(("arch", "last"), [("resnet18", "bn2"), ("resnet50", "bn3")])
def test_zeroed_last_norms_make_each_block_its_shortcut_and_change_no_other_weight(arch, last):
    encoder, usual = build_encoder(arch, seed=3, zero_init_residual=True), build_encoder(arch, seed=3).state_dict()
    blocks = [block for layer in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4) for block in layer]
    names = [name for name, value in encoder.state_dict().items() if not torch.equal(value, usual[name])]
    assert [name.rpartition("layer")[2][2:].partition(".")[2] for name in names] == [f"{last}.weight"] * len(blocks)
    assert not any(getattr(block, last).weight.any() for block in blocks)
    x = torch.randn(2, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for block in blocks:
            through = block(x)
            assert torch.equal(through, torch.relu(x if block.downsample is None else block.downsample(x)))
            x = through


def test_the_first_stem_draws_what_it_always_drew():
    """So that no result from before there were others changes."""
    with seeded(3, "encoder"):
        reference = torchvision.models.resnet18().state_dict()
    ours = build_encoder("resnet18", seed=3).state_dict()
    assert all(torch.equal(reference[name], tensor) for name, tensor in ours.items())


def test_an_unknown_stem_is_refused():
    with pytest.raises(BadInput, match="Unknown stem 'cifra'; did you mean cifar"):
        build_encoder("resnet18", seed=0, stem="cifra")
