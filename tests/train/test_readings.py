from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from stand_in import TIMES, StandIn, Waits, lines, recipe, source, train

from bench.errors import StageFailed
from bench.train import loop
from bench.train.distributed import Ranks
from bench.train.loop import fit
from bench.train.meter import Means, Meter
from bench.train.metrics_log import MetricsLog, read_metrics
from bench.train.readings import Every, Line, Readings


def test_every_is_due_at_first_and_then_by_the_clock() -> None:
    now = 5.0
    every = Every(1.0, lambda: now)
    assert every.due()
    every.restart()
    assert not every.due()
    now = 5.9
    assert not every.due()
    now = 6.0
    assert every.due()


def test_log_steps_are_read_together_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that is never due, a run waits for the device before checkpoints alone, and logs the same."""
    train(tmp_path / "often", recipe(log_every=1, checkpoint={"every_steps": 9}))
    monkeypatch.setattr(Every, "due", lambda self: False)
    waits, seen = Waits(), []
    tolist = torch.Tensor.tolist

    def counted(self: torch.Tensor) -> Any:
        waits.count += 1
        return tolist(self)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)

    class Spy(StandIn):
        def after_step(self, progress: float) -> None:
            super().after_step(progress)
            seen.append(waits.count)

    config = recipe(log_every=1, checkpoint={"every_steps": 9})
    with waits:
        train(tmp_path / "seldom", config, kind=Spy)
    assert seen[:9] == [seen[0]] * 9
    assert lines(tmp_path / "seldom") == lines(tmp_path / "often")
    assert len(lines(tmp_path / "seldom")) == len(seen) == 9


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_was_not_read_is_logged_on_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(Every, "due", lambda self: False)

    def hook(step: int) -> None:
        if step == 5:
            raise error

    with pytest.raises(error):
        train(tmp_path, recipe(log_every=1, checkpoint={"every_steps": 100}), hook=hook)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3, 4]


def test_a_lost_loss_is_told_with_its_own_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Every, "due", lambda self: False)

    class Dead(StandIn):
        def forward(self, batch: Any) -> dict[str, torch.Tensor]:
            terms = super().forward(batch)
            return terms | {"near": terms["near"] * math.inf} if len(self.progress) == 3 else terms

    config = recipe(log_every=2, checkpoint={"every_steps": 7})
    with pytest.raises(StageFailed, match="near became inf by step 4; there is no checkpoint yet"):
        fit(Dead(), source(config), config, seed=0, steps_per_epoch=3, folder=tmp_path)  # type: ignore[arg-type]
    assert [line["step"] for line in read_metrics(tmp_path)] == [2]


def test_lines_keep_their_order_and_share_a_speed(tmp_path: Path) -> None:
    def line(step: int, loss: float | None, **known: float) -> Line:
        means = None if loss is None else Means(("loss",), torch.tensor([loss], dtype=torch.float64))
        return Line(step, 0, means, known)

    with MetricsLog(tmp_path, 0) as log, Readings(log, Meter(), 1) as readings:
        assert readings.read("") == ({}, {})
        for one in (line(1, 0.5, lr=0.1), line(2, None, seen=3.0), line(3, 0.25, lr=0.2, seen=4.0)):
            readings.add(one)
        means, speed = readings.read("")
        written = read_metrics(tmp_path)  # while the log is open
    assert means == {"loss": 0.25}
    assert [list(one) for one in written] == [
        ["step", "epoch", "loss", "lr", *TIMES],
        ["step", "epoch", "seen"],
        ["step", "epoch", "loss", "lr", *TIMES, "seen"],
    ]
    assert all({name: written[place][name] for name in TIMES} == speed for place in (0, 2))


def test_all_ranks_read_after_the_same_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is time is summed over the ranks, as is whether a signal came."""
    asked: list[tuple[int, ...]] = []

    class Told(loop.Ranks):
        def sums(self, *numbers: int) -> tuple[int, ...]:
            if len(numbers) != 3:  # whether a checkpoint was written
                return numbers
            asked.append(numbers)
            return (*numbers[:2], 1)  # another rank's clock is due at every step

    monkeypatch.setattr(Every, "due", lambda self: False)
    reads: list[int] = []
    monkeypatch.setattr(Means, "read", lambda self, step, last: reads.append(step) or {"loss": 0.0})
    train(tmp_path, recipe(log_every=2, checkpoint={"every_steps": 100}), ranks=Told())
    assert all(numbers[2] == 0 for numbers in asked)
    assert reads[:3] == [2, 4, 6]


def test_means_are_over_the_micro_batches_since_the_last() -> None:
    meter = Meter()
    for value in (1.0, 2.0, 6.0):
        meter.add({"loss": torch.tensor(value)})
    means = meter.means(Ranks())
    assert means.names == ("loss",)
    assert means.values.tolist() == [3.0]
