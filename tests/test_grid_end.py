"""What a grid says of itself: how long the rest takes, a summary at its end, and the command that is run then."""

from __future__ import annotations

import contextlib
import os
import pty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from bench import cli
from bench.config.load import load_recipe, load_task
from bench.errors import BadInput, Interrupted, MoreToDo, StageFailed
from bench.execute import grid as grid_module
from bench.execute import local, notify, summary
from bench.execute.grid import Grid
from bench.execute.grid_place import PLACE, able_to_run, place_in
from bench.execute.jobs.failure import write_failure
from bench.execute.notify import notify as run_notifier
from bench.execute.stage_file import Done, read_stage, write_done
from bench.execute.summary import status_of, summed_up, told
from bench.machine import WITHIN_GRID
from bench.peak_memory import memory_words
from bench.plan import Planner
from bench.progress import Progress
from bench.progress_bar import Place, in_grid, stage_seconds_left

COMMANDS = ["run", "table", "compare"]
WORDS = ["run", "--pretrain", "coco", "coco_two_loss", "--set", "a=b c"]


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """Two pretrainings, each converted and measured."""
    monkeypatch.setattr(local, "can_fork", lambda: False)
    planner = Planner(lambda name: f"fingerprint of {name}")
    recipes = [load_recipe(name, "smoke") for name in ("coco", "coco_two_loss")]
    stages = planner.grid(recipes, [load_task("imagenet_knn", "smoke")], [0])
    states = dict.fromkeys((stage.fingerprint for stage in stages), "to do")
    return Grid(stages, states, {}, {}, work_dir=tmp_path / "runs", results_dir=tmp_path / "results")  # type: ignore[arg-type]


def finishing(grid: Grid, fail: str = "", end: type[Exception] | None = None) -> Callable[..., int]:
    """What stands for a stage's process: it ends well at once, but that of the title `fail`."""

    def run_folder(folder: Path, *_: object) -> int:
        stage = read_stage(folder)
        if stage.title == fail:
            if end is not None:
                raise end("it ended")
            (folder / "log.txt").write_text("words\n")
            write_failure(folder, "failed", "The loss is nan \x1b[2J; lower the rate.", "log.txt", 1)
            return 1
        done = Done(fingerprint=stage.fingerprint, metrics={}, wall_seconds=60.0, finished="2020-01-01T00:00:00")
        write_done(folder, done)
        if stage.task is not None:
            (grid.results_dir / "records").mkdir(parents=True, exist_ok=True)
            (record,) = [each.record_name for each in grid.stages if each.title == stage.title]
            (grid.results_dir / "records" / record).write_text("{}")
        return 0

    return run_folder


def ended(grid: Grid, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int], command: str | None = None) -> None:
    monkeypatch.setattr(local, "run_folder", run)
    with summed_up(grid, WORDS, COMMANDS, command):
        local.run_grid(grid)


# ----------------------------------------------------------------------------------------------------------- the rest


def test_the_rest_is_timed_by_what_is_done(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = []

    def run(folder: Path, *words: object) -> int:
        monkeypatch.setenv(WITHIN_GRID, "1")
        place = place_in(folder)
        assert place is not None
        places.append((place.number, place.of, place.seconds, place.seconds_after))
        return finishing(grid)(folder)

    monkeypatch.setattr(local, "run_folder", run)
    local.run_grid(grid)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("grid:")]
    # The two pretrainings are other work: nothing is said as long as the second was not done.
    assert lines == ["grid: 4 of 6 stages, about 2 min left", "grid: 5 of 6 stages, about 60 s left"]
    assert [place[:2] for place in places] == [(number, 6) for number in range(1, 7)]
    assert [place[2] for place in places] == [None, None, None, None, 60, 60]
    assert [place[3] for place in places] == [None, None, None, 120, 60, 0]
    assert not list(grid.work_dir.rglob(PLACE))


def test_what_cannot_run_takes_no_time(grid: Grid) -> None:
    first = grid.stages[0]
    able = able_to_run(grid.stages[1:], {first.fingerprint: 1})
    assert [stage.title for stage in able] == [
        stage.title for stage in grid.stages[1:] if stage.recipe.name != first.recipe.name
    ]


@pytest.mark.parametrize(
    "said",
    ["", "{", "[]", '{"number": 3}', '{"number": 0, "of": 2}', '{"number": 3, "of": 2}', '{"number": "1", "of": 1}'],
)
def test_a_place_that_is_not_said_costs_nothing(tmp_path: Path, said: str) -> None:
    (tmp_path / PLACE).write_text(said)
    assert place_in(tmp_path, {WITHIN_GRID: "1"}) is None
    (tmp_path / PLACE).write_text('{"number": 1, "of": 2, "seconds": NaN, "seconds_after": -1}')
    place = place_in(tmp_path, {WITHIN_GRID: "1"})
    assert place is not None
    assert (place.seconds, place.seconds_after) == (None, None)
    assert place_in(tmp_path, {}) is None  # of a stage that no grid started


