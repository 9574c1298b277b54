"""Ranks that die, hang, refuse or are stopped: what starts again, what ends the stage, and what is said."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.config.recipe import Recipe
from bench.errors import BadInput, Interrupted, PeerLost, StageFailed
from bench.execute import elastic, launch, stage_file
from bench.execute.grid import Request, plan_grid
from bench.execute.launch import Layout, chosen_restarts
from bench.execute.rank_endings import REPORTS, STARTED_BY, Ending, Verdict, judge, said_by, said_to_launcher
from bench.execute.stage import _reported
from bench.execute.stage_file import RENDEZVOUS, StageFile, held, read_stage, write_stage
from bench.nn.collectives import collective_minutes, collective_timeout

SCRIPT = Path(__file__).with_name("silent_ranks.py")


@pytest.fixture
def stage(tmp_path: Path) -> tuple[Path, StageFile]:
    request = Request(pretrain=["coco"], profile="smoke", work_dir=tmp_path)
    folder = write_stage(plan_grid(request, act=False).stages[0], tmp_path, {}, tmp_path, "fail")
    return folder, read_stage(folder)


# ---------------------------------------------------------------------------------------------- what endings mean


def judged(config: Recipe, *codes: int | None, said: Sequence[str] = (), world: int | None = None) -> Verdict:
    sentences = [*said, *[""] * len(codes)]
    endings = [Ending(rank, code, sentences[rank], 100 + rank) for rank, code in enumerate(codes)]
    return judge("pretrain x", endings[::-1], world or len(codes), config, "x/log.txt", 0.5)  # in any order


KILLED, ABORTED, LOST = -signal.SIGKILL, -signal.SIGABRT, PeerLost.exit_code


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (
            (LOST, KILLED),
            "rank 1 of 2 (process 101) was ended by SIGKILL; the machine may have run out of memory: lower",
        ),
        ((-signal.SIGSEGV, LOST), "rank 0 of 2 (process 100) was ended by SIGSEGV"),
        ((KILLED, 0, KILLED), "rank 0 of 3 (process 100) was ended by SIGKILL"),  # a finished rank is none of them
        ((LOST, None), "rank 1 of 2 (process 101) did not answer for 0.5 minutes"),
        ((ABORTED, None), "rank 1 of 2 (process 101) did not answer for 0.5 minutes"),  # NCCL aborts who waits
        ((ABORTED, KILLED, None), "rank 1 of 3 (process 101) was ended by SIGKILL"),
        ((1, KILLED), "rank 1 of 2 (process 101) was ended by SIGKILL"),  # whose end may read as any error elsewhere
        ((ABORTED, ABORTED), "rank 0 of 2 (process 100) was ended by SIGABRT"),
    ],
)
def test_deaths_and_silence_start_again_and_are_named(
    stage: tuple[Path, StageFile], codes: tuple[int | None, ...], words: str
) -> None:
    verdict = judged(stage[1].recipe, *codes)
    assert verdict.error is None
    assert verdict.words.startswith(f"pretrain x: {words}")
    assert "SIGABRT" not in verdict.words or "SIGABRT" in words


def test_a_lost_connection_to_another_node_starts_again(stage: tuple[Path, StageFile]) -> None:
    assert judged(stage[1].recipe, LOST, said=["pretrain x: another rank has ended (…)"]) == Verdict(
        "pretrain x: another rank has ended (…)"
    )
    assert "to another rank of 4 was lost" in judged(stage[1].recipe, LOST, LOST, world=4).words


@pytest.mark.parametrize(
    ("codes", "said", "error"),
    [
        ((LOST, 2), ["lost", "Give a folder."], BadInput("Give a folder.")),
        ((2, 2), ["Give a folder.", "Give a folder."], BadInput("Give a folder.")),
        ((KILLED, 2), ["", "Give a folder."], BadInput("Give a folder.")),
        ((-signal.SIGSEGV, 1), ["", "x: ValueError: 3"], StageFailed("x: ValueError: 3")),
        ((None, 1), ["", "x: ValueError: 3"], StageFailed("x: ValueError: 3")),
        ((0, 1), [], StageFailed("pretrain x: rank 1 of 2 failed (exit code 1; log: x/log.txt)")),
        ((2, 0), [], StageFailed("pretrain x: rank 0 of 2 failed (exit code 2; log: x/log.txt)")),
        ((1, 130), ["x: disk full", "Stopped"], StageFailed("x: disk full")),
        ((130, 130), ["Stopped after step 4.", ""], Interrupted("Stopped after step 4.")),
        ((LOST, -signal.SIGTERM), [], Interrupted("pretrain x was interrupted; its last checkpoint stays.")),
        ((-signal.SIGINT, KILLED), [], Interrupted("pretrain x was interrupted; its last checkpoint stays.")),
    ],
)
def test_what_was_refused_or_broke_or_was_asked_for_ends_the_stage(
    stage: tuple[Path, StageFile], codes: tuple[int | None, ...], said: list[str], error: Exception
) -> None:
    verdict = judged(stage[1].recipe, *codes, said=said)
    assert type(verdict.error) is type(error)
    assert str(verdict.error) == verdict.words == str(error)


def test_a_rank_tells_our_launcher_and_prints_for_any_other(tmp_path: Path) -> None:
    (tmp_path / REPORTS).mkdir()
    with pytest.raises(SystemExit) as ended, said_to_launcher(tmp_path, {STARTED_BY: "1", "RANK": "3"}):
        raise BadInput("Give a folder.")
    assert ended.value.code == 2
    assert said_by(tmp_path, 3) == "Give a folder."
    assert said_by(tmp_path, 2) == ""
    with said_to_launcher(tmp_path, {STARTED_BY: "1", "RANK": "3"}):
        assert said_by(tmp_path, 3) == ""  # of the start before
    with pytest.raises(BadInput, match="Give a folder"), said_to_launcher(tmp_path, {"RANK": "3"}):
        raise BadInput("Give a folder.")
    assert said_by(tmp_path, 3) == ""


# ------------------------------------------------------------------------------------------------- torch's agent


@pytest.fixture
def started(tmp_path: Path, stage: tuple[Path, StageFile]) -> Callable[..., tuple[elastic.Outcome, list[str]]]:
    """Run two ranks that do as they are told at each start; returns how it ended, and what was said on the way."""
    (tmp_path / REPORTS).mkdir()

    def run(*words: str, restarts: int = 3) -> tuple[elastic.Outcome, list[str]]:
        lines: list[str] = []
        outcome = elastic.run(
            elastic.Ranks(
                [sys.executable, str(SCRIPT), str(tmp_path), *words], {STARTED_BY: "1"}, 2, restarts=restarts
            ),
            lambda endings, world: judge("pretrain x", endings, world, stage[1].recipe, "log", 0.5),
            lambda rank: said_by(tmp_path, rank),
            lines.append,
        )
        return outcome, lines

    return run


def starts(folder: Path) -> list[str]:
    return sorted((folder / "starts").read_text().splitlines())


def test_ranks_start_again_together_after_one_was_killed(
    tmp_path: Path, started: Callable[..., tuple[elastic.Outcome, list[str]]]
) -> None:
    environ, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    outcome, lines = started("76:gone,SIGKILL", "SIGSEGV,76:gone", "ok,ok")
    assert outcome.error is None
    assert outcome.interrupted is None
    assert starts(tmp_path) == ["0 0", "0 1", "1 0", "1 1", "2 0", "2 1"]
    assert [line.partition("(process")[0] for line in lines] == ["pretrain x: rank 1 of 2 ", "pretrain x: rank 0 of 2 "]
    assert lines[0].endswith("All ranks start again from the last checkpoint (restart 1 of 3).")
    stores = [line.split()[1] for line in sorted(set((tmp_path / "stores").read_text().splitlines()))]
    assert len(set(stores)) == len(stores) == 3  # or a rank would find the address of a dead one
    assert dict(os.environ) == environ
    assert signal.getsignal(signal.SIGTERM) == handler


def test_what_a_rank_refuses_ends_all_at_once(
    tmp_path: Path, started: Callable[..., tuple[elastic.Outcome, list[str]]]
) -> None:
    outcome, lines = started("76:another rank has ended,2:Give a folder.", "ok,ok")
    assert isinstance(outcome.error, BadInput)
    assert str(outcome.error) == "Give a folder."
    assert lines == []
    assert starts(tmp_path) == ["0 0", "0 1"]


def test_restarts_have_an_end(tmp_path: Path, started: Callable[..., tuple[elastic.Outcome, list[str]]]) -> None:
    outcome, lines = started("SIGKILL,ok", "SIGKILL,ok", "ok,ok", restarts=1)
    assert len(lines) == 1
    assert "rank 0 of 2" in str(outcome.error)
    assert starts(tmp_path) == ["0 0", "0 1", "1 0", "1 1"]


def test_a_rank_that_hangs_is_killed_and_named(
    tmp_path: Path, started: Callable[..., tuple[elastic.Outcome, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elastic, "END_SECONDS", 0.5)
    outcome, lines = started("76:it did not answer,stop", "ok,ok")
    assert outcome.error is None
    assert len(lines) == 1
    assert lines[0].startswith("pretrain x: rank 1 of 2 (process ")
    assert "did not answer for 0.5 minutes" in lines[0]


def test_a_rank_that_hangs_while_another_was_asked_to_stop_is_killed(
    tmp_path: Path, started: Callable[..., tuple[elastic.Outcome, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elastic, "END_SECONDS", 0.1)
    monkeypatch.setattr(elastic, "STOP_SECONDS", 1.0)
    net = threading.Timer(60, lambda: os.kill(int((tmp_path / "stopped-1").read_text()), signal.SIGKILL))
    net.start()  # so that an endless wait fails
    try:
        outcome, lines = started("130:Stopped after step 4.,stop", "ok,ok")
    finally:
        net.cancel()
    assert [ending.code for ending in outcome.endings] == [130, None]  # and not SIGKILL of the net
    assert isinstance(outcome.error, Interrupted)
    assert lines == []


def test_a_rank_that_hangs_after_rank_0_has_ended_well_is_ended(
    tmp_path: Path, started: Callable[..., tuple[elastic.Outcome, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 0 marks the stage as done, the last thing that any of them does."""
    monkeypatch.setattr(elastic, "STOP_SECONDS", 1.0)
    waiting = tmp_path / "waiting-1"
    net = threading.Timer(60, lambda: os.kill(int(waiting.read_text()), signal.SIGKILL))
    net.start()
    try:
        outcome, lines = started("ok,wait", "ok,ok")
    finally:
        net.cancel()
    assert outcome == elastic.Outcome()
    assert lines == []
    assert len(starts(tmp_path)) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_launcher_reaches_the_ranks_as_one_that_they_know(
    tmp_path: Path, started: Callable[..., tuple[elastic.Outcome, list[str]]], number: signal.Signals
) -> None:
    def stop() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and len(list(tmp_path.glob("waiting-*"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        outcome, lines = started("wait,wait", "ok,ok")
    finally:
        thread.join()
    assert outcome.interrupted == number
    assert sorted(file.name for file in tmp_path.glob("asked-*")) == ["asked-0", "asked-1"]
    assert lines == []
    assert starts(tmp_path) == ["0 0", "0 1"]


# ------------------------------------------------------------------------------------------------- the launcher


def launched(
    stage: tuple[Path, StageFile], monkeypatch: pytest.MonkeyPatch, outcome: Any, layout: Layout | None = None
) -> None:
    def run(*_: Any) -> elastic.Outcome:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(elastic, "run", run)
    launch.launch(*stage, layout or Layout(2), [])


@pytest.mark.parametrize(
    ("outcome", "error", "words"),
    [
        (elastic.Outcome(BadInput("Give a folder.")), BadInput, r"^Give a folder\.$"),
        (
            elastic.Outcome(RuntimeError("x: rank 0 of 2 died")),
            StageFailed,
            "died. It was started again 3 times; its last",
        ),
        (
            elastic.Outcome(interrupted=signal.SIGTERM),
            Interrupted,
            "coco-s0 was interrupted; its last checkpoint stays",
        ),
        (elastic.Outcome(), StageFailed, "its 2 processes ended without a result"),
        (TimeoutError("nobody answers"), StageFailed, "not all 2 nodes came to a:1 within 10 minutes"),
        (ConnectionError("it has left"), StageFailed, "it has left; its output says why"),
    ],
)
def test_the_launcher_raises_one_sentence(
    stage: tuple[Path, StageFile], monkeypatch: pytest.MonkeyPatch, outcome: Any, error: type[Exception], words: str
) -> None:
    layout = Layout(1, 2, "a:1") if isinstance(outcome, OSError) else Layout(2)
    with pytest.raises(error, match=words):
        launched(stage, monkeypatch, outcome, layout)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (Layout(1, 2), "--nodes 2 needs --rendezvous HOST:PORT"),
        (Layout(1, 1, "a:1"), "--rendezvous is for several nodes"),
        (Layout(1, 2, "a"), "--rendezvous a is no HOST:PORT"),
        (Layout(1, 2, "a:b"), "--rendezvous a:b is no HOST:PORT"),
        (Layout(1, 2, "a:70000"), "--rendezvous a:70000 is no HOST:PORT"),
    ],
)
def test_nodes_that_cannot_meet_are_refused(layout: Layout, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        layout.check()
    Layout(4, 2, "node0:29500").check()
    assert Layout(4, 2, "node0:29500").world == 8


def test_times_and_restarts_come_from_the_environment() -> None:
    assert collective_minutes({}) == 30
    assert collective_minutes({"BENCH_COLLECTIVE_MINUTES": "0.25"}) == 0.25
    for wrong in ("0", "-1", "soon", "nan", "inf"):
        with pytest.raises(BadInput, match=f"BENCH_COLLECTIVE_MINUTES={wrong} is no time"):
            collective_minutes({"BENCH_COLLECTIVE_MINUTES": wrong})
    assert chosen_restarts({}) == 3
    assert chosen_restarts({"BENCH_MAX_RESTARTS": "0"}) == 0
    for wrong in ("-1", "often", "9999"):
        with pytest.raises(BadInput, match="is no number of restarts"):
            chosen_restarts({"BENCH_MAX_RESTARTS": wrong})
    assert collective_timeout().total_seconds() == 1800


def test_a_second_launcher_joins_the_holder_at_the_same_place_alone(
    stage: tuple[Path, StageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_file, "TRIES", 1)
    folder, content = stage
    with held(folder, content, wait=False, rendezvous="node0:1") as holds:
        assert holds
        with held(folder, content, wait=False, rendezvous="node0:1") as second:
            assert not second
        assert (folder / RENDEZVOUS).read_text() == "node0:1\n"
        for other in (None, "node0:2"):
            with pytest.raises(BadInput, match="is being run by process"), held(folder, content, False, other):
                pass
    assert not (folder / RENDEZVOUS).exists()
    with held(folder, content, wait=False) as holds:
        assert holds


def test_a_place_to_meet_that_is_removed_meanwhile_is_none(
    stage: tuple[Path, StageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS a file that another node has removed may seem to be there."""
    monkeypatch.setattr(stage_file, "TRIES", 1)
    with held(*stage, wait=False):
        is_file = Path.is_file
        monkeypatch.setattr(Path, "is_file", lambda file: file.name == RENDEZVOUS or is_file(file))
        with pytest.raises(BadInput, match="is being run by process"), held(*stage, False, "node0:1"):
            pass


def test_an_error_of_a_single_process_is_no_lost_rank(stage: tuple[Path, StageFile]) -> None:
    """Whatever reads images from a network may say the same of its own connection."""
    words = r"^pretrain coco-s0: RuntimeError: Connection reset by peer \(traceback: "
    with pytest.raises(StageFailed, match=words), _reported(*stage):
        raise RuntimeError("Connection reset by peer")
