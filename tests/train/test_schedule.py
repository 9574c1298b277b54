from __future__ import annotations

import math

import pytest

from bench.config.recipe import OptimizerSettings, ScheduleSettings
from bench.train.schedule import learning_rate, peak_rate


def rates(total: int = 100, steps_per_epoch: int = 10, peak: float = 2.0, **settings: object) -> list[float]:
    rate = learning_rate(ScheduleSettings.model_validate(settings), peak, total, steps_per_epoch)
    return [rate(step) for step in range(total)]


def test_warmup_is_linear_from_zero_then_cosine_falls_to_zero() -> None:
    got = rates(warmup_epochs=2)
    assert got[:20] == pytest.approx([2.0 * step / 20 for step in range(20)])
    assert got[20:] == pytest.approx([1 + math.cos(math.pi * (step - 20) / 80) for step in range(20, 100)])
    assert got[20] == 2.0
    assert got[60] == pytest.approx(1.0)


def test_cosine_ends_near_its_final_ratio() -> None:
    got = rates(final_ratio=0.1)
    assert got[0] == 2.0
    assert got[50] == pytest.approx(2.0 * 0.55)
    assert 0.2 < got[-1] < 0.201


def test_steps_fall_by_ten_at_fractions_of_the_whole_run() -> None:
    got = rates(total=90, name="step", milestones=(30 / 90, 60 / 90, 80 / 90), warmup_epochs=0.5)
    assert got[:5] == pytest.approx([0.0, 0.4, 0.8, 1.2, 1.6])
    for first, last, expected in [(5, 30, 2.0), (30, 60, 0.2), (60, 80, 0.02), (80, 90, 0.002)]:
        assert got[first:last] == pytest.approx([expected] * (last - first))


def test_another_factor_and_a_warmup_that_does_not_start_at_zero() -> None:
    got = rates(name="step", milestones=(0.5, 0.75), gamma=0.2, warmup_epochs=1, warmup_ratio=0.25)
    assert got[:3] == pytest.approx([0.5, 0.65, 0.8])
    assert (got[49], got[50], got[75]) == pytest.approx((2.0, 0.4, 0.08))


def test_constant_stays() -> None:
    assert rates(name="constant", warmup_epochs=1)[10:] == [2.0] * 90


def test_a_warmup_longer_than_the_run_only_rises() -> None:
    assert rates(total=10, warmup_epochs=4) == pytest.approx([2.0 * step / 40 for step in range(10)])


def test_peak_rate() -> None:
    assert peak_rate(OptimizerSettings(lr=0.4, lr_batch=512), 16) == pytest.approx(0.0125)
    assert peak_rate(OptimizerSettings(lr=0.4, lr_batch=None), 16) == 0.4


def test_a_warmup_counted_in_steps_then_steps_by_a_fifth() -> None:
    """As on CIFAR: 500 steps (here 5), then ×0.2 at 50 and 25 epochs (here 5 and 2.5) before the end."""
    milestones = (1 - 5 / 10, 1 - 2.5 / 10)
    got = rates(name="step", warmup_steps=5, gamma=0.2, milestones=milestones)
    assert got[:6] == pytest.approx([0.0, 0.4, 0.8, 1.2, 1.6, 2.0])
    for first, last, expected in [(5, 50, 2.0), (50, 75, 0.4), (75, 100, 0.08)]:
        assert got[first:last] == pytest.approx([expected] * (last - first))


def test_two_warmups_are_refused() -> None:
    with pytest.raises(ValueError, match="schedule has both warmup_epochs and warmup_steps; set one of them"):
        rates(warmup_epochs=1, warmup_steps=5)