def test_seconds_of_a_stage() -> None:
    assert stage_seconds_left(None, 5, None, "steps") is None
    assert stage_seconds_left(None, 5, 30, "images") is None  # one loop of several
    assert stage_seconds_left(None, 5, 30, "steps") == 30
    assert stage_seconds_left(100, 40, 30, "images") == 60
    assert stage_seconds_left(100, 90, 30, "images") == 30
    assert stage_seconds_left(100, 140, None, "") == 0
    assert Place(1, 2, None, None, began=0).left(30, "steps", 10) is None
    assert Place(1, 2, 50.0, 100.0, began=0).left(None, "", 10) == 140


# ----------------------------------------------------------------------------------------------------------- the bars


def bars(monkeypatch: pytest.MonkeyPatch, width: int, place: Place | None) -> list[str]:
    """What stands on a terminal after each drawing of a loop of a stage, without colours."""
    monkeypatch.delenv("BENCH_PLAIN", raising=False)
    monkeypatch.setenv("TERM", "dumb-but-wide")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    now = [0.0]
    leader, follower = pty.openpty()
    with (
        os.fdopen(follower, "w") as terminal,
        in_grid(place),
        Progress("coco_two_loss-s0", 800, stream=terminal, clock=lambda: now[0]) as progress,
    ):
        for _ in range(3):
            now[0] += 4
            progress.update(10, loss=2.3, **{"waiting for data": "3%"})
    text = b""
    with contextlib.suppress(OSError):
        while piece := os.read(leader, 100_000):
            text += piece
    os.close(leader)
    return text.decode().split("\r\x1b[J")


