from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.nn.ema import follow, target_of, target_rate


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))


def test_average_by_hand_over_three_steps():
    online = network().double()
    target = target_of(online)
    expected = {name: parameter.detach().clone() for name, parameter in online.named_parameters()}
    for step, tau in enumerate((0.9, 0.5, 0.25)):
        with torch.no_grad():
            for parameter in online.parameters():
                parameter += step + 1
        follow(target, online, tau)
        for name, parameter in online.named_parameters():
            expected[name] = tau * expected[name] + (1 - tau) * parameter.detach()
    assert {name: p.dtype for name, p in target.named_parameters()} == dict.fromkeys(expected, torch.float64)
    torch.testing.assert_close({name: p.detach() for name, p in target.named_parameters()}, expected)


def test_ends_are_exact():
    online = network()
    target = target_of(online)
    start = [p.clone() for p in target.parameters()]
    with torch.no_grad():
        for parameter in online.parameters():
            parameter.normal_()
    follow(target, online, 1.0)
    assert all(torch.equal(p, q) for p, q in zip(target.parameters(), start, strict=True))
    follow(target, online, 0.0)
    assert all(torch.equal(p, q) for p, q in zip(target.parameters(), online.parameters(), strict=True))


def test_batch_norm_statistics_stay_the_targets_own():
    online = network()
    target = target_of(online)
    online(5 + torch.randn(6, 3))
    target(torch.randn(6, 3) - 5)
    statistics = {name: buffer.clone() for name, buffer in target.named_buffers()}
    assert not torch.equal(statistics["1.running_mean"], online[1].running_mean)
    follow(target, online, 0.5)
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in target.named_buffers())


def test_target_is_a_copy_without_gradients():
    online = network()
    target = target_of(online)
    assert not any(p.requires_grad for p in target.parameters())
    assert all(p.requires_grad for p in online.parameters())
    assert not {p.data_ptr() for p in target.parameters()} & {p.data_ptr() for p in online.parameters()}
    assert target.training
    follow(target, online, 0.5)
    assert not any(p.requires_grad for p in target.parameters())


def test_rate_rises_from_tau0_to_1_along_a_half_cosine():
    assert target_rate(0.99, 0.0) == pytest.approx(0.99, abs=1e-15)
    assert target_rate(0.99, 0.5) == pytest.approx(0.995)
    assert target_rate(0.99, 1.0) == 1.0
    rates = [target_rate(0.9, step / 10) for step in range(11)]
    assert rates == sorted(rates)
    assert target_rate(1.0, 0.3) == 1.0


def test_guards():
    with pytest.raises(ValueError, match="progress is k / K"):
        target_rate(0.99, 1.5)
    with pytest.raises(ValueError, match="different parameters"):
        follow(nn.Linear(2, 3), nn.Linear(3, 2), 0.5)
