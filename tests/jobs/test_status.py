"""What is said of stages from what lies in their folders, whoever runs them, and which of them somebody means."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from filelock import FileLock

from bench import cli
from bench.config.load import load_recipe, load_task
from bench.errors import BadInput
from bench.execute import stage_file
from bench.execute.jobs.executor import GROUP, OURS, State, executor_of, states_of
from bench.execute.jobs.failure import FAILED, write_failure
from bench.execute.jobs.holder import HOLDER, this_holder
from bench.execute.jobs.local import note_jobs
from bench.execute.jobs.named import folder_named
from bench.execute.jobs.process import alive, host, started_at
from bench.execute.jobs.status import Row, lines, progress_words, rows
from bench.execute.jobs.submission import JOB, Submission, read_submission, write_submission
from bench.execute.stage_file import DONE, Done, held, read_stage, write_done, write_stage
from bench.plan import Planner
from bench.progress import PROGRESS

PRETRAIN, CONVERT, KNN = "pretrain coco-s0", "convert coco-s0", "knn coco--imagenet_knn-s0"


class Work:
    """A work folder with the three stages of a pretraining and its task, of which nobody has begun any."""

    def __init__(self, place: Path) -> None:
        self.dir = place / "runs"
        planner = Planner(lambda name: f"fingerprint of {name}")
        stages = planner.grid([load_recipe("coco", "smoke")], [load_task("imagenet_knn", "smoke")], [0])
        self.folders = {
            stage.title: write_stage(stage, self.dir, {}, place / "results", "fail").absolute() for stage in stages
        }

    def finish(self, title: str) -> None:
        folder = self.folders[title]
        fingerprint = read_stage(folder).fingerprint
        write_done(folder, Done(fingerprint=fingerprint, metrics={}, wall_seconds=1.0, finished="2020-01-01T00:00:00"))

    def rows(self, states: object = states_of) -> dict[str, Row]:
        return {row.title: row for row in rows(self.dir, states)}  # type: ignore[arg-type]

    def states(self) -> list[str]:
        return [f"{row.title}: {row.state}" for row in rows(self.dir)]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    process.wait()
    return process.pid


def test_a_grid_from_its_start_to_its_end(work: Work) -> None:
    note_jobs(os.getpid(), list(work.folders.values()))
    assert work.states() == [f"{PRETRAIN}: waiting", f"{CONVERT}: waiting", f"{KNN}: waiting"]
    assert work.rows()[KNN].reason == f"for {CONVERT}"
    folder = work.folders[PRETRAIN]
    with held(folder, read_stage(folder), wait=False):
        note = {"title": "coco-s0", "done": 120, "total": 400, "unit": "steps", "seconds_left": 181.0}
        (folder / PROGRESS).write_text(json.dumps(note))
        row = work.rows()[PRETRAIN]
        assert (row.state, row.progress, row.reason) == ("running", "step 120 of 400, 30 %, about 3 min left", "")
    work.finish(PRETRAIN)
    assert work.states() == [f"{PRETRAIN}: done", f"{CONVERT}: waiting", f"{KNN}: waiting"]
    for title in (CONVERT, KNN):
        work.finish(title)
    assert [row.state for row in rows(work.dir)] == ["done"] * 3
    assert lines(rows(work.dir))[-1] == "3 stages: 3 done"


def test_a_failure_is_said_with_its_reason_and_log(work: Work) -> None:
    note_jobs(os.getpid(), list(work.folders.values()))
    folder = work.folders[PRETRAIN]
    (folder / "log.txt").write_text("words\n")
    write_failure(folder, "failed", "ended by SIGKILL; the machine may have run out of memory", "log.txt", -9)
    write_failure(work.folders[CONVERT], "not run", f"{PRETRAIN} failed", "log.txt")
    assert json.loads((folder / FAILED).read_text())["signal"] == "SIGKILL"
    found = work.rows()
    assert [found[title].state for title in work.folders] == ["failed", "not run", "waiting"]
    assert found[PRETRAIN].log == folder / "log.txt"
    (line,) = [line for line in lines(rows(work.dir)) if line.startswith("failed ")]
    assert line.endswith(f"ended by SIGKILL; the machine may have run out of memory (log: {folder / 'log.txt'})")
    note_jobs(os.getpid(), [folder])  # it is run again
    assert work.rows()[PRETRAIN].state == "waiting"


def test_a_stage_whose_process_is_gone_is_stale_and_one_that_never_began_is_not(work: Work) -> None:
    note_jobs(gone(), list(work.folders.values()))
    folder = work.folders[PRETRAIN]
    (folder / HOLDER).write_text("process 12 on elsewhere\n")  # as earlier versions wrote it
    found = work.rows()
    assert [found[title].state for title in work.folders] == ["stale", "stopped", "stopped"]
    assert "process 12 on elsewhere" in found[PRETRAIN].reason
    write_failure(folder, "failed", "it broke", "log.txt", 1)
    assert work.rows()[CONVERT].state == "not run"
    assert work.rows()[CONVERT].reason == f"{PRETRAIN} failed"


def test_a_number_that_another_process_has_by_now_is_not_taken_for_it(work: Work) -> None:
    now = started_at(os.getpid())
    assert now is not None
    boot, _, ticks = now.partition(":")
    assert alive(os.getpid(), now)
    assert not alive(os.getpid(), f"{boot}:{int(ticks) + 1}")
    assert not alive(os.getpid(), f"another boot:{ticks}")
    assert not alive(gone(), None)
    note_jobs(os.getpid(), list(work.folders.values()))
    folder = work.folders[PRETRAIN]
    job = read_submission(folder)
    assert job is not None
    assert job.process == now
    write_submission(folder, job.model_copy(update={"process": f"{boot}:{int(ticks) + 1}"}))
    assert work.rows()[PRETRAIN].state == "stopped"
    assert work.rows()[CONVERT].state == "waiting"
    for each in work.folders.values():
        write_submission(each, job.model_copy(update={"process": f"{boot}:{int(ticks) + 1}"}))
    assert [row.state for row in rows(work.dir)] == ["stopped"] * 3


def test_another_machine_is_named(work: Work) -> None:
    job = Submission(executor="local", id="1", host="far-away", submitted="2020-01-01T00:00:00+00:00", log="log.txt")
    write_submission(work.folders[PRETRAIN], job)
    row = work.rows()[PRETRAIN]
    assert (row.state, row.reason) == ("waiting", "it runs on far-away; bench status says more there")
    with FileLock(work.folders[PRETRAIN] / "lock"):
        (work.folders[PRETRAIN] / HOLDER).write_text("process 12 on far-away\n7:8\n")
        assert work.rows()[PRETRAIN].reason == "on far-away"


def test_what_an_executor_says_of_jobs_elsewhere(work: Work) -> None:
    states = {"waiting": "in the queue", "running": "", "failed": "node failure", "cancelled": "", "unknown": ""}
    expected = {"waiting": "waiting", "running": "running", "failed": "failed", "cancelled": "stopped"}
    expected["unknown"] = "waiting"
    folder = work.folders[PRETRAIN]
    write_submission(
        folder, Submission(executor="queue", id="7_1", host="login", submitted="2020-01-01", log="/logs/7_1.out")
    )
    for word, reason in states.items():

        def said(jobs: Iterable[Submission], word: str = word, reason: str = reason) -> dict[Submission, State]:
            assert [job.id for job in jobs] == ["7_1"]
            return {job: State(word, reason) for job in jobs}  # type: ignore[arg-type]

        row = work.rows(said)[PRETRAIN]
        assert row.state == expected[word]
        assert reason in row.reason
    write_failure(folder, "stopped", "a signal stopped it", "log.txt", 130)  # pre-empted, and in the queue again
    assert work.rows(lambda jobs: {job: State("waiting") for job in jobs})[PRETRAIN].state == "waiting"
    assert work.rows(lambda jobs: {job: State("ended") for job in jobs})[PRETRAIN].state == "stopped"
    (of_none,) = states_of([Submission(executor="queue", id="7", host="", submitted="", log="")]).values()
    assert of_none.word == "unknown"
    assert "There is no executor 'queue'" in of_none.reason


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"executor": 3}', b"null", b'{"ending": 1}']
)
@pytest.mark.parametrize("name", [JOB, FAILED, DONE, HOLDER, PROGRESS, "stage.json"])
def test_damaged_files_cost_no_row(work: Work, name: str, damage: bytes) -> None:
    note_jobs(os.getpid(), list(work.folders.values()))
    folder = work.folders[PRETRAIN]
    (folder / name).write_bytes(damage)
    with FileLock(folder / "lock"):
        states = [row.state for row in rows(work.dir)]
    assert sorted(states) == ["running", "waiting", "waiting"]


def test_what_was_put_aside_is_no_stage(work: Work) -> None:
    folder = work.folders[PRETRAIN]
    for end in ("replaced-0123abcd", "replaced-parent-2"):
        (folder.with_name(f"{folder.name}.{end}")).mkdir()
        (folder.with_name(f"{folder.name}.{end}") / "stage.json").write_bytes((folder / "stage.json").read_bytes())
    assert len(rows(work.dir)) == 3


def test_a_done_stage_without_what_it_left_is_not_done(work: Work) -> None:
    folder = work.folders[PRETRAIN]
    done = Done(fingerprint=read_stage(folder).fingerprint, metrics={}, wall_seconds=1.0, finished="2020-01-01")
    write_done(folder, done.model_copy(update={"files": {"last.ckpt": "0"}}))
    assert work.rows()[PRETRAIN].state != "done"
    (folder / "last.ckpt").touch()
    assert work.rows()[PRETRAIN].state == "done"
    write_done(folder, done.model_copy(update={"fingerprint": "another"}))
    assert work.rows()[PRETRAIN].state != "done"


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ({}, ""),
        ({"done": 1, "total": 0, "unit": "steps"}, ""),
        ({"done": "1", "total": 2, "unit": "steps"}, ""),
        ({"done": 0, "total": 3, "unit": "images", "seconds_left": None}, "0 of 3 images, 0 %"),
        ({"done": 2, "total": 3, "unit": "images", "seconds_left": 0.2}, "2 of 3 images, 66 %, about 1 s left"),
        (
            {"done": 1, "total": 2, "unit": "iterations", "seconds_left": 7200},
            "iteration 1 of 2, 50 %, about 2 h 0 min left",
        ),
        ({"done": 1, "total": 8, "unit": "steps", "seconds_left": 864000}, "step 1 of 8, 12 %, about 10 d 0 h left"),
        ({"done": 3, "total": 3, "unit": "steps", "seconds_left": 0.0}, "step 3 of 3, 100 %"),
        ({"done": 1, "total": 2, "unit": "steps", "seconds_left": float("inf")}, "step 1 of 2, 50 %"),
        ({"done": 1, "total": 2, "unit": "steps", "seconds_left": float("nan")}, "step 1 of 2, 50 %"),
    ],
)
def test_progress_in_words(note: dict[str, object], words: str) -> None:
    assert progress_words(note) == words


def test_status_needs_neither_torch_nor_pandas_and_says_by_its_exit_code_that_something_failed(work: Work) -> None:
    program = (
        "import sys; from bench.cli import run; code = run(['status', '--json', '--work-dir', sys.argv[1]])\n"
        "heavy = {'torch', 'pandas', 'numpy', 'scipy', 'mmengine'} & set(sys.modules)\n"
        "assert not heavy, heavy\nsys.exit(code)"
    )
    command = [sys.executable, "-c", program, str(work.dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert [row["stage"] for row in listed] == [PRETRAIN, CONVERT, KNN]
    assert set(listed[0]) == {"stage", "state", "progress", "reason", "log", "folder", "executor", "job"}
    write_failure(work.folders[KNN], "failed", "it broke", "log.txt", 1)
    assert cli.run(["status", "--work-dir", str(work.dir)]) == 1


def test_an_empty_folder_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["status", "--work-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith(f"There are no stages in {tmp_path}; bench run makes them")


def test_a_task_that_is_recorded_and_not_marked_as_done_has_a_remedy_of_its_own(work: Work) -> None:
    """Its process was killed between the two; a grid passes it over from then on."""
    note_jobs(gone(), list(work.folders.values()))
    folder = work.folders[KNN]
    (folder / HOLDER).write_text("process 12 on elsewhere\n")
    assert work.rows()[KNN].reason.endswith("give its command again, and it goes on")
    stage = read_stage(folder)
    records = Path(stage.results_dir) / "records"
    records.mkdir(parents=True)
    (records / stage.record_pattern.replace("*", "x")).write_text("{}")
    row = work.rows()[KNN]
    assert (row.state, row.reason) == (
        "stale",
        f"its result is recorded, but its process ended before it said so; bench stage {folder} does",
    )
    assert work.rows()[CONVERT].state == "stopped"


def test_a_folder_that_may_not_be_read_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> list[Path]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "glob", refuse)  # root may read anything
    for words in (["status"], ["logs", "x"], ["cancel", "x"], ["cancel", "--all"]):
        assert cli.run([*words, "--work-dir", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert said == f"bench: Cannot read {tmp_path} (Permission denied); give another --work-dir, or get access.\n"


# ------------------------------------------------------------------------------------- names of stages and executors


def test_a_stage_by_its_names(work: Work) -> None:
    folder = work.folders[CONVERT]
    names = [CONVERT, str(folder), f"convert/{folder.name}", folder.name, read_stage(folder).fingerprint]
    for name in [*names, "conv", read_stage(folder).fingerprint[:10]]:
        assert folder_named(name, work.dir).absolute() == folder, name
    assert folder_named("knn", work.dir).absolute() == work.folders[KNN]
    with pytest.raises(BadInput, match=r"'coco-s0' may be any of 2 stages in .*: convert/coco-s0-\w+, pretrain/"):
        folder_named("coco-s0", work.dir)
    with pytest.raises(BadInput, match=r"There is no stage 'pretrian coco-s0' in .*; did you mean pretrain coco-s0\?"):
        folder_named("pretrian coco-s0", work.dir)
    for name in ("zebra", "x" * 5000):
        with pytest.raises(BadInput, match="bench status lists those that there are"):
            folder_named(name, work.dir)


def test_no_name_is_no_stage_even_where_there_is_one_alone(work: Work) -> None:
    for title in (CONVERT, KNN):
        shutil.rmtree(work.folders[title])
    assert folder_named("p", work.dir).absolute() == work.folders[PRETRAIN]
    with pytest.raises(BadInput, match="There is no stage ''"):  # of "$STAGE" that is not set
        folder_named("", work.dir)


@pytest.mark.parametrize("number", ["x", "", "-1", "9" * 20])
def test_a_job_here_that_names_no_process_is_none(work: Work, number: str) -> None:
    folder = work.folders[PRETRAIN]
    job = Submission(executor="slurm", id=number, host=host(), submitted="", log="")
    (folder / JOB).write_text(job.model_dump_json())
    assert read_submission(folder) is not None
    (folder / JOB).write_text((folder / JOB).read_text().replace("slurm", "local"))
    assert read_submission(folder) is None


def test_an_unknown_executor_is_refused_before_anything_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["run", "--smoke", "--pretrain", "coco", "--executor", "slrum"]) == 2
    assert capsys.readouterr().err == "bench: There is no executor 'slrum'; did you mean slurm?\n"
    assert list(tmp_path.iterdir()) == []


def test_an_executor_from_outside_is_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_queue.py").write_text("class Queue:\n    name = 'queue'\n    def states(self, some): return {}\n")
    info = tmp_path / "my_queue-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-queue\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nqueue = my_queue:Queue\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert executor_of("queue").name == "queue"
    assert "queue" not in OURS
    job = Submission(executor="queue", id="7", host=host(), submitted="", log="")
    assert states_of([job]) == {job: State("unknown")}


def test_a_holder_says_when_its_process_started() -> None:
    first, second = this_holder().splitlines()
    assert first == f"process {os.getpid()} on {host()}"
    assert second == started_at(os.getpid())


def test_a_look_at_a_stage_keeps_nobody_from_running_it(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look holds the lock for a moment; here it is held until the stage has been refused it once."""
    folder, tried = work.folders[PRETRAIN], threading.Event()
    monkeypatch.setattr(stage_file, "LOOK_SECONDS", 60)
    with (folder / "lock").open("wb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        releasing = threading.Thread(target=lambda: (tried.wait(), fcntl.flock(look, fcntl.LOCK_UN)))
        releasing.start()
        flock = fcntl.flock

        def refused(file: int, operation: int) -> None:
            try:
                flock(file, operation)
            finally:
                tried.set()

        monkeypatch.setattr(fcntl, "flock", refused)
        try:
            with held(folder, read_stage(folder), wait=False):
                assert tried.is_set()
        finally:
            tried.set()
            releasing.join()
