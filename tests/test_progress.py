from __future__ import annotations

import contextlib
import io
import os
import pty
import threading

import pytest

from bench import progress as module
from bench.progress import Progress, shown_on


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_plain_lines_come_every_five_seconds_and_at_both_ends(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("tiny", 90, "images", stream=stream, clock=clock) as progress:
        for _ in range(90):
            clock.now += 0.25
            progress.update(1, loss=1 / 3, note="good")
    assert stream.getvalue().splitlines() == [
        "tiny: 0/90 images",
        "tiny: 20/90 images, 4 images/s, 0:18 left, loss 0.3333, note good",
        "tiny: 40/90 images, 4 images/s, 0:12 left, loss 0.3333, note good",
        "tiny: 60/90 images, 4 images/s, 0:08 left, loss 0.3333, note good",
        "tiny: 80/90 images, 4 images/s, 0:02 left, loss 0.3333, note good",
        "tiny: 90/90 images, 4 images/s, loss 0.3333, note good",
    ]


def test_the_rate_leaves_out_what_was_done_before_and_forgets_a_slow_start(clock: Clock) -> None:
    progress = Progress("tiny", 10_000, done=9_000, stream=io.StringIO(), clock=clock)
    with progress:
        clock.now += 600
        for _ in range(100):
            progress.update(1)
            clock.now += 10
        assert progress.line() == "9100/10000 steps, 10 s/step, 2:30:00 left"


def test_a_failure_still_shows_how_far_it_came(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress("tiny", 10, stream=stream, clock=clock)
    with contextlib.suppress(RuntimeError), progress:
        progress.update(3)
        raise RuntimeError
    assert stream.getvalue().splitlines()[-1].startswith("tiny: 3/10 steps")


def _on_terminal(clock: Clock) -> str:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal, Progress("tiny", 4, stream=terminal, clock=clock) as progress:
        for _ in range(4):
            clock.now += 1
            progress.update(1, loss=0.5)
    text = b""
    with contextlib.suppress(OSError):  # what a terminal says at its end, once no process writes to it any more
        while piece := os.read(leader, 100_000):  # one call need not return all
            text += piece
    os.close(leader)
    return text.decode()


def test_a_terminal_gets_a_bar(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_PLAIN", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    text = _on_terminal(clock)
    assert "━" in text
    assert "2/4 steps, 1 steps/s, 0:02 left, loss 0.5" in text
    monkeypatch.setenv("BENCH_PLAIN", "1")
    assert "━" not in _on_terminal(clock)
    assert "\x1b" not in _on_terminal(clock)


def test_an_update_is_cheap() -> None:
    """A million updates would take seconds: so no drawing, and no formatting, happens in most of them."""
    clock, drawn = Clock(), []
    progress = Progress("tiny", 10**6, stream=io.StringIO(), clock=clock)
    progress.line = lambda: drawn.append(1) or ""  # type: ignore[method-assign,func-returns-value]
    with progress:
        for _ in range(1000):
            progress.update(1, loss=1.0)
    assert len(drawn) == 2


def test_a_long_step_says_each_minute_for_how_long_it_has_been_running(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("tiny", 8, stream=stream, clock=clock) as progress:
        progress.update(2)
        for _ in range(13):
            clock.now += 10
            progress.say_running()
        progress.update(1)
        clock.now += 59
        progress.say_running()
    assert stream.getvalue().splitlines() == [
        "tiny: 0/8 steps",
        "tiny: step 3 of 8 running for 60 s",
        "tiny: step 3 of 8 running for 2:00",
        "tiny: 3/8 steps, 43.3 s/step, 3:37 left",
        "tiny: 3/8 steps, 63 s/step, 5:15 left",
    ]


def test_what_is_no_step_says_so_too(clock: Clock) -> None:
    """Images come in batches; and validation is no step, nor is the time until the first step after it one."""
    stream = io.StringIO()
    with Progress("knn", 90, "images", stream=stream, clock=clock) as images:
        clock.now += 60
        images.say_running()
    assert "knn: 0/90 images, the next batch running for 60 s" in stream.getvalue()
    with Progress("psp", 4, "iterations", stream=stream, clock=clock) as iterations:
        iterations.update(1)
        clock.now += 500
        iterations.update(0, validating="1/2")
        clock.now += 61
        iterations.say_running()
        iterations.say_stopping()
    assert "psp: 1/4 iterations, the next batch running for 61 s" in stream.getvalue()
    assert "Stopping after this batch. Ctrl-C" in stream.getvalue()


def test_the_thread_that_watches_a_step_ends_with_the_loop(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    said = threading.Event()
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    before = set(threading.enumerate())
    with Progress("tiny", 8, stream=io.StringIO(), clock=clock) as progress:
        progress.say_running = said.set  # type: ignore[method-assign]
        assert said.wait(60)
    assert set(threading.enumerate()) == before


def test_stopping_says_how_long_a_step_takes(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("tiny", 8, done=3, stream=stream, clock=clock) as progress:
        progress.say_stopping()
        for seconds in (300, 41, 38.2, 38.2, 38.2):  # the first compiles
            clock.now += seconds
            progress.update(1)
        progress.say_stopping()
    first, last = (line for line in stream.getvalue().splitlines() if line.startswith("Stopping"))
    assert first == (
        "Stopping after this step; how long it takes is not known, since no step has ended yet. Ctrl-C again ends "
        "at once."
    )
    assert last == "Stopping after this step, in at most about 39 s. Ctrl-C again ends at once."


def test_a_bar_says_it_after_two_seconds_and_the_log_has_a_line_a_minute(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_PLAIN", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    leader, follower = pty.openpty()
    log = io.StringIO()
    with os.fdopen(follower, "w") as terminal, shown_on(terminal, log), Progress("tiny", 8, clock=clock) as progress:
        progress.update(1)
        for _ in range(70):
            clock.now += 1
            progress.say_running()
        progress.say_stopping()
    text = b""
    with contextlib.suppress(OSError):
        while piece := os.read(leader, 100_000):
            text += piece
    os.close(leader)
    assert "step 2 of 8 running for 1 s" not in text.decode()
    for seconds in (2, 3, 70):
        assert f"step 2 of 8 running for {seconds} s" in text.decode()
    assert "Stopping after this step, in at most about 0 s. Ctrl-C" in text.decode()
    assert log.getvalue().splitlines() == [
        "tiny: 0/8 steps",
        "tiny: step 2 of 8 running for 60 s",
        "Stopping after this step, in at most about 0 s.",
        "tiny: 1/8 steps, 70 s/step, 8:10 left",
    ]
    assert "\x1b" not in log.getvalue()


def test_a_stream_that_nobody_reads_ends_nothing(clock: Clock) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    with Progress("tiny", 2, stream=Gone(), clock=clock) as progress:
        progress.update()
    assert progress.done == 1


def test_a_terminal_that_is_closed_costs_the_bar_alone(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training goes on, or ends in good order, and what it says from then on is in its log."""
    monkeypatch.delenv("BENCH_PLAIN", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    leader, follower = pty.openpty()
    terminal = os.fdopen(follower, "w")
    with Progress("tiny", 40, stream=terminal, clock=clock) as progress:
        os.close(leader)
        for _ in range(20):
            clock.now += 1
            progress.update(1)
    with shown_on(terminal, io.StringIO()), Progress("tiny", 1, clock=clock):  # that begins later
        clock.now += 1
    with contextlib.suppress(OSError):
        terminal.close()
    assert [line.partition(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        *(f"tiny: {done}/40 steps" for done in (1, 6, 11, 16, 20)),
        *["tiny: 0/1 steps"] * 2,
    ]
