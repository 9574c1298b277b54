"""Checkpoints of segmentation: of their own moment, written while validation goes on, and no failure is lost."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench.errors import Interrupted, StageFailed
from bench.stages.segmentation.logs import ScoresOnDisk
from bench.stages.segmentation.runner import CHECKPOINT, CollectSkipped, QuietRunner, SaveCheckpoint
from bench.train import background
from bench.train.checkpoint import write
from bench.train.distributed import Ranks


class Gate:
    """Stands in for `write`: it waits until it is let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.begun = threading.Event(), threading.Event()
        self.failure: Exception | None = None
        monkeypatch.setattr(background, "write", self)

    def __call__(self, file: Path, content: Mapping[str, Any]) -> None:
        self.begun.set()
        assert self.open.wait(20)
        if self.failure is not None:
            raise self.failure
        write(file, content)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open.set()


class OtherRanks(Ranks):
    """This process among two, of which the other one adds a failure to each sum."""

    def sums(self, *numbers: int) -> tuple[int, ...]:
        return tuple(number + 1 for number in numbers)


class Run:
    """A SaveCheckpoint over one tiny network after a step of SGD with momentum, every second iteration."""

    def __init__(self, folder: Path, ranks: Ranks | None = None) -> None:
        torch.manual_seed(0)
        self.model = nn.Conv2d(2, 3, 3)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.model(torch.randn(2, 2, 4, 4)).square().mean().backward()
        self.optimizer.step()
        self.rates = [0.1]
        schedule = SimpleNamespace(state_dict=lambda: {"last_step": len(self.rates), "rates": self.rates})
        self.runner = SimpleNamespace(
            model=self.model, optim_wrapper=self.optimizer, param_schedulers=[schedule], max_iters=8
        )
        self.stop = SimpleNamespace(asked=False)
        self.file = folder / CHECKPOINT
        ranks = ranks or Ranks()
        self.keep = SaveCheckpoint(self.file, 2, "hash", ranks, self.stop, CollectSkipped(Ranks()))  # type: ignore[arg-type]

    def iterate(self, index: int, loss: float = 1.0) -> None:
        self.keep.after_train_iter(self.runner, index, {"loss": torch.tensor(loss)})

    def spoil(self) -> None:
        """Change in place all that a later iteration could change."""
        with torch.no_grad():
            for tensor in (*self.model.parameters(), *(s["momentum_buffer"] for s in self.optimizer.state.values())):
                tensor.zero_()
        self.optimizer.param_groups[0]["lr"] = 7.0
        self.rates.append(7.0)


def test_the_file_holds_the_iteration_that_it_is_of(tmp_path: Path, gate: Gate) -> None:
    run = Run(tmp_path)
    weight = run.model.weight.detach().clone()
    momentum = run.optimizer.state[run.model.weight]["momentum_buffer"].clone()
    with run.keep:
        run.iterate(1)
        assert gate.begun.wait(20)
        assert not run.file.exists()  # the iteration has ended before anything is there
        run.spoil()
        gate.open.set()
    content = torch.load(run.file, weights_only=True)
    assert content["iteration"] == 2
    assert torch.equal(content["model"]["weight"], weight)
    assert torch.equal(content["optimizer"]["state"][0]["momentum_buffer"], momentum)
    assert content["optimizer"]["param_groups"][0]["lr"] == 0.1
    assert content["schedulers"] == [{"last_step": 1, "rates": [0.1]}]


def fail_when_written(gate: Gate) -> None:
    gate.failure = StageFailed("Cannot write last.ckpt (No space left on device)")
    gate.open.set()


REASON = r"Cannot write last\.ckpt \(No space left on device\)\. "


LATER: dict[str, Callable[[Run], None]] = {
    "next checkpoint": lambda run: run.iterate(3),
    "end of training": lambda run: run.keep.after_train(run.runner),
    "stop while training": lambda run: run.iterate(2),
    "stop while validating": lambda run: run.keep.after_val_iter(run.runner),
}


@pytest.mark.parametrize("then", LATER)
def test_a_failure_is_raised_at_the(then: str, tmp_path: Path, gate: Gate) -> None:
    fail_when_written(gate)
    run = Run(tmp_path)
    run.iterate(1)
    run.stop.asked = then.startswith("stop")
    with pytest.raises(StageFailed, match=REASON + r"No checkpoint was written yet\. Free space there, .*go on\.$"):
        LATER[then](run)


