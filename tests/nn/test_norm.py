"""What conversion leaves as it is. What two ranks compute is in test_two_ranks.py."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.nn.encoder import build_encoder
from bench.nn.norm import GlobalBatchNorm, PartBatchNorm, convert_norms, convert_sync_batchnorm, set_parts


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


@pytest.mark.parametrize("shape", [(12, 5), (12, 5, 7), (12, 5, 3, 4)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("affine", [True, False])
def test_each_part_is_normalised_by_itself_and_running_statistics_are_means_over_them(shape, memory_format, affine):
    torch.manual_seed(0)
    plain = (nn.BatchNorm1d if len(shape) < 4 else nn.BatchNorm2d)(5, momentum=0.3, affine=affine).double()
    if affine:
        nn.init.normal_(plain.weight)
        nn.init.normal_(plain.bias)
    norm = convert_norms(copy.deepcopy(plain), "cpu", parts=3)
    assert isinstance(norm, PartBatchNorm)
    norms = [copy.deepcopy(plain) for _ in range(3)]
    x = 3 + torch.randn(shape, dtype=torch.float64)
    x = (x.to(memory_format=memory_format) if len(shape) == 4 else x).requires_grad_()
    y, weights = norm(x), torch.randn(shape, dtype=torch.float64)
    expected = torch.empty_like(x)
    for i, each in enumerate(norms):
        expected[i::3] = each(x[i::3])
    torch.testing.assert_close(y, expected)
    assert len(shape) < 4 or y.is_contiguous(memory_format=memory_format)
    for buffer in ("running_mean", "running_var"):
        mean = torch.stack([getattr(each, buffer) for each in norms]).mean(0)
        torch.testing.assert_close(getattr(norm, buffer), mean)
    assert norm.num_batches_tracked == 1
    (ours,) = torch.autograd.grad((y * weights).sum(), x, retain_graph=True)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), x)
    torch.testing.assert_close(ours, theirs)
    if affine:
        (y * weights).sum().backward()
        torch.testing.assert_close(norm.bias.grad, weights.transpose(0, 1).flatten(1).sum(1))
    plain.load_state_dict(norm.state_dict())
    assert torch.equal(norm.eval()(x), plain.eval()(x))


def test_views_one_after_another_put_the_same_images_of_each_into_a_part():
    x, y = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    norm = convert_norms(nn.BatchNorm1d(3).double(), "cpu", parts=2)
    both = norm(torch.cat([x, y]))
    expected = nn.BatchNorm1d(3).double()(torch.cat([x[1::2], y[1::2]]))  # images 1 and 3
    torch.testing.assert_close(torch.cat([both[1:4:2], both[5:8:2]]), expected)


def test_parts_of_norms_without_statistics_in_bf16_and_of_a_running_mean():
    norm = convert_norms(nn.BatchNorm2d(3, track_running_stats=False), "cpu", parts=2)
    assert norm(torch.randn(4, 3, 2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert norm.running_mean is None
    norm = convert_norms(nn.BatchNorm1d(1, momentum=None), "cpu", parts=2)
    norm(torch.tensor([[0.0], [2.0], [4.0], [8.0]]))  # means 2 and 5
    norm(torch.tensor([[1.0], [1.0], [1.0], [1.0]]))
    assert norm.running_mean.item() == pytest.approx((3.5 + 1) / 2)


def test_parts_keep_keys_tensors_and_modes_and_can_be_set_anew():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).eval(), nn.BatchNorm2d(4))
    before = net.state_dict(keep_vars=True)
    assert convert_norms(net, "cpu") is net
    assert type(net[2]) is nn.BatchNorm2d
    converted = convert_norms(net, "cuda", parts=2)  # on every device
    assert converted is net
    assert [(type(m), m.training, m.parts) for m in net[1:]] == [(PartBatchNorm, False, 2), (PartBatchNorm, True, 2)]
    after = net.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in after)
    set_parts(net, 1)
    x = torch.randn(3, 3, 2, 2)
    torch.testing.assert_close(net(x), nn.Sequential(net[0], net[1], nn.BatchNorm2d(4))(x))


@pytest.mark.slow
def test_parts_are_compiled_whole():
    net = convert_norms(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), "cpu", parts=2)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(4, 3, 4, 4).to(memory_format=memory_format)
        program = torch.compile(copy.deepcopy(net), backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(program(x), copy.deepcopy(net)(x))


def test_guard():
    with pytest.raises(ValueError, match="5 rows do not fall into 2 parts"):
        convert_norms(nn.BatchNorm1d(3), "cpu", parts=2)(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="expected a tensor N×C×…, got one of 1 dimension"):
        GlobalBatchNorm(3)(torch.zeros(3))
