"""Checkpoints written in the background: what they hold, what can go wrong, and that every way to end waits for it."""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from stand_in import StandIn, assert_same_run, recipe, same, source, train
from torch import Tensor, nn

from bench.errors import StageFailed
from bench.train import background
from bench.train.background import HostCopy, Writer
from bench.train.checkpoint import LAST, read, write
from bench.train.distributed import Ranks
from bench.train.loop import fit
from bench.train.state import State


class Gate:
    """Stands in for `write`: each call waits until it is let through; what was begun and finished is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.begun = threading.Event(), threading.Event()
        self.order: list[str] = []
        self.failure: BaseException | None = None
        monkeypatch.setattr(background, "write", self)

    def __call__(self, file: Path, content: Mapping[str, Any]) -> None:
        self.order.append(f"begin {file.name}")
        self.begun.set()
        assert self.open.wait(20)
        if self.failure is not None:
            raise self.failure
        write(file, content)
        self.order.append(f"end {file.name}")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open.set()


def state(folder: Path, ranks: Ranks | None = None, model: nn.Module | None = None) -> State:
    """A state after one step of SGD with momentum."""
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 2, 4, 4)).square().mean().backward()
    optimizer.step()
    training = State(folder, {"recipe": "tiny"}, model, optimizer, ranks or Ranks(), background=True)
    training.step = 1
    return training


def spoil(training: State) -> None:
    """Change in place all that a later step could change."""
    with torch.no_grad():
        for tensor in training.objective.state_dict().values():
            tensor.zero_()
        for values in training.optimizer.state.values():
            values["momentum_buffer"].zero_()
    training.run["recipe"] = "other"
    training.logged["loss"] = math.nan
    training.optimizer.param_groups[0]["lr"] = 7.0


# ------------------------------------------------------------------------------------------ what is written


@pytest.mark.slow
def test_what_changes_after_save_returned_is_not_in_the_file(tmp_path: Path, gate: Gate) -> None:
    training = state(tmp_path)
    training.logged = {"loss": 1.5}
    wanted = {name: tensor.clone() for name, tensor in training.objective.state_dict().items()}
    momentum = training.optimizer.state_dict()["state"][0]["momentum_buffer"].clone()
    with training:
        training.save(keep_epoch=3)
        assert gate.begun.wait(20)
        assert not (tmp_path / LAST).exists()  # training goes on before anything is there
        spoil(training)
        gate.open.set()
    for name in (LAST, "epoch_0003.ckpt"):
        assert same(dict(read(tmp_path / name)["objective"]), wanted)
        assert read(tmp_path / name)["run"] == {"recipe": "tiny"}
    last = read(tmp_path / LAST)
    assert torch.equal(last["optimizer"]["state"][0]["momentum_buffer"], momentum)
    assert last["optimizer"]["param_groups"][0]["lr"] == 0.1
    assert last["logged"] == {"loss": 1.5}


def test_a_second_copy_is_of_its_own_moment_and_needs_no_new_memory(tmp_path: Path) -> None:
    copy, tensor = HostCopy(), torch.zeros(3)
    first = copy.take({"a": [tensor]})["a"][0]
    tensor += 1
    second = copy.take({"a": [tensor]})["a"][0]
    assert second is first
    assert second.tolist() == [1, 1, 1]
    grown = copy.take({"a": [torch.ones(4)]})["a"][0]
    assert grown.shape == (4,)


def test_a_copy_has_the_strides_the_sharing_and_the_containers_of_the_state() -> None:
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    given = {"a": weight, "b": {"again": weight.detach()}, "t": (1, None, "x"), "model": model.state_dict()}
    taken = HostCopy().take(given)
    assert same({k: v for k, v in taken.items() if k != "model"}, {k: v for k, v in given.items() if k != "model"})
    assert taken["a"].stride() == weight.stride()
    assert taken["a"].data_ptr() == taken["b"]["again"].data_ptr() != weight.data_ptr()
    assert type(taken["model"]) is type(given["model"])
    assert taken["model"]._metadata == given["model"]._metadata
    assert not taken["model"]["0.weight"].requires_grad


@pytest.mark.parametrize("on", [True, False])
def test_with_and_without_it_the_files_and_the_runs_are_the_same(tmp_path: Path, on: bool) -> None:
    settings = {"every_steps": 1, "keep_every_epochs": 1}
    train(tmp_path / "a", recipe(checkpoint=settings | {"background": not on}))
    with pytest.raises(Crash):
        train(tmp_path / "b", recipe(checkpoint=settings | {"background": on}), hook=crash)
    assert read(tmp_path / "b" / LAST)["step"] == 4  # leaving waited for it
    train(tmp_path / "b", recipe(checkpoint=settings | {"background": on}))
    assert_same_run(tmp_path / "a", tmp_path / "b")


class Crash(Exception):
    pass


def crash(step: int) -> None:
    if step == 5:
        raise Crash


def test_the_kept_epoch_is_whole_before_last_is_begun(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    with state(tmp_path) as training:
        training.save(keep_epoch=0)
    assert gate.order == ["begin epoch_0000.ckpt", "end epoch_0000.ckpt", f"begin {LAST}", f"end {LAST}"]


# ------------------------------------------------------------------------------------------------- waiting


def test_the_next_save_waits_for_the_one_before(tmp_path: Path, gate: Gate) -> None:
    with state(tmp_path) as training:
        training.save()
        training.step = 2
        threading.Timer(0.3, gate.open.set).start()
        training.save()
        assert gate.order[:2] == [f"begin {LAST}", f"end {LAST}"]
        assert read(tmp_path / LAST)["step"] in {1, 2}
    assert gate.order == [f"begin {LAST}", f"end {LAST}"] * 2
    assert read(tmp_path / LAST)["step"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("leaves", [None, KeyboardInterrupt, Crash])
def test_every_way_to_end_waits(tmp_path: Path, gate: Gate, leaves: type[BaseException] | None) -> None:
    training = state(tmp_path)
    threading.Timer(0.3, gate.open.set).start()
    with pytest.raises(leaves) if leaves else nullcontext(), training:
        training.save()
        assert not (tmp_path / LAST).exists()
        if leaves is not None:
            raise leaves
    assert read(tmp_path / LAST)["step"] == 1


def test_a_run_that_leaves_writes_at_once(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    with state(tmp_path) as training:
        training.save(leaving=True)
        assert gate.order == [f"begin {LAST}", f"end {LAST}"]


def test_a_weight_that_is_not_finite_is_noticed_before_writing_begins(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    words = r"After step 2 0\.weight held nan .*last\.ckpt of step 1 stays"
    with pytest.raises(StageFailed, match=words), state(tmp_path) as training:  # noqa: PT012
        training.save()
        training.step = 2
        training.objective.state_dict()["0.weight"][0, 0, 0, 0] = math.nan
        training.save(keep_epoch=0)
    assert gate.order == [f"begin {LAST}", f"end {LAST}"]
    assert [file.name for file in tmp_path.iterdir()] == [LAST]


def test_weights_whose_sum_overflows_are_still_finite(tmp_path: Path) -> None:
    with state(tmp_path) as training:
        training.objective.state_dict()["1.running_var"].fill_(3e38)
        training.save()
    assert read(tmp_path / LAST)["step"] == 1


# ------------------------------------------------------------------------------------------------ failures

FULL = r"Cannot write .*last\.ckpt \(No space left on device\); {}\. Free space there, then run it again"


def full(folder: Path) -> StageFailed:
    return StageFailed(f"Cannot write {folder / LAST} (No space left on device)")


def test_a_full_disk_is_reported_by_the_next_save(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    with state(tmp_path) as training:
        training.save()
        training.finish_writing()
        gate.failure = full(tmp_path)
        training.step = 2
        training.save()
        with pytest.raises(StageFailed, match=FULL.format(r"last\.ckpt of step 1 stays")):
            training.save()
        assert read(tmp_path / LAST)["step"] == 1
        gate.failure = None  # reported once: there is space again
        training.save()
    assert read(tmp_path / LAST)["step"] == 2


def test_a_full_disk_is_reported_at_the_end_and_when_leaving(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    gate.failure = full(tmp_path)
    words = FULL.format("there is no checkpoint yet")
    with pytest.raises(StageFailed, match=words + r" to go on\.$"), state(tmp_path) as training:
        training.save()
    besides = words + ".* Besides, the loss became nan"
    with pytest.raises(StageFailed, match=besides), state(tmp_path) as training:  # noqa: PT012
        training.save()
        raise StageFailed("the loss became nan")
    with pytest.raises(StageFailed, match=words), state(tmp_path) as training:
        training.save(leaving=True)


def test_a_failure_in_a_run_ends_it(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    gate.failure = full(tmp_path)
    with pytest.raises(StageFailed, match="No space left"):
        train(tmp_path, recipe(checkpoint={"every_steps": 2}))
    assert not (tmp_path / LAST).exists()


def test_ranks_that_write_nothing_fail_with_the_first(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Second(Ranks):
        def sums(self, *numbers: int) -> tuple[int, ...]:
            return tuple(number + 1 for number in numbers)  # the first rank's disk is full

        def mean_(self, tensor: Tensor) -> Tensor:
            return tensor

    training = state(tmp_path, Second(rank=1, world=2))
    with pytest.raises(StageFailed, match="first process could not write"):
        training.save()
    assert not list(tmp_path.iterdir())


@contextmanager
def room(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes: the error of a full disk, but for its number."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_does_not_fit_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    write(tmp_path / LAST, {"objective": {}, "step": 1})
    with room(50_000), pytest.raises(StageFailed, match=r"Cannot write .*last\.ckpt \(File too large\)"):
        write(tmp_path / LAST, {"objective": {"w": torch.ones(100_000)}, "step": 2})
    assert read(tmp_path / LAST)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [LAST]


def test_another_error_of_the_thread_is_not_lost(tmp_path: Path) -> None:
    writer = Writer()
    writer.start({tmp_path / LAST: {"objective": {}, "odd": lambda: 0}})
    with pytest.raises(Exception, match=r"pickle|local"):
        writer.wait()
    writer.wait()


SLOW = """
import os, sys, time, threading
from pathlib import Path
import torch
from bench.train.background import Writer
from bench.train.checkpoint import LAST
folder, writer = Path(sys.argv[1]), Writer()
weights = torch.zeros(200_000)
writer.start({folder / LAST: {"objective": {"w": weights}, "step": 1}})
writer.wait()
fsync = os.fsync
def slow(handle):
    print("writing", flush=True)
    time.sleep(60)