def test_the_file_of_before_is_named(tmp_path: Path, gate: Gate) -> None:
    run = Run(tmp_path)
    run.file.write_bytes(b"of before")
    fail_when_written(gate)
    with pytest.raises(StageFailed, match=REASON + rf"The last checkpoint is {run.file}\. Free"), run.keep:
        run.iterate(1)
    assert run.file.read_bytes() == b"of before"


def leave(run: Run, error: Exception | None = None) -> None:
    with run.keep:
        run.iterate(1)
        if error is not None:
            raise error


def test_another_error_does_not_hide_a_failure(tmp_path: Path, gate: Gate) -> None:
    fail_when_written(gate)
    error = ValueError("no image")
    with pytest.raises(StageFailed, match=REASON + ".* Besides, no image$") as caught:
        leave(Run(tmp_path), error)
    assert caught.value.__cause__ is error


def test_a_failure_is_reported_once(tmp_path: Path, gate: Gate) -> None:
    fail_when_written(gate)
    run = Run(tmp_path)
    with pytest.raises(StageFailed, match=REASON + r"No checkpoint was written yet\. Free space there, .*go on\.$"):
        written(run)


def written(run: Run) -> None:
    with run.keep:
        run.iterate(1)
        run.keep.finish_writing()


def test_an_error_of_another_kind_is_raised_unchanged(tmp_path: Path, gate: Gate) -> None:
    gate.failure = KeyError("not from the disk")
    gate.open.set()
    with pytest.raises(KeyError, match="not from the disk"):
        written(Run(tmp_path))


def later(gate: Gate) -> None:
    threading.Timer(0.2, gate.open.set).start()


def test_a_stop_does_not_hide_that_its_own_checkpoint_failed(tmp_path: Path, gate: Gate) -> None:
    fail_when_written(gate)
    run = Run(tmp_path)
    run.stop.asked = True
    with pytest.raises(StageFailed, match=REASON):
        run.iterate(0)


def test_a_stop_waits_for_the_disk(tmp_path: Path, gate: Gate) -> None:
    run = Run(tmp_path)
    run.stop.asked = True
    later(gate)
    with pytest.raises(Interrupted, match=rf"Stopped after iteration 1 of 8\. The last checkpoint is {run.file}"):
        run.iterate(0)
    assert run.file.is_file()


def test_a_stop_while_validating_waits_for_the_disk(tmp_path: Path, gate: Gate) -> None:
    run = Run(tmp_path)
    run.iterate(1)
    run.keep.after_val_iter(run.runner)
    run.stop.asked = True
    later(gate)
    with pytest.raises(Interrupted, match=rf"while validating\. The last checkpoint is {run.file}"):
        run.keep.after_val_iter(run.runner)


def test_a_loss_of_nan_names_the_checkpoint_that_was_being_written(tmp_path: Path, gate: Gate) -> None:
    run = Run(tmp_path)
    run.iterate(1)
    later(gate)
    with pytest.raises(StageFailed, match=rf"became nan at iteration 3; lower lr\. The last checkpoint is {run.file}"):
        run.iterate(2, loss=math.nan)


def test_a_failure_in_the_first_process_ends_the_others(tmp_path: Path) -> None:
    run = Run(tmp_path, OtherRanks(rank=1, world=2))
    with pytest.raises(StageFailed, match="The first process could not write the checkpoint"):
        run.keep.finish_writing()


def test_scores_that_cannot_be_written_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scalars.json").mkdir()
    scores = ScoresOnDisk(str(tmp_path))
    for step in (1, 2):
        scores.add_scalar("loss", 0.5, step)
    words = f"{tmp_path / 'scalars.json'} cannot be written (Is a directory); training goes on.\n"
    assert capsys.readouterr().out == words


def test_a_line_that_mmengines_log_cannot_take_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = QuietRunner.__new__(QuietRunner)
    runner._experiment_name = "no space"
    (tmp_path / "mmengine.log").symlink_to("/dev/full")
    logger = runner.build_logger(log_file=str(tmp_path / "mmengine.log"))
    logger.info("a line")
    (handler,) = logger.handlers
    with suppress(OSError):  # of what it still holds
        handler.close()
    assert capsys.readouterr().err == ""
