"""A stage's log: it has what the screen has, crashes included, and grows over resumes."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.config.recipe import Recipe
from bench.config.tasks import KnnTask
from bench.errors import BadInput, StageFailed
from bench.execute import local
from bench.execute.grid import Grid, plan_grid
from bench.execute.log_writer import copy
from bench.execute.request import Request
from bench.execute.stage_ending import how_it_ended, what_broke
from bench.execute.stage_log import LOG, logged, near
from bench.progress import Progress


def lines(folder: Path) -> list[str]:
    return [line for line in (folder / LOG).read_text().splitlines() if not line.startswith("--- ")]


def test_what_is_printed_is_on_its_stream_and_in_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), write_through=True))
    monkeypatch.chdir(tmp_path)
    for word in ("first", "second"):
        with logged(tmp_path, "convert x"):
            os.write(1, f"{word} out\n".encode())
            subprocess.run([sys.executable, "-c", f"import sys; print('{word} child', file=sys.stderr)"])
    os.write(1, b"after\n")
    shown = capfd.readouterr()
    assert shown.out.splitlines() == [f"log: {LOG}", "first out", f"log: {LOG}", "second out", "after"]
    assert shown.err.splitlines() == ["first child", "second child"]
    assert sorted(lines(tmp_path)) == ["first child", "first out", "second child", "second out"]
    assert (tmp_path / LOG).read_text().count("--- convert x, 20") == 2
    assert near(tmp_path / LOG) == Path(LOG)
    assert near(Path("/elsewhere")) == Path("/elsewhere")


@pytest.mark.parametrize("error", [BadInput("Give a folder."), ValueError("what it says")])
def test_an_error_is_noted_after_what_was_printed(tmp_path: Path, error: Exception) -> None:
    def stage() -> None:
        with logged(tmp_path, "knn x"):
            os.write(1, b"before")
            raise error

    with pytest.raises(type(error)):
        stage()
    assert lines(tmp_path) == ["before", str(error) if isinstance(error, BadInput) else f"ValueError: {error}"]


def test_what_a_killed_stage_said_last_is_kept(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\nfrom bench.execute.stage_log import logged\n"
        "with logged(pathlib.Path(sys.argv[1]), 'x'):\n"
        "    os.write(2, b'about to die'); os.killpg(0, 9)"
    )
    command = [sys.executable, "-c", program, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    assert (done.returncode, done.stderr) == (-9, "about to die")
    assert lines(tmp_path) == ["about to die"]


def test_a_process_that_is_left_behind_does_not_hold_the_stage(tmp_path: Path) -> None:
    waiting, end = os.pipe()
    with logged(tmp_path, "x"):
        if (left := os.fork()) == 0:  # with all open files of this process
            os.read(waiting, 1)
            os._exit(0)
        os.write(1, b"done\n")
    assert os.waitpid(left, os.WNOHANG) == (0, 0)
    os.write(end, b"\n")
    os.waitpid(left, 0)
    os.close(waiting)
    os.close(end)
    assert lines(tmp_path) == ["done"]


def test_a_stage_whose_output_is_the_log_already_writes_it_once(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys\nfrom bench.execute.stage_log import logged\n"
        "with logged(pathlib.Path(sys.argv[1]), 'x'): print('once')"
    )
    with (tmp_path / LOG).open("ab") as file:
        subprocess.run([sys.executable, "-c", program, tmp_path], stdout=file, stderr=file, check=True)
    assert (tmp_path / LOG).read_text() == "once\n"


def test_lines_that_overwrite_themselves_are_kept_as_they_end(tmp_path: Path) -> None:
    (read, write), (end, _), (shown, screen) = os.pipe(), os.pipe(), os.pipe()
    text = b"".join(b"\rloading %d %%" % number for number in range(101)) + b"\ndone\r\nhalf"
    os.write(write, text)
    os.close(write)
    with (tmp_path / LOG).open("ab") as log:
        copy(end, log.fileno(), read, screen)
    assert lines(tmp_path) == ["loading 100 %", "done", "half"]
    assert os.read(shown, 10_000) == text


def test_a_bar_stays_on_the_terminal_and_out_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_PLAIN", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    leader, follower = pty.openpty()
    before = os.dup(1)
    os.dup2(follower, 1)
    try:
        with logged(tmp_path, "x"), Progress("tiny", 4) as progress:
            progress.update(4)
            os.write(1, b"a note\n")
    finally:
        os.dup2(before, 1)
    os.close(follower)
    text = b""
    with contextlib.suppress(OSError):  # what a terminal says at its end
        while piece := os.read(leader, 10_000):
            text += piece
    assert "━" in text.decode()
    assert "\r\x1b[Ja note" in text.decode()  # in the place of the bar, which is drawn again
    assert sorted(line.partition(" steps")[0] for line in lines(tmp_path)) == ["a note", "tiny: 0/4", "tiny: 4/4"]


# ---------------------------------------------------------------------------------------------- how a stage ended


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    return plan_grid(Request(pretrain=["random_init"], profile="smoke", work_dir=tmp_path), act=False)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-signal.SIGKILL, "ended by SIGKILL; the machine may have run out of memory: lower workers, or "),
        (-signal.SIGSEGV, "ended by SIGSEGV (log: "),
        (1, "failed (exit code 1) (log: "),
    ],
)
def test_a_failed_stage_says_how_it_ended_and_where_its_log_is(
    grid: Grid, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "run_folder", lambda *_: code)
    monkeypatch.setattr(local, "can_fork", lambda: False)  # nothing will run
    with pytest.raises(StageFailed):
        local.run_grid(grid)
    line = next(line for line in capsys.readouterr().out.splitlines() if "ended" in line or "failed" in line)
    assert line.startswith(f"[1/{len(grid.to_do())}] pretrain random_init-s0: {words}")
    assert line.endswith(f"{grid.to_do()[0].folder}/{LOG})")


def test_what_takes_memory_is_named_where_the_kind_has_it() -> None:
    of_recipe, of_task = (how_it_ended(-9, kind.model_construct()) for kind in (Recipe, KnnTask))
    assert of_recipe.endswith(
        "memory: lower workers, or raise accumulate, or lower batch_size (--set; all but workers make it another run)"
    )
    assert of_task.endswith("memory: lower workers, or lower batch_size (--set; all but workers make it another run)")
    assert how_it_ended(-64, KnnTask.model_construct()) == "ended by SIGRTMAX"
    assert how_it_ended(-99, KnnTask.model_construct()) == "ended by signal 99"


@pytest.mark.parametrize(("ended", "code"), [(-signal.SIGINT, 130), (-signal.SIGKILL, -9), (2, 2), (0, 0)])
def test_a_stage_that_ended_by_sigint_was_interrupted(tmp_path: Path, ended: int, code: int) -> None:
    class Process:
        def wait(self, _timeout: float | None) -> int:
            return ended

    assert local.run_folder(tmp_path, 1, start=lambda *_: Process()) == code  # type: ignore[arg-type,return-value]


def test_ctrl_c_is_acknowledged_before_the_stage_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    class Process:
        pid = 0

        def wait(self, timeout: float | None = None) -> int:
            del timeout
            raise KeyboardInterrupt

    def stop(_process: object) -> int:
        said.append(capsys.readouterr().out)
        return 130

    monkeypatch.setattr(local, "_stop", stop)
    assert local.run_folder(tmp_path / "coco-s0-12", 1, start=lambda *_: Process()) == 130  # type: ignore[arg-type,return-value]
    assert said == ["Stopping coco-s0-12, in at most 120 s; its last checkpoint stays. Ctrl-C again ends it at once.\n"]


def test_an_error_about_memory_names_the_settings_that_take_less_and_others_do_not() -> None:
    task = KnnTask.model_construct(batch_size=256)
    said = what_broke(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), task)
    assert said.startswith("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB; memory ran out: ")
    assert "lower batch_size (now 256)" in said
    assert what_broke(ValueError("no"), task) == "ValueError: no"
