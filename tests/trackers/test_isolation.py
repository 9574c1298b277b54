"""A tracker never changes, delays or ends a stage, whatever it does."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sittings import RUN
from stand_in import assert_same_run, recipe, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench.errors import Interrupted
from bench.trackers import sending, track, track_results, tracked
from bench.trackers.choice import VARIABLE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "knn" / "stage"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def uses(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(*names: str) -> None:
        monkeypatch.setenv(VARIABLE, ",".join(names))
        monkeypatch.setenv(
            "PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        )

    return use


def calls(folder: Path) -> list[str]:
    return (folder.parent.parent / "trackers" / "broken.Keeps" / "calls.txt").read_text().splitlines()


def interrupted(folder: Path, losses: dict[int, float]) -> None:
    """A sitting that a signal ends."""
    with suppress(Interrupted), tracked(lambda: RUN, folder):
        for step, loss in losses.items():
            track(step, {"loss": loss})
        raise Interrupted("by a signal")


def test_what_a_stage_tracks_gets_to_a_tracker(folder: Path, uses: Any, capfd: pytest.CaptureFixture[str]) -> None:
    uses("broken:Keeps")
    track(1, {"outside": 1.0})  # of no stage
    with tracked(lambda: RUN, folder):
        track(10, {"loss": 0.5, "lost": float("nan"), "switch": True})
        track_results({"top1_percent": 50.0, "iou_percent": {"road": 97.0, "train": None}, "words": "x"})
    interrupted(folder, {20: 0.25})
    with tracked(lambda: RUN, folder):
        pass  # nothing to show, and nothing is started
    assert calls(folder) == [
        f"start {RUN.name} coco anew",
        "10 ['loss']",
        "10 ['final/iou_percent/road', 'final/top1_percent']",
        "end finished",
        f"start {RUN.name} coco {RUN.id}",
        "20 ['loss']",
        "end interrupted",
    ]
    assert capfd.readouterr().out == ""


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nobody tracks."""
    folder = tmp_path_factory.mktemp("straight")
    train(folder, recipe())
    return folder


def said_of(names: Sequence[str], text: str) -> dict[str, str]:
    """What was said of each tracker, which is one line."""
    lines = [line for line in text.splitlines() if line.startswith("Tracker ")]
    reasons = {line.split(": ")[0].partition(":")[2]: line for line in lines}
    assert sorted(reasons) == sorted(names)
    assert len(lines) == len(names)
    return reasons


@pytest.mark.slow
def test_weights_are_the_same_bits_where_trackers_fail(
    straight: Path, folder: Path, uses: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sending, "END_SECONDS", 200)  # they all end by themselves
    names = ("Raises", "RaisesLater", "Dies", "Exits", "NotThere")
    uses("tensorboard", "broken:Keeps", *(f"broken:{name}" for name in names))
    with tracked(lambda: RUN, folder, logs_itself=True):
        train(folder, recipe())
    assert_same_run(folder, straight)
    assert (calls(folder)[0], calls(folder)[-1]) == (f"start {RUN.name} coco anew", "end finished")
    reasons = said_of(names, capfd.readouterr().out)
    assert "ConnectionError: no network; the stage goes on" in reasons["Raises"]
    assert "ConnectionError: no network; the stage goes on" in reasons["RaisesLater"]
    assert "its process ended with exit code -9" in reasons["Dies"]
    assert "it wanted to end with 3" in reasons["Exits"]
    assert "has no attribute 'NotThere'" in reasons["NotThere"]
    log = folder / "tracker-broken.RaisesLater.log"
    assert f"({log} has more)" in reasons["RaisesLater"]
    assert "hello from a library" in log.read_text()
    assert "Traceback" in log.read_text()


@pytest.mark.slow
def test_weights_are_the_same_bits_where_trackers_hang(
    straight: Path, folder: Path, uses: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sending, "END_SECONDS", 0.5)
    names = ("Hangs", "HangsAtTheEnd")
    uses(*(f"broken:{name}" for name in names))
    with tracked(lambda: RUN, folder, logs_itself=True):
        train(folder, recipe())
    assert_same_run(folder, straight)
    for words in said_of(names, capfd.readouterr().out).values():
        assert "it had not ended after 0.5 s and was stopped; the stage goes on" in words


@pytest.mark.slow
def test_one_that_takes_nothing_costs_no_memory_without_end(
    folder: Path, uses: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sending, "END_SECONDS", 0.5)
    monkeypatch.setattr(sending, "MOST_LINES", 100)
    uses("broken:Hangs")
    with tracked(lambda: RUN, folder):
        track(1, {"loss": 1.0})
        from bench.trackers import current

        assert current._current is not None
        (queue,) = current._current._sendings or []
        for step in range(2, 5000):
            track(step, {"loss": 1.0})
        assert len(queue._lines) == 100
    assert capfd.readouterr().out.count("it takes nothing, and the oldest values are dropped") == 1


def test_what_a_process_said_before_anybody_listened_is_said(
    folder: Path, uses: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    from bench.trackers import current

    uses("broken:Raises")
    with tracked(lambda: RUN, folder):
        track(1, {"loss": 1.0})
        assert current._current is not None
        (queue,) = current._current._sendings or []
        process = queue._process
        assert process is not None
        queue.begin_end("finished")
        process.wait(60)
        queue.finish(sending.clock() + 60)
    assert "ConnectionError: no network" in capfd.readouterr().out


def test_a_process_that_cannot_be_started_is_said(
    folder: Path, uses: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise OSError(12, "Cannot allocate memory")

    uses("broken:Keeps")
    monkeypatch.setattr(sending.subprocess, "Popen", none)
    with tracked(lambda: RUN, folder):
        track(1, {"loss": 1.0})
        track(2, {"loss": 1.0})
    assert capfd.readouterr().out.count("Tracker broken:Keeps: Cannot allocate memory; the stage goes on") == 1


def board(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.slow
def test_tensorboard_has_every_stage_and_no_step_twice(folder: Path) -> None:
    interrupted(folder, {1: 1.0, 2: 2.0, 3: 3.0})  # and goes on from a checkpoint of step 1
    time.sleep(1.1)  # TensorBoard orders the files of one second by name
    with tracked(lambda: RUN, folder):
        for step in (2, 3):
            track(step, {"loss": 10.0 * step})
        track_results({"top1_percent": 50.0})
    assert board(folder) == {"loss": [(1, 1.0), (2, 20.0), (3, 30.0)], "final/top1_percent": [(3, 50.0)]}


def test_no_tracker_writes_nothing(folder: Path, uses: Any) -> None:
    uses("none")
    with tracked(lambda: RUN, folder):
        track(1, {"loss": 1.0})
    assert list(folder.iterdir()) == []
