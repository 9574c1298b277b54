from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest
from sittings import RUN

from bench.trackers import Run, Status
from bench.trackers.serving import Serving


class Spy:
    """Notes what it gets, and fails as often as it is told to."""

    def __init__(self, fails: int = 0) -> None:
        self.fails, self.tries = fails, 0
        self.got: list[tuple[int, dict[str, float]]] = []
        self.known: str | None = None
        self.store = Path()
        self.status: Status | None = None

    def start(self, run: Run, store: Path, known: str) -> str:
        assert run == RUN
        self.known, self.store = known, store
        return "id"

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.tries += 1
        if self.fails:
            self.fails -= 1
            raise OSError("no network")
        self.got.append((step, dict(values)))

    def end(self, status: Status) -> None:
        self.status = status


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "knn" / "coco--knn-s0"
    folder.mkdir(parents=True)
    return folder


def serve(spy: Spy, folder: Path, *steps: int, end: str | None = "finished", name: str = "loss") -> list[str]:
    messages = [{"start": asdict(RUN)}, *({"step": step, "values": {name: 1.0 * step}} for step in steps)]
    messages += [{"end": end}] if end else []
    said: list[str] = []
    Serving(lambda: spy, "spy", folder, said.append, Clock()).serve([json.dumps(each) for each in messages])
    return said


def test_values_arrive_in_order(folder: Path) -> None:
    spy = Spy()
    assert serve(spy, folder, 1, 2) == []
    assert spy.got == [(1, {"loss": 1.0}), (2, {"loss": 2.0})]
    assert (spy.known, spy.status) == ("", "finished")
    assert spy.store == folder.parent.parent / "trackers" / "spy"


def test_a_stage_that_goes_on_logs_no_step_twice(folder: Path) -> None:
    serve(Spy(), folder, 10, 20, 30, end=None)  # it was killed after step 30, and its checkpoint is of step 10
    again = Spy()
    serve(again, folder, 20, 30, 40)
    assert again.known == "id"
    assert again.got == [(40, {"loss": 40.0})]
    other = Spy()
    serve(other, folder, 30, name="validation/miou_percent")  # names have steps of their own
    assert other.got == [(30, {"validation/miou_percent": 30.0})]


def test_a_stage_that_was_killed_has_failed(folder: Path) -> None:
    spy = Spy()
    serve(spy, folder, 1, end=None)
    assert spy.status == "failed"


def test_what_could_not_be_logged_is_logged_later(folder: Path) -> None:
    spy = Spy(fails=2)
    said = serve(spy, folder, *range(1, 12))
    assert [step for step, _ in spy.got] == list(range(1, 12))
    assert said == ["OSError: no network"] * 2  # the stage says the first
    assert spy.tries == 13  # with pauses between, not at each of the lines


def test_a_network_that_never_comes_is_tried_seldom(folder: Path) -> None:
    spy = Spy(fails=1000)
    serve(spy, folder, *range(100))
    assert spy.got == []
    assert spy.tries < 10


def test_a_tracker_that_cannot_be_made_is_said(folder: Path) -> None:
    def broken() -> Spy:
        raise ImportError("libnothing.so")

    said: list[str] = []
    lines = [json.dumps({"start": asdict(RUN)}), json.dumps({"end": "finished"})]
    Serving(broken, "spy", folder, said.append, Clock()).serve(lines)
    assert set(said) == {"ImportError: libnothing.so"}
