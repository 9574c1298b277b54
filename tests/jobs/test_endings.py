"""How stages end without a result, what is noted of that, and what is asked of those that run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from filelock import FileLock

from bench import cli
from bench.config.load import load_recipe, load_task
from bench.errors import BadInput, Interrupted, StageFailed
from bench.execute import local, parent, schedule
from bench.execute.grid import Grid
from bench.execute.jobs import executor, logs
from bench.execute.jobs.cancel import cancel
from bench.execute.jobs.cancelling import ask_to_cancel, is_cancelled
from bench.execute.jobs.executor import Executor, State, executor_for, executor_of
from bench.execute.jobs.failure import FAILED, noting_failure, read_failure, write_failure
from bench.execute.jobs.holder import HOLDER
from bench.execute.jobs.local import LocalExecutor, interrupt, note_jobs
from bench.execute.jobs.logs import show_log
from bench.execute.jobs.process import host, started_at
from bench.execute.jobs.status import rows
from bench.execute.jobs.submission import Submission, read_submission, write_submission
from bench.execute.rank_endings import STARTED_BY
from bench.execute.stopping import AskedToStop, stoppable
from bench.import_path import command
from bench.plan import Planner
from bench.progress import Progress, noted_in

ONE, OTHER = "coco", "coco_two_loss"


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    """Two pretrainings, each converted."""
    planner = Planner(lambda name: f"fingerprint of {name}")
    stages = planner.grid(
        [load_recipe(name, "smoke") for name in (ONE, OTHER)], [load_task("imagenet_knn", "smoke")], [0]
    )
    return Grid(
        stages=[stage for stage in stages if not stage.is_task],
        states=dict.fromkeys((stage.fingerprint for stage in stages), "to do"),
        roots={},
        problems={},
        work_dir=tmp_path / "runs",
        results_dir=tmp_path / "results",
    )


def walked(grid: Grid, monkeypatch: pytest.MonkeyPatch, run: Callable[[Path], int]) -> list[str]:
    """Walk a grid whose stages `run` stands for, and return which were started."""
    started = []

    def run_folder(folder: Path, *_: object) -> int:
        started.append(folder.name.rpartition("-")[0])
        return run(folder)

    monkeypatch.setattr(local, "run_folder", run_folder)
    monkeypatch.setattr(local, "can_fork", lambda: False)
    with pytest.raises((StageFailed, Interrupted)) as error:
        local.run_grid(grid)
    return [*started, str(error.value)]


def of(grid: Grid, title: str) -> Path:
    (stage,) = [stage for stage in grid.stages if stage.title == title]
    return grid.work_dir / stage.folder


def test_a_stage_that_a_signal_ended_is_noted_with_what_it_may_mean(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked(grid, monkeypatch, lambda folder: -9 if folder.name.startswith("coco-") else 0)
    failure = read_failure(of(grid, "pretrain coco-s0"))
    assert failure is not None
    assert (failure.ending, failure.signal, failure.code) == ("failed", "SIGKILL", None)
    assert failure.reason.startswith("ended by SIGKILL; the machine may have run out of memory: lower workers")
    states = {row.title: (row.state, row.reason) for row in rows(grid.work_dir)}
    assert states["pretrain coco-s0"] == ("failed", failure.reason)
    assert states["convert coco-s0"] == ("not run", "pretrain coco-s0 failed")


def test_what_the_stage_said_itself_stays(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(folder: Path) -> int:
        write_failure(folder, "failed", "a sentence of its own", "log.txt", 1)
        return 1

    walked(grid, monkeypatch, run)
    failure = read_failure(of(grid, "pretrain coco-s0"))
    assert failure is not None
    assert failure.reason == "a sentence of its own"


def test_a_cancelled_stage_leaves_the_others_of_its_grid(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(folder: Path) -> int:
        if "two_loss" in folder.name:
            return 0
        ask_to_cancel(folder)
        write_failure(folder, "stopped", "a signal stopped it", "log.txt", 130)
        return Interrupted.exit_code

    message = "2 of 4 stages did not finish: pretrain coco-s0, convert coco-s0."
    assert walked(grid, monkeypatch, run) == ["coco-s0", "coco_two_loss-s0", "coco_two_loss-s0", message]
    failure = read_failure(of(grid, "pretrain coco-s0"))
    assert failure is not None
    assert (failure.ending, failure.reason) == ("stopped", "cancelled by bench cancel; its last checkpoint stays")
    # The next grid runs it again.
    assert walked(grid, monkeypatch, lambda _folder: Interrupted.exit_code)[0] == "coco-s0"
    assert not is_cancelled(of(grid, "pretrain coco-s0"))


def test_a_stage_that_was_cancelled_before_its_turn_is_not_started(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(folder: Path) -> int:
        ask_to_cancel(of(grid, "pretrain coco_two_loss-s0"))
        return 0

    started = walked(grid, monkeypatch, run)
    assert started == [
        "coco-s0",
        "coco-s0",
        "2 of 4 stages did not finish: pretrain coco_two_loss-s0, convert coco_two_loss-s0.",
    ]
    failure = read_failure(of(grid, "pretrain coco_two_loss-s0"))
    assert failure is not None
    assert failure.ending == "stopped"


@pytest.mark.parametrize(
    ("error", "ending", "code", "reason"),
    [
        (BadInput("Give a folder."), "failed", 2, "Give a folder."),
        (StageFailed("It broke."), "failed", 1, "It broke."),
        (Interrupted("Stopped."), "stopped", 130, "a signal stopped it; it goes on from its last checkpoint"),
        (KeyboardInterrupt(), "stopped", 130, "a signal stopped it; it goes on from its last checkpoint"),
        (RuntimeError("what it says"), "failed", 1, "RuntimeError: what it says"),
    ],
)
def test_a_stage_notes_how_it_ends(tmp_path: Path, error: BaseException, ending: str, code: int, reason: str) -> None:
    with pytest.raises(type(error)), noting_failure(tmp_path, "log.txt"):
        raise error
    failure = read_failure(tmp_path)
    assert failure is not None
    assert (failure.ending, failure.code, failure.reason) == (ending, code, reason)
    with noting_failure(tmp_path, "log.txt"):
        assert not (tmp_path / FAILED).exists()
    assert not (tmp_path / FAILED).exists()


def test_a_note_that_cannot_be_written_hides_no_error(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="It broke"), noting_failure(tmp_path / "none", "log.txt"):
        raise StageFailed("It broke.")


# ------------------------------------------------------------------------------------------------------------ signals


@pytest.fixture
def hang_up() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_asks_once_however_often_it_says_so(hang_up: None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stayed = False
    with stoppable():
        with pytest.raises(AskedToStop, match="SIGHUP"):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        stayed = True
    assert stayed
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_nohup_ignores_stays_ignored(hang_up: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stoppable():
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        with pytest.raises(AskedToStop):
            os.kill(os.getpid(), signal.SIGTERM)


def test_stages_side_by_side_ignore_it_too(hang_up: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with schedule._signals() as noted:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
    assert noted == [signal.SIGTERM]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no file that cannot be written")
def test_a_terminal_that_takes_no_word_does_not_change_the_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "bench", "stage", str(tmp_path)]
        assert subprocess.run(command, stdout=full, stderr=full, check=False).returncode == BadInput.exit_code


def test_another_thread_than_the_main_one_catches_nothing() -> None:
    entered = []

    def enter() -> None:
        with stoppable():
            entered.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [signal.getsignal(signal.SIGTERM)]


def test_a_process_whose_parent_has_ended_before_it_asks_ends(tmp_path: Path) -> None:
    """The system tells of a parent's end only those that have asked by then."""
    program = "from bench.execute.parent import end_if_told; end_if_told(); print('goes on')"
    for told, code in ((str(os.getpid()), 0), (str(os.getppid()), 128 + signal.SIGTERM)):
        environ = os.environ | {parent.ENDS_WITH: told}
        done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, "goes on\n" if code == 0 else ""), done.stderr


