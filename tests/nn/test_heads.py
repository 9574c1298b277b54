from __future__ import annotations

import torch
from torch import nn

from bench.nn.bootstrap import bootstrap_networks
from bench.nn.encoder import build_encoder
from bench.nn.heads import mlp, per_position


def test_layers_are_byols():
    head = mlp(2048, 4096, 256)
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {
        "0.weight": (4096, 2048),
        "0.bias": (4096,),
        "1.weight": (4096,),
        "1.bias": (4096,),
        "3.weight": (256, 4096),  # no bias, and no norm after it
    }
    assert [type(layer) for layer in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]


def test_per_position_equals_one_by_one_convolutions():
    torch.manual_seed(0)
    head = mlp(5, 7, 3).double()
    maps = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    dense = nn.Sequential(nn.Conv2d(5, 7, 1), nn.BatchNorm2d(7), nn.ReLU(), nn.Conv2d(7, 3, 1, bias=False)).double()
    for name, parameter in dense.named_parameters():
        parameter.data = head.get_parameter(name).data.view_as(parameter)
    expected = dense(maps).permute(0, 2, 3, 1)
    torch.testing.assert_close(per_position(head, maps), expected)
    torch.testing.assert_close(per_position(head, maps.to(memory_format=torch.channels_last)), expected)


def test_byols_networks_have_their_sizes_and_targets_are_copies_that_stand_still():
    networks = bootstrap_networks(build_encoder("resnet18", 0), 7, 5)
    sizes = {
        name: [(one.in_features, one.out_features) for one in getattr(networks, name) if isinstance(one, nn.Linear)]
        for name in ("projector", "predictor", "target_projector")
    }
    assert sizes == {
        "projector": [(512, 7), (7, 5)],
        "predictor": [(5, 7), (7, 5)],
        "target_projector": [(512, 7), (7, 5)],
    }
    assert not any(parameter.requires_grad for parameter in networks.target_projector.parameters())
    assert not any(parameter.requires_grad for parameter in networks.target_encoder.parameters())
    for ours, theirs in zip(networks.projector.parameters(), networks.target_projector.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours is not theirs


def test_heads_depend_on_the_encoders_seed_alone():
    def build(seed, history):
        torch.manual_seed(history)
        before = torch.get_rng_state()
        networks = bootstrap_networks(build_encoder("resnet18", seed), 8, 4)
        assert torch.equal(torch.get_rng_state(), before)
        return {
            f"{module}.{name}": tensor
            for module in ("projector", "predictor", "target_projector")
            for name, tensor in getattr(networks, module).state_dict().items()
        }

    first, again, other = build(0, 1), build(0, 2), build(5, 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["projector.0.weight"], other["projector.0.weight"])
    assert not torch.equal(first["projector.3.weight"], first["predictor.3.weight"])
    assert torch.equal(first["projector.0.weight"], first["target_projector.0.weight"])
