"""What conversion leaves as it is. What two ranks compute is in test_two_ranks.py."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.nn.encoder import build_encoder
from bench.nn.norm import GlobalBatchNorm, convert_sync_batchnorm


def test_every_norm_is_converted_and_keys_and_tensors_stay():
    encoder = build_encoder("resnet50", seed=0)
    before = encoder.state_dict(keep_vars=True)
    norms = [name for name, module in encoder.named_modules() if isinstance(module, _BatchNorm)]
    converted = convert_sync_batchnorm(encoder, "cpu")
    assert converted is encoder
    assert [name for name, m in converted.named_modules() if isinstance(m, GlobalBatchNorm)] == norms
    assert len(norms) == 53
    after = converted.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in after)


def test_cuda_gets_torchs_own():
    net = convert_sync_batchnorm(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), "cuda")
    assert isinstance(net[1], nn.SyncBatchNorm)
    assert list(net.state_dict()) == list(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).state_dict())


@pytest.mark.slow
def test_over_two_ranks_it_is_compiled_whole():
    """Unlike torch.nn.SyncBatchNorm, at which a program breaks off. The ranks are made up: nothing is communicated."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    net = convert_sync_batchnorm(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), "cpu")
    graphs = []
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        program = torch.compile(net, backend=lambda graph, _: graphs.append(graph) or graph.forward, fullgraph=True)
        assert program(torch.randn(2, 3, 4, 4)).shape == (2, 4, 4, 4)
    finally:
        torch.distributed.destroy_process_group()
    assert len(graphs) == 1
    parts = [module.graph for module in graphs[0].modules() if hasattr(module, "graph")]
    assert any("all_reduce" in str(node.target) for part in parts for node in part.nodes)


def test_torchs_synchronised_norm_is_converted_for_the_cpu():
    norm = nn.SyncBatchNorm(4, eps=1e-3, momentum=0.2)
    converted = convert_sync_batchnorm(norm, "cpu")
    assert type(converted) is GlobalBatchNorm
    assert (converted.eps, converted.momentum) == (1e-3, 0.2)
    assert convert_sync_batchnorm(converted, "cpu") is converted


def test_mode_and_frozen_parameters_stay():
    net = nn.Sequential(
        nn.BatchNorm2d(3).eval(), nn.BatchNorm1d(3).requires_grad_(False), nn.BatchNorm1d(2, affine=False)
    )
    converted = convert_sync_batchnorm(net, "cpu")
    assert [module.training for module in converted] == [False, True, True]
    assert [p.requires_grad for p in converted.parameters()] == [True, True, False, False]
    assert converted[2].weight is None


@pytest.mark.parametrize("training", [True, False])
def test_one_process_is_plain_batch_norm(training):
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(3).train(training)
    ours = convert_sync_batchnorm(copy.deepcopy(plain), "cpu")
    x = 3 + torch.randn(4, 3, 2, 2)
    assert torch.equal(ours(x), plain(x))
    assert torch.equal(ours.running_var, plain.running_var)


def test_guard():
    with pytest.raises(ValueError, match="expected a tensor N×C×…, got one of 1 dimension"):
        GlobalBatchNorm(3)(torch.zeros(3))
