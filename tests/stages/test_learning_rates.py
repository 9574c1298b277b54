"""What a linear evaluation says of learning rates that do not fit the features."""

from __future__ import annotations

import math

from bench.config.load import load_task
from bench.stages.learning_rates import LossWatch, at_the_edge


def test_an_absurd_loss_is_warned_of_once() -> None:
    watch = LossWatch([30.0], classes=10)
    assert watch.see(1425.0, step=10, last=False) is None  # it may still come down
    assert watch.see(10 * math.log(10), step=20, last=False) is None
    assert watch.see(1425.0, step=30, last=False) == (
        "warning: the linear classifier's loss is 1425, and guessing among 10 classes has 2.3: the learning rate 30 "
        "does not fit these features; try several at once (imagenet_linear_sweep shows how), or another one: "
        "--set learning_rates=…"
    )
    assert watch.see(1425.0, step=40, last=True) is None


def test_of_several_rates_the_best_counts_and_a_short_training_is_judged_at_its_end() -> None:
    watch = LossWatch([3.0, 30.0, 10.0], classes=2)
    assert watch.see(6.8, step=5, last=True) is None
    warning = watch.see(math.inf, step=5, last=True)
    assert warning is not None
    assert "loss is inf" in warning
    assert "none of the learning rates 3 to 30 fits these features; try lower ones: --set learning_rates=" in warning
    load_task("imagenet_linear_sweep")  # which the other warning names


def test_the_best_rate_at_the_edge_of_a_sweep_is_noted() -> None:
    rates = (0.1, 10.0, 1.0)
    assert at_the_edge(rates, 0) == (
        "note: the best learning rate, 0.1, is the lowest of the 3 that were tried; a lower one may be better "
        "(--set learning_rates=…)"
    )
    assert "10, is the highest of the 3 that were tried; a higher one" in (at_the_edge(rates, 1) or "")
    assert at_the_edge(rates, 2) is None
    assert at_the_edge((30.0,), 0) is None