def test_a_rank_whose_launcher_has_ended_before_it_asks_begins_nothing(grid: Grid) -> None:
    """A rank imports for some seconds before it asks; the stage may be run anew by then."""
    local.prepare(grid, "fail")
    folder = of(grid, "pretrain coco-s0")
    environ = os.environ | {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", STARTED_BY: str(os.getppid())}
    command = [sys.executable, "-m", "bench", "stage", str(folder)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGKILL, done.stderr
    assert not (folder / "ranks.lock").exists()


# ----------------------------------------------------------------------------------------------------- bench cancel


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own that says when it has been interrupted, and ends."""
    program = (
        "import signal, sys\nprint('ready', flush=True)\n"
        "signal.sigwait({signal.SIGINT}); print('interrupted', flush=True)"
    )
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", block + program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()


def test_one_stage_is_ended_by_its_process_and_the_grid_knows(
    grid: Grid, sleeper: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, folders = local.prepare(grid, "fail")
    note_jobs(os.getpid(), list(folders.values()))  # this process would walk the grid, and must not be interrupted
    folder, later = of(grid, "pretrain coco-s0"), of(grid, "convert coco-s0")
    with FileLock(folder / "lock"):
        (folder / HOLDER).write_text(f"process {sleeper.pid} on {host()}\n{started_at(sleeper.pid)}\n")
        words = ["cancel", "pretrain coco-s0", str(later), "--work-dir", str(grid.work_dir)]
        assert cli.run(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "pretrain coco-s0: was asked to end; it writes its last checkpoint first",
        "convert coco-s0: will not be started",
    ]
    assert sleeper.communicate(timeout=60)[0] == "interrupted\n"
    assert is_cancelled(folder)
    assert is_cancelled(later)
    assert not is_cancelled(of(grid, "pretrain coco_two_loss-s0"))


def test_all_is_ended_by_whoever_walks_the_grid(grid: Grid, sleeper: subprocess.Popen[str]) -> None:
    _, folders = local.prepare(grid, "fail")
    note_jobs(sleeper.pid, list(folders.values()))
    assert len(cancel(grid.work_dir, None)) == 4
    assert sleeper.communicate(timeout=60)[0] == "interrupted\n"
    assert not any(is_cancelled(folder) for folder in folders.values())
    assert cancel(grid.work_dir, None) == ["nothing runs or waits"]


def test_a_number_that_means_another_process_by_now_is_left_alone(sleeper: subprocess.Popen[str]) -> None:
    assert not interrupt(sleeper.pid, "another boot:12", host())
    assert sleeper.poll() is None
    assert interrupt(sleeper.pid, started_at(sleeper.pid), host(), group=True)
    assert sleeper.communicate(timeout=60)[0] == "interrupted\n"


def test_what_runs_on_another_machine_is_ended_there(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    local.prepare(grid, "fail")
    folder = of(grid, "pretrain coco-s0")
    note_jobs(os.getpid(), [folder])
    with FileLock(folder / "lock"):
        (folder / HOLDER).write_text("process 12 on far-away\n7:8\n")
        with pytest.raises(BadInput, match=r"^pretrain coco-s0: it was started on far-away, and this is .*; cancel it"):
            cancel(grid.work_dir, [folder])
    assert not is_cancelled(folder)


def test_what_has_ended_is_said_and_stages_must_be_named(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    local.prepare(grid, "fail")
    folder = of(grid, "pretrain coco-s0")
    write_failure(folder, "failed", "it broke", "log.txt", 1)
    assert cancel(grid.work_dir, [folder]) == ["pretrain coco-s0: nothing to end, it is failed"]
    assert cli.run(["cancel", "--work-dir", str(grid.work_dir)]) == 2
    assert capsys.readouterr().err == "bench: bench cancel takes the stages to end, or --all; give one of the two.\n"
    assert cli.run(["cancel", "convert", "--all", "--work-dir", str(grid.work_dir)]) == 2


# ------------------------------------------------------------------------------------------- detached, logs, progress


def test_who_runs_a_grid() -> None:
    assert executor_for("local", ["run", "--smoke"], False, {}) is None
    detached = executor_for("local", ["run", "--detach", "--smoke"], True, {})
    assert isinstance(detached, LocalExecutor)
    assert detached.words == ["run", "--smoke"]
    ours: Executor = executor_of("local")
    with pytest.raises(BadInput, match="give bench run --detach"):
        ours.submit(None, {}, [])  # type: ignore[arg-type]


def test_a_detached_grid_is_told_in_the_folders_of_its_stages(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[str]
) -> None:
    asked: list[list[str]] = []

    def popen(command: list[str], **told: object) -> subprocess.Popen[str]:
        asked.append(command)
        assert told["start_new_session"]
        return sleeper

    monkeypatch.setattr("bench.execute.jobs.local.subprocess.Popen", popen)
    to_do, folders = local.prepare(grid, "fail")
    jobs = LocalExecutor(["run", "--smoke"]).submit(grid, folders, to_do)
    assert asked == [command("run", "--smoke")]
    assert [job.id for job in jobs] == [str(sleeper.pid)] * 4
    assert read_submission(of(grid, "convert coco-s0")) == jobs[0]


def test_a_job_elsewhere_that_has_not_ended_stays_noted(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody could cancel it any more."""
    _, folders = local.prepare(grid, "fail")
    queued, ended = list(folders.values())[:2]
    jobs = [Submission(executor="queue", id=name, host="login", submitted="", log="log.txt") for name in ("7", "8")]
    for folder, job in zip((queued, ended), jobs, strict=True):
        write_submission(folder, job)

    class Queue:
        def states(self, some: list[Submission]) -> dict[str, State]:
            return {each.id: State("waiting" if each.id == "7" else "ended") for each in some}

    monkeypatch.setitem(executor.OURS, "queue", "queue_for_tests:Queue")
    monkeypatch.setitem(sys.modules, "queue_for_tests", types.SimpleNamespace(Queue=Queue))
    noted = note_jobs(os.getpid(), list(folders.values()))
    assert [job.executor for job in noted] == ["queue", "local", "local", "local"]
    assert [read_submission(folder) for folder in folders.values()] == noted


def test_a_work_folder_that_cannot_be_written_is_said_in_a_sentence(grid: Grid, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"Cannot write to .*none .*give another --work-dir"):
        note_jobs(os.getpid(), [tmp_path / "none"])


def test_a_log_is_printed_and_followed_to_its_end(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    _, folders = local.prepare(grid, "fail")
    note_jobs(os.getpid(), list(folders.values()))
    folder = of(grid, "pretrain coco-s0")
    words = ["logs", "pretrain coco-s0", "--work-dir", str(grid.work_dir)]
    assert cli.run(words) == 2
    assert b"has no log yet (it is waiting); bench status says how it gets on" in capsysbinary.readouterr().err
    (folder / "log.txt").write_bytes(b"first \xff\n")
    assert cli.run(words) == 0
    assert capsysbinary.readouterr().out == b"first \xff\n"

    def sleep(_seconds: float) -> None:
        with (folder / "log.txt").open("ab") as log:
            log.write(b"more\n")
        write_failure(folder, "failed", "it broke", "log.txt", 1)

    monkeypatch.setattr(logs.time, "sleep", sleep)
    assert cli.run([*words, "--follow"]) == 0
    assert capsysbinary.readouterr().out == b"first \xff\nmore\n"


def test_a_log_that_is_followed_asks_a_cluster_seldom(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its controller answers all who use it."""
    (tmp_path / "bin").mkdir()
    squeue = tmp_path / "bin" / "squeue"
    squeue.write_text(f"#!/bin/sh\necho >> {tmp_path}/asked\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    _, folders = local.prepare(grid, "fail")
    for number, folder in enumerate(folders.values()):
        write_submission(folder, Submission(executor="slurm", id=f"{number}", host=host(), submitted="", log="log.txt"))
    folder, clock, asked = of(grid, "pretrain coco-s0"), Clock(), list[tuple[float, int]]()

    def states_of(jobs: Iterable[Submission]) -> dict[Submission, State]:
        some = list(jobs)
        asked.append((clock.now, len(some)))
        return dict.fromkeys(some, State("ended" if clock.now > 100 else "running"))

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(logs, "states_of", states_of)
    monkeypatch.setattr(logs.time, "monotonic", clock)
    monkeypatch.setattr(logs.time, "sleep", sleep)
    show_log(folder, grid.work_dir, follow=True)
    assert not (tmp_path / "asked").exists()  # but by what stands for it here
    assert 100 < clock.now <= 100 + logs.ASK_SECONDS + logs.LOOK_SECONDS
    times = [moment for moment, _ in asked]
    assert [count for _, count in asked] == [1] * len(asked)  # about this stage alone
    assert all(later - before >= logs.ASK_SECONDS for before, later in pairwise(times))
    assert len(times) > 5


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_is_noted_for_other_processes_every_three_seconds_and_at_both_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, file = Clock(), tmp_path / "progress.json"
    file.write_text("of an earlier sitting")
    seen = []
    with noted_in(file):
        assert not file.exists()
        with Progress("coco-s0", 40, clock=clock) as progress:
            for _ in range(20):
                clock.now += 1
                progress.update(1, **{"waiting for data": "12%"})
                seen.append(json.loads(file.read_text())["done"])
    assert seen == [0] * 4 + [5] * 5 + [10] * 5 + [15] * 5 + [20]  # when a line is drawn
    expected = {"title": "coco-s0", "done": 20, "total": 40, "unit": "steps", "seconds_left": 20.0}
    noted = json.loads(file.read_text())
    assert noted.pop("peak_memory_mib")["process"] > 1
    assert noted == {**expected, "waiting_for_data": "12%"}
    assert [each.name for each in tmp_path.iterdir()] == ["progress.json"]


def test_a_note_of_progress_that_cannot_be_written_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with noted_in(tmp_path / "none" / "progress.json"), Progress("coco-s0", 1, clock=Clock()) as progress:
        progress.update(1)
    assert capsys.readouterr().out.splitlines()[-1] == "coco-s0: 1/1 steps"
