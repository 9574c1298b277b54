"""The live view of a work folder: what it shows at which width, when it ends, and that no file commands a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from rich.cells import cell_len
from rich.console import Console

from bench import cli
from bench.execute.grid_view import GridView
from bench.execute.jobs import executor, watch
from bench.execute.jobs.durations import Durations, durations_in, seconds_left
from bench.execute.jobs.executor import State
from bench.execute.jobs.failure import write_failure
from bench.execute.jobs.local import note_jobs
from bench.execute.jobs.status import Row, lines, progress_words, rows
from bench.execute.jobs.submission import Submission
from bench.execute.jobs.view import Look, listed, screen
from bench.files import with_checksum
from bench.printable import cut_middle, printable
from bench.progress import PROGRESS

NOTE = {"done": 120, "total": 400, "unit": "steps", "seconds_left": 181.0}
HOSTILE = "a\x1b]0;owned\x07\x1b[2J\r\nb\u202e\x9b31m[red]c[/red]\x00"


def stage(kind: str, recipe: str, task: str | None = None, seed: int = 0, **more: Any) -> dict[str, Any]:
    before = {"convert": {"pretrain": f"pretrain/{recipe}-s{seed}-x"}, "pretrain": {}}
    inputs = before.get(kind, {"convert": f"convert/{recipe}-s{seed}-x"})
    label = f"{recipe}--{task}-s{seed}" if task else f"{recipe}-s{seed}"
    content = {"kind": kind, "label": label, "seed": seed, "fingerprint": f"{kind} {label}", "inputs": inputs}
    return content | {"recipe": {"name": recipe}, "task": {"name": task} if task else None} | more


class Work:
    """A work folder of two pretrainings, each converted and measured."""

    def __init__(self, place: Path, names: Iterable[str] = ("coco", "coco_two_loss")) -> None:
        self.dir = place / "runs"
        self.folders: dict[str, Path] = {}
        for name in names:
            for content in (stage("pretrain", name), stage("convert", name), stage("knn", name, "imagenet_knn")):
                self.add(content)
        note_jobs(os.getpid(), list(self.folders.values()))

    def add(self, content: dict[str, Any]) -> Path:
        label = content["label"]
        folder = self.dir / content["kind"] / (f"{label}-x" if label.isprintable() and len(label) < 99 else "odd-x")
        folder.mkdir(parents=True)
        (folder / "stage.json").write_text(json.dumps(content))
        self.folders[f"{content['kind']} {label}"] = folder
        return folder

    def finish(self, title: str, seconds: float = 1.0, **more: Any) -> None:
        done = {"fingerprint": title, "wall_seconds": seconds, "files": {}, **more}
        (self.folders[title] / "done.json").write_text(with_checksum(done))

    def note(self, title: str, **changes: Any) -> None:
        (self.folders[title] / PROGRESS).write_text(json.dumps({**NOTE, **changes}))

    def holding(self, title: str) -> FileLock:
        return FileLock(self.folders[title] / "lock")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def row(state: str, content: Mapping[str, Any], note: Mapping[str, Any] | None = None, **more: Any) -> Row:
    kind, label, note = content["kind"], content["label"], note or {}
    folder = Path("runs") / kind / f"{label}-x"
    known = {"progress": progress_words(note), "stage": content, "note": note, "log": None}
    return Row(title=f"{kind} {label}", state=state, folder=folder, **{**known, **more})  # type: ignore[arg-type]


def drawn(found: list[Row], width: int, height: int, left: float | None = None) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(screen(Look(found, Path("runs"), left), console, height, "q leaves"), highlight=False)
    return console.file.getvalue().removesuffix("\n").split("\n")  # type: ignore[attr-defined]


LONG = "imagenet_simclr_with_a_very_long_name_that_does_not_end_for_a_while"


def some_rows() -> list[Row]:
    noted = NOTE | {"peak_memory_mib": {"process": 1210.0, "gpu": 10400.0}, "waiting_for_data": "3%"}
    log = Path("runs/pretrain") / f"{LONG}-s1-0123456789ab" / "log.txt"
    why = "The loss is nan at step 1200 of 40000; lower the learning rate, or look at what the log says of the batches"
    found = [row("running", stage("pretrain", "coco"), noted), row("waiting", stage("convert", "coco"))]
    for seed, state, after in ((0, "done", "waiting"), (1, "failed", "not run")):
        more = {"reason": why, "log": log} if state == "failed" else {}
        found.append(row(state, stage("pretrain", LONG, seed=seed), **more))
        found.append(row(after, stage("convert", LONG, seed=seed)))
        found.append(row(after, stage("segmentation", LONG, "cityscapes_pspnet", seed)))
    return found


# -------------------------------------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize(("done", "total", "shown"), [(14, 30, "46"), (29, 100, "29"), (999, 1000, "99"), (0, 7, "0")])
def test_the_table_and_the_words_have_the_same_share(done: int, total: int, shown: str) -> None:
    text = "\n".join(drawn([row("running", stage("pretrain", "coco"), NOTE | {"done": done, "total": total})], 100, 40))
    assert re.findall(r"(\d+) %", text) == [shown, shown]


@pytest.mark.parametrize("width", [100, 60])
def test_a_screen_is_a_table_with_what_runs_and_what_failed(width: int) -> None:
    found = drawn(some_rows(), width, 40, left=7200)
    assert all(cell_len(line) <= width for line in found)
    text = "\n".join(found)
    assert "1 of 8 stages done, about 2 h 0 min left" in text
    assert "1 done, 1 running, 3 waiting, 1 failed, 2 not run" in text
    header = found.index(next(line for line in found if line.lstrip().startswith("pretrain ")))
    assert found[header].split()[:2] == ["pretrain", "convert"]
    table = [line.split() for line in found[header + 1 : header + 4]]
    assert table[0] == ["coco-s0", "30", "%", "waiting", "–"]
    assert table[1][1:] == ["done", "waiting", "waiting"]
    assert table[2][1:] == ["failed", "not", "run", "not", "run"]
    for name, seed in ((table[1][0], 0), (table[2][0], 1)):  # the middle is left out, and not what tells them apart
        assert name.startswith("imagenet")
        assert name.endswith(f"-s{seed}")
        assert "…" in name
    joined = " ".join(text.split())
    assert "step 120 of 400, 30 %, about 3 min left" in joined
    assert "data wait 3%" in joined
    assert "memory 1.2 GiB + GPU 10.2 GiB" in joined
    assert "lower the learning rate" in joined
    # The path of the log is there in full.
    assert f"log: runs/pretrain/{LONG}-s1-0123456789ab/log.txt" in "".join(line.strip() for line in found)
    assert found[-1] == "q leaves"


def test_many_tasks_are_a_list_with_what_matters_first() -> None:
    found = [row("done", stage("knn", "coco", f"task_{number}")) for number in range(12)]
    found.append(row("failed", stage("knn", "coco", "broken"), reason="it broke"))
    shown = drawn(found, 60, 30)
    assert shown[4].split() == ["failed", "knn", "coco--broken-s0"]
    assert "done      knn coco--task_3-s0" in shown
    assert listed(found, 60, 5)[-1].plain == "not shown: 9 stages: 9 done"


@pytest.mark.parametrize("height", [4, 6, 10, 14, 24])
@pytest.mark.parametrize("width", [1, 8, 30, 60, 200])
def test_any_size_of_a_terminal_is_kept_to(width: int, height: int) -> None:
    found = some_rows() + [row("waiting", stage("pretrain", f"more_{number}")) for number in range(40)]
    shown = drawn(found, width, height)
    assert len(shown) <= height
    assert all(cell_len(line) <= width for line in shown)


def test_pretrainings_that_are_done_make_room_and_are_counted() -> None:
    found = [row("done", stage("pretrain", f"done_{number}")) for number in range(30)]
    found += [row("waiting", stage("pretrain", "last"))]
    shown = drawn(found, 100, 16)
    assert any(line.startswith("last-s0") for line in shown)
    assert "not shown: 30 pretrainings with all done" in shown
    shown = drawn([row("waiting", stage("pretrain", f"open_{number}")) for number in range(30)], 100, 16)
    assert sum(line.startswith("open_") for line in shown) == 8  # 16 but the head, that of the table, and the foot
    assert "not shown: 22 more" in shown


def test_equal_names_of_other_settings_are_told_apart() -> None:
    one, other = (row(state, stage("pretrain", "coco")) for state in ("done", "waiting"))
    other = Row(**{**vars(other), "folder": Path("runs/pretrain/coco-s0-99ff00")})
    shown = drawn([one, other], 100, 20)
    assert any(line.split() == ["coco-s0", "x", "done"] for line in shown)
    assert any(line.split() == ["coco-s0", "99ff", "waiting"] for line in shown)


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 10, "short"),
        ("coco_two_loss-s0", 9, "coco…s-s0"),
        ("coco_two_loss-s0", 1, "…"),
        ("coco_two_loss-s0", 0, ""),
        ("漢字漢字漢字", 6, "漢…字"),  # each takes two columns
    ],
)
def test_the_middle_is_cut(text: str, width: int, shown: str) -> None:
    assert cut_middle(text, width) == shown


# ------------------------------------------------------------------------------------------------------- hostile files


def test_what_files_say_commands_no_terminal(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    folder = work.add(stage("pretrain", HOSTILE, label=HOSTILE))
    write_failure(folder, "failed", f"reason {HOSTILE}", f"log{HOSTILE[1:20]}.txt", 1)
    work.add(stage("knn", "coco", HOSTILE, label="odd", trunk_seed=HOSTILE))
    title = "pretrain coco-s0"
    work.note(title, unit=f"images{HOSTILE}", waiting_for_data=HOSTILE)
    with work.holding(title):
        found = rows(work.dir)
        assert cli.run(["status", "--work-dir", str(work.dir)]) == 1
        assert watch.watch_lines(work.dir, 1.0, lambda _seconds: True) == 1
    assert watch.watch_screen(work.dir, 1.0, Console(width=80), lambda _seconds: True) == 1
    printed = capsys.readouterr().out + "\n".join(lines(found)) + "\n".join(drawn(found, 100, 60))
    assert printed.replace("\n", "").isprintable()
    assert "\\x1b]0;owned\\x07\\x1b[2J\\r\\nb\\u202e\\x9b31m[red]c[/red]\\x00" in printed
    assert printable("a\udcffb") == "a\\udcffb"


# ------------------------------------------------------------------------------------------------ changes, and the end


def scripted(*changes: Callable[[], object]) -> tuple[watch.Pause, list[float]]:
    """A pause in which the next change happens; after the last a person leaves."""
    left, waited = list(changes), list[float]()

    def pause(seconds: float) -> bool:
        waited.append(seconds)
        if not left:
            return True
        left.pop(0)()
        return False

    return pause, waited


def test_lines_come_when_something_changes_and_end_with_the_last_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Work(tmp_path, ["coco"])
    first, second, third = work.folders
    running = contextlib.ExitStack()
    running.enter_context(work.holding(first))
    work.note(first)

    def ends() -> None:
        running.close()
        work.finish(first)
        work.finish(second)

    pause, waited = scripted(
        lambda: work.note(first, done=130),  # of the same tenth: nothing is said
        lambda: work.note(first, done=200),
        ends,
        lambda: write_failure(work.folders[third], "failed", "it broke", "log.txt", 1),
    )
    assert watch.watch_lines(work.dir, 7.0, pause) == 1
    assert waited == [7.0] * 4  # not after the end
    printed = [line.partition(" ")[2].split(None, 1) for line in capsys.readouterr().out.splitlines()]
    said = [" ".join(words) for words in printed]
    assert said[0].startswith(f"running {first}  step 120 of 400, 30 %")
    assert said[3].startswith(f"running {first}  step 200 of 400, 50 %")
    assert said[4:6] == [f"done {first}", f"done {second}"]
    assert said[6:8] == [f"waiting {third}", f"failed {third}  it broke"]
    assert len(said) == 9
    assert said[8].endswith("3 stages: 2 done, 1 failed")


def test_a_screen_ends_with_the_last_stage_and_stays(tmp_path: Path) -> None:
    work = Work(tmp_path, ["coco"])
    pause, waited = scripted(lambda: [work.finish(title) for title in work.folders])
    console = Console(width=90, height=24, file=io.StringIO(), force_terminal=True)
    assert watch.watch_screen(work.dir, 2.0, console, pause) == 0
    assert waited == [2.0]
    screens, _, after = console.file.getvalue().rpartition("\x1b[?1049l")  # type: ignore[attr-defined]
    assert "waiting" in screens
    assert "q leaves" in screens
    assert "waiting" not in after
    assert "3 of 3 stages done" in after
    assert "nothing runs or waits in" in after
    assert "q leaves" not in after


def test_whoever_leaves_gets_the_exit_code_of_status(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch.watch_screen(work.dir, 2.0, Console(width=90), lambda _seconds: True) == 0
    assert "left, and what runs goes on; 6 stages: 6 waiting" in capsys.readouterr().out

    def interrupt(_seconds: float) -> bool:
        raise KeyboardInterrupt

    for show in (watch.watch_lines, watch.watch_screen):
        assert show(work.dir, 2.0, pause=interrupt) == 130
    assert all(each.state == "waiting" for each in rows(work.dir))


def test_an_empty_folder_ends_at_once_and_json_is_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["status", "--watch", "--work-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith(f"There are no stages in {tmp_path}; bench run makes them")
    assert cli.run(["status", "--watch", "--json", "--work-dir", str(tmp_path)]) == 2
    assert "give one of the two" in capsys.readouterr().err


def test_ctrl_c_in_a_view_is_not_said_to_interrupt_a_run(
    work: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_seconds: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "_sleep", interrupt)
    assert cli.run(["status", "--watch", "--work-dir", str(work.dir)]) == 130
    assert capsys.readouterr().err == ""


class Screen(io.StringIO):
    """A terminal that can be closed."""

    closed_by_user = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.closed_by_user:
            raise OSError("closed")
        return super().write(text)


def test_below_the_lines_of_a_grid_side_by_side_stands_how_its_stages_get_on(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = [folder for title, folder in work.folders.items() if "two_loss" not in title]
    terminal = Screen()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.delenv("BENCH_PLAIN", raising=False)
    work.note("pretrain coco-s0")
    with work.holding("pretrain coco-s0"), GridView(work.dir, ours) as view:
        view.draw(0)
        print("[1/3] a line with [red]markup[/red]")
        view.draw(1)  # too early
        view.draw(100)
        text = terminal.getvalue()
    assert "0 of 3 stages done" in text
    assert text.count("step 120 of 400, 30 %, about 3 min left") == 3  # drawn twice, and again below the line
    assert "[1/3] a line with [red]markup[/red]" in text
    assert sys.stdout is terminal
    with GridView(work.dir, ours) as view:
        terminal.closed_by_user = True
        view.draw(0)
        view.draw(100)
    terminal.closed_by_user = False
    monkeypatch.setenv("BENCH_PLAIN", "1")
    before = terminal.getvalue()
    with GridView(work.dir, ours) as view:
        view.draw(0)
    assert terminal.getvalue() == before


class Terminal:
    """`bench status --watch` on a terminal of its own."""

    def __init__(self, work_dir: Path) -> None:
        self.leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.before = termios.tcgetattr(follower)
        environ = {name: value for name, value in os.environ.items() if name not in {"BENCH_PLAIN", "COLUMNS", "LINES"}}
        self.follower = follower
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench", "status", "--watch", "--interval", "0.1", "--work-dir", str(work_dir)],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={**environ, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
        )
        self.text = ""

    def until(self, words: str) -> None:
        """Read until these words have come; the time limit of tests ends what never comes."""
        while words not in self.text:
            self.text += os.read(self.leader, 1 << 16).decode("utf-8", "replace")

    def press(self, key: bytes) -> tuple[int, str, bool]:
        """Press a key; return the exit code, what was printed from then on, and whether the terminal is as before."""
        self.text = ""
        os.write(self.leader, key)
        self.until("6 stages: ")
        code = self.process.wait()
        same = termios.tcgetattr(self.follower) == self.before
        os.close(self.follower)
        with contextlib.suppress(OSError):
            while piece := os.read(self.leader, 1 << 16):
                self.text += piece.decode("utf-8", "replace")
        os.close(self.leader)
        return code, self.text, same


@pytest.mark.parametrize(("key", "expected"), [(b"q", 0), (b"\x03", 130)])
def test_a_key_leaves_a_real_terminal_as_it_was_and_what_runs_goes_on(work: Work, key: bytes, expected: int) -> None:
    title = "pretrain coco-s0"
    work.note(title)
    with work.holding(title):
        terminal = Terminal(work.dir)
        terminal.until("30 %")
        work.note(title, done=300)
        terminal.until("75 %")
        code, text, same = terminal.press(key)
        assert rows(work.dir)[0].state == "running"
    assert (code, same) == (expected, True)
    assert "\x1b[?1049l" in text
    assert "\x1b[?25h" in text  # the cursor is there again
    assert "left, and what runs goes on" in text
    assert "Traceback" not in text


# ---------------------------------------------------------------------------------------------------- how long it takes


def test_the_time_left_is_known_once_all_kinds_of_stages_are(work: Work) -> None:
    titles = list(work.folders)
    assert seconds_left(rows(work.dir)) is None
    for title, seconds in zip(titles[:3], (100.0, 10.0, 30.0), strict=True):
        work.finish(title, seconds)
    assert seconds_left(rows(work.dir)) == 140  # the other's settings are the same
    with work.holding(titles[3]):
        assert seconds_left(rows(work.dir)) == 140  # when it began is not known
        (work.folders[titles[3]] / "holder").touch()
        began = (work.folders[titles[3]] / "holder").stat().st_mtime
        assert seconds_left(rows(work.dir), now=began + 60) == pytest.approx(80)
        assert seconds_left(rows(work.dir), now=began + 600) == pytest.approx(40)
        work.note(titles[3], seconds_left=25.0)  # of steps, which are most of a stage
        assert seconds_left(rows(work.dir), now=began + 60) == pytest.approx(65)
        work.note(titles[3], seconds_left=25.0, unit="images")
        assert seconds_left(rows(work.dir), now=began + 90) == pytest.approx(65)
        work.note(titles[3], seconds_left=float("inf"))
        assert seconds_left(rows(work.dir), now=began + 60) == pytest.approx(80)
    for title in titles[3:]:
        work.finish(title)
    assert seconds_left(rows(work.dir)) == 0


def test_stages_that_run_side_by_side_shorten_it(work: Work) -> None:
    work.add(stage("pretrain", "third"))
    note_jobs(os.getpid(), list(work.folders.values()))
    titles = list(work.folders)
    for title, seconds in zip(titles[:3], (100.0, 10.0, 30.0), strict=True):
        work.finish(title, seconds)
    with work.holding(titles[3]):
        assert seconds_left(rows(work.dir)) == 240
        with work.holding(titles[6]):
            assert seconds_left(rows(work.dir)) == 140


def test_nothing_is_guessed(work: Work) -> None:
    titles = list(work.folders)
    work.finish(titles[0], 100.0, untimed=["120 of 400 steps"])  # another process did a part of it
    assert durations_in(work.dir).of(stage("pretrain", "coco_two_loss")) is None
    work.finish(titles[0], 100.0)
    known = durations_in(work.dir)
    assert known.of(stage("pretrain", "coco_two_loss")) == 100
    longer = stage("pretrain", "coco") | {"recipe": {"name": "coco", "epochs": 800}}
    assert known.of(longer) is None
    swept = [
        stage("pretrain", "y") | {"recipe": {"objective": {"name": "simclr", "t": t}, "lr": t}} for t in (0.1, 0.2)
    ]
    assert known.of(swept[1]) is None
    known.learn(swept[0], 50.0)
    assert known.of(swept[1]) == 50  # numbers with a decimal point decide no time
    for title in titles:
        work.finish(title)
    found = rows(work.dir)
    job = Submission(executor="slurm", id="7", host="", submitted="", log="")
    queued = Row(**{**vars(found[0]), "state": "waiting", "job": job})
    assert seconds_left([*found, queued]) is None  # others wait there, too
    assert Durations().sum_of([]) == 0


def test_a_cluster_is_asked_seldom_and_this_machine_always(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Submission(executor="local", id="1", host="", submitted="", log="")
    there = here.model_copy(update={"executor": "slurm"})
    asked, clock = list[list[str]](), [100.0]
    monkeypatch.setattr(executor.time, "monotonic", lambda: clock[0])

    def ask(some: Iterable[Submission]) -> dict[Submission, State]:
        jobs = list(some)
        asked.append([job.executor for job in jobs])
        return dict.fromkeys(jobs, State("running"))

    states = executor.sparing(ask)
    for _ in range(3):
        assert set(states([here, there])) == {here, there}
        clock[0] += executor.ASK_SECONDS / 2
    assert asked == [["slurm"], ["local"], ["local"], ["slurm"], ["local"]]