os.fsync = slow
writer.start({folder / LAST: {"objective": {"w": weights + 1}, "step": 2}})
time.sleep(60)
"""


@pytest.mark.slow
def test_a_process_killed_while_its_thread_writes_leaves_the_old_one(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert (tmp_path / f".{LAST}.partial").stat().st_size > 800_000  # it was in the middle
    assert read(tmp_path / LAST)["step"] == 1
    assert not read(tmp_path / LAST)["objective"]["w"].any()


def test_a_run_that_dies_waits_for_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(file: Path, content: Mapping[str, Any]) -> None:
        time.sleep(0.2)
        write(file, content)

    monkeypatch.setattr(background, "write", slow)
    with pytest.raises(StageFailed, match=r"held nan .*last\.ckpt of step 2 stays"):
        dead(tmp_path)
    assert read(tmp_path / LAST)["step"] == 2


def dead(folder: Path) -> None:
    """A run whose weights die in step 4, between the checkpoints of steps 2 and 4."""
    model, config = StandIn(), recipe(log_every=100, checkpoint={"every_steps": 2})

    def hook(step: int) -> None:
        if step == 4:
            model.projector.weight.data[0, 0] = math.nan

    model.hook = hook
    fit(model, source(config), config, seed=7, steps_per_epoch=3, folder=folder)  # type: ignore[arg-type]
