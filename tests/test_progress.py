from __future__ import annotations

import contextlib
import io
import os
import pty

import pytest

from bench.progress import Progress


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