@pytest.mark.parametrize("width", [100, 60])
def test_the_grid_has_a_bar_below_that_of_its_stage(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    *drawn, last = bars(monkeypatch, width, Place(3, 12, None, 840.0))
    below = [each for each in "".join(drawn).splitlines() if each.startswith("grid ")]
    assert "stage 3 of 12, about 19:08 left" in below[-1]  # 14 minutes, and 308 s of the steps
    assert ("data wait 3%, memory " in below[-1]) == (width == 100)
    assert max(len(line) for line in below) <= width
    assert "━" in below[-1]  # words that have no room do not push the bar away
    # At the end of the loop its bar stays, without that of the grid.
    assert "30/800 steps" in last
    assert "grid" not in last


def test_without_a_grid_all_is_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    last = bars(monkeypatch, 160, None)[-1]
    assert "30/800 steps, 2.5 steps/s, 5:08 left, loss 2.3, data wait 3%, memory " in last
    assert memory_words({"process": 1210.0, "gpu": 900.0}) == "1.2 GiB + GPU 900 MiB"
    assert memory_words({}) == ""


# -------------------------------------------------------------------------------------------------------- the summary


def test_a_grid_that_is_done_says_where_to_look(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(grid, monkeypatch, finishing(grid))
    *_, first, table, compare = capsys.readouterr().out.splitlines()
    assert first == "summary: 6 of 6 stages ran in 1 s"
    assert table == f"results  bench table --results-dir {grid.results_dir}"
    assert compare == f"         bench compare coco coco_two_loss --results-dir {grid.results_dir}"
    for stage in grid.stages:
        grid.states[stage.fingerprint] = "recorded" if stage.is_task else "not needed"
    ended(grid, monkeypatch, finishing(grid))
    assert "summary: nothing was to be done; 2 were recorded or done before" in capsys.readouterr().out


def test_every_command_that_is_named_exists(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "run_folder", finishing(grid))
    local.run_grid(grid)
    there = list(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    lines = summary.summary(grid, "done", None, 1.0, WORDS, there)
    named = [line.partition("bench ")[2].split()[0] for line in lines if "bench " in line]
    assert {"table", "compare"} <= set(named) <= set(there)
    assert ("report" in named) == ("report" in there)
    if "report" in there:  # with the logs and pictures of this very grid
        folders = f"--work-dir {grid.work_dir} --results-dir {grid.results_dir}"
        assert f"         bench report {folders}" in lines


def test_a_grid_that_failed_says_why_and_how_to_go_on(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(grid.work_dir.parent)
    with pytest.raises(StageFailed):
        ended(grid, monkeypatch, finishing(grid, fail="pretrain coco-s0"))
    text = capsys.readouterr().out
    lines = text[text.index("summary:") :].splitlines()
    folder = next(stage.folder for stage in grid.stages if stage.title == "pretrain coco-s0")
    assert lines == [
        "summary: 3 of 6 stages ran in 1 s, 1 failed, 2 not run",
        f"failed   pretrain coco-s0: The loss is nan \\x1b[2J; lower the rate. (log: runs/{folder}/log.txt)",
        "go on    bench run --pretrain coco coco_two_loss --set 'a=b c'  (what is done is skipped)",
        f"results  bench table --results-dir {grid.results_dir}",
    ]


def test_many_failures_are_few_lines(grid: Grid) -> None:
    _, folders = local.prepare(grid, "fail")
    for folder in folders.values():
        write_failure(folder, "failed", "x" * 5000, "log.txt", 1)
    lines = summary.summary(grid, "failed", StageFailed("all"), 1.0, WORDS, COMMANDS)
    assert len(lines) <= 12
    assert max(map(len, lines)) < 700
    assert "         and 3 more; bench status lists them" in lines


@pytest.mark.parametrize(
    ("error", "status"),
    [(Interrupted, "interrupted"), (MoreToDo, "time"), (KeyboardInterrupt, "interrupted"), (RuntimeError, "failed")],
)
def test_a_grid_that_was_stopped_is_told_so(
    grid: Grid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: type[Exception],
    status: str,
) -> None:
    file = tmp_path / "said"
    with pytest.raises(error):
        ended(
            grid,
            monkeypatch,
            finishing(grid, "convert coco-s0", error),
            f'echo "${notify.STATUS}" > {file}; cat >> {file}',
        )
    first, *lines = file.read_text().splitlines()
    assert first == status
    assert lines[0].startswith("summary: ")
    assert " left" in lines[0]
    text = capsys.readouterr().out
    assert text.rstrip().endswith("\n".join(lines))
    # The command that goes on is said by what catches these; of another error it is said here.
    assert ("go on" in text) == (status == "failed")
    assert ("failed   it ended" in text) == (status == "failed")


def test_how_commands_end() -> None:
    assert [status_of(error) for error in (None, BadInput("x"), Interrupted("x"))] == ["done", "failed", "interrupted"]


def test_what_cannot_be_summed_up_hides_nothing(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    def gone(*_: object) -> list[str]:
        raise OSError("the disk is gone")

    with pytest.raises(StageFailed, match="it broke"), told("cat", gone):
        raise StageFailed("it broke")
    assert capsys.readouterr().out == "summary: it cannot be said what ran (the disk is gone)\n"


# -------------------------------------------------------------------------------------------------------- the notifier


def test_a_notifier_gets_the_summary_as_data(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    text = [f"$(touch {bad}) `touch {bad}`; touch {bad} #", "\"' && false", "zero \0 byte", "half \udcff"]
    keep = 'printf "%s|%s" "$BENCH_NOTIFY_STATUS" "$BENCH_NOTIFY_SUMMARY" > env; cat > given'
    assert run_notifier(f"cd {tmp_path} && {keep}", "done", text) is None
    assert (tmp_path / "env").read_bytes() == b"done|" + os.fsencode("\n".join(text).replace("\0", ""))
    assert (tmp_path / "given").read_text() == "\n".join(text).replace("\udcff", "\\udcff") + "\n"
    assert not bad.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("true", None),
        ("sleep 9 &", None),  # what it leaves in the background holds nobody up
        ("exit 3", "the command ended with exit code 3"),
        (
            "echo one; printf 'no\\033[2J network\\n' >&2; exit 1",
            "the command ended with exit code 1: no\\x1b[2J network",
        ),
        ("kill -9 $$", "the command was ended by signal 9"),
        ("no-such-command", "exit code 127"),
    ],
)
def test_a_notifier_that_fails_is_one_line(command: str, said: str | None) -> None:
    found = run_notifier(command, "failed", ["x" * 1_000_000])
    if said is None:
        assert found is None
        return
    assert found is not None
    assert said in found
    assert found.isprintable()


def test_a_notifier_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    leader, follower = os.pipe()
    os.set_inheritable(follower, True)
    # The other end of the pipe is closed once all of its processes have ended.
    with pytest.MonkeyPatch.context() as patch:
        popen = notify.subprocess.Popen
        patch.setattr(notify.subprocess, "Popen", lambda *words, **more: popen(*words, **more, pass_fds=[follower]))
        found = run_notifier("sleep 600 & sleep 600", "done", [], limit=0.2)
    os.close(follower)
    assert found == "--notify: the command had not ended after 0.2 s, and was ended"
    assert os.read(leader, 1) == b""
    os.close(leader)


def test_a_notifier_that_fails_fails_no_run(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(grid, monkeypatch, finishing(grid), "echo no network; false")
    assert capsys.readouterr().out.splitlines()[-1] == "--notify: the command ended with exit code 1: no network"
    monkeypatch.setattr(notify.tempfile, "TemporaryFile", lambda: (_ for _ in ()).throw(OSError("disk is full")))
    assert run_notifier("true", "done", []) == "--notify: the command cannot be started (disk is full)"


@pytest.fixture
def planned(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grid]:
    monkeypatch.setattr(grid_module, "plan_grid", lambda *_, **__: grid)
    return grid


def test_the_command_line_sums_up_and_notifies(
    planned: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(local, "run_folder", finishing(planned, "pretrain coco-s0"))
    file = tmp_path / "said"
    words = ["run", "--pretrain", "coco", "--notify", f"cat > {file}"]
    assert cli.run(words) == 1
    text = capsys.readouterr().out
    assert file.read_text().startswith("summary: 3 of 6 stages ran")
    assert f"go on    bench run --pretrain coco --notify 'cat > {file}'" in text
    assert cli.run([*words, "--executor", "slurm", "--time", "60"]) == 2
    assert "bench status --watch, or give Slurm --slurm-extra mail-type=END,FAIL." in capsys.readouterr().err
