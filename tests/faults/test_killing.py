"""The campaign that kills: a short one ends well, and one over broken code would say so."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ends import end_of, finished
from injected import Calls, Death
from killing import Life, figures
from safetensors.torch import save_file
from starts import tree

from bench.files import replacing, write_text

FOLDER = Path(__file__).resolve().parents[2] / "faults"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_grid_that_is_killed_twice_ends_as_if_it_had_not_been(tmp_path: Path, rendered: Path) -> None:
    shutil.copytree(rendered, tmp_path / "data")  # where the campaign would render it
    command = [sys.executable, FOLDER / "killing.py", "--kills", "2", "--only", "one process, 1 workers"]
    command += ["--work-dir", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    came = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert came["killed"] >= 2
    assert came["equal"] == came["lives"] > 0
    assert (came["lost"], came["double"], came["manual_work"]) == (0, 0, 0)


def grid(folder: Path, value: float = 1.0, records: int = 1) -> Path:
    """A folder as a grid leaves it, as far as its end is looked at."""
    convert, results = folder / "runs" / "convert" / "a-s0-1", folder / "results" / "records"
    convert.mkdir(parents=True)
    results.mkdir(parents=True)
    save_file({"w": torch.tensor([value, 2.0])}, convert / "trunk.safetensors")
    (convert / "done.json").write_text('{"finished": "then"}')
    for number in range(records):
        content = {"metrics": {"top1_percent": 50.0}, "fingerprints": {"stage": "one"}}
        (results / f"a{number}.json").write_text(json.dumps(content))
    return folder


def test_one_bit_of_a_tensor_is_another_end(tmp_path: Path) -> None:
    end = end_of(grid(tmp_path / "a"))
    assert end.differs_from(end_of(grid(tmp_path / "b"))) == []
    assert end.differs_from(end_of(grid(tmp_path / "c", value=1.0000001))) == ["convert/a-s0-1/trunk.safetensors"]


def test_a_metric_an_outcome_and_a_missing_record_are_other_ends(tmp_path: Path) -> None:
    end, other = end_of(grid(tmp_path / "a")), grid(tmp_path / "b")
    record = other / "results" / "records" / "a0.json"
    text = record.read_text()
    record.write_text(text.replace("50.0", "50.1"))
    assert end.differs_from(end_of(other)) == ["a0.json"]
    record.write_text(text)
    record.with_name("a0.outcomes.npz").write_bytes(b"one")
    assert end.differs_from(end_of(other)) == ["a0.json"]
    record.with_name("a0.outcomes.npz").unlink()
    record.unlink()
    assert end.differs_from(end_of(other)) == ["a0.json"]


def test_two_records_of_one_stage_are_double_and_temporary_files_are_seen(tmp_path: Path) -> None:
    folder = grid(tmp_path, records=2)
    (folder / "runs" / "convert" / "a-s0-1" / ".trunk.safetensors.17").touch()
    end = end_of(folder)
    assert end.twice == ("one",)
    assert end.left == ("runs/convert/a-s0-1/.trunk.safetensors.17",)


def test_half_a_note_says_nothing_of_a_stage(tmp_path: Path) -> None:
    folder = grid(tmp_path)
    assert finished(folder) == {"a-s0-1": b'{"finished": "then"}'}
    (folder / "runs" / "convert" / "a-s0-1" / "done.json").write_text('{"fini')
    assert finished(folder) == {}


@pytest.mark.parametrize(
    "wrong", [{"differs": ["a"]}, {"again": ["b"]}, {"double": ["c"]}, {"by_hand": "exit code 1: no"}]
)
def test_whatever_is_wrong_with_a_life_is_counted(wrong: dict[str, object]) -> None:
    lives = [Life("x", ["tree", "stage"], ["knn", "knn"]), Life("x", ["grid"], ["convert"], **wrong)]  # type: ignore[arg-type]
    came = figures(lives)
    assert (came["killed"], came["lives"], came["equal"]) == (3, 2, 1)
    assert came["lost"] + came["double"] + came["manual_work"] == 1
    assert len(came["not_equal"]) == 1
    assert came["by_stage"] == {"knn": 2, "convert": 1}


def dies(death: Death, folder: Path, whole: bool) -> str:
    """What a file holds when the process that replaces "old" by "new" has died."""
    file = folder / "note.json"
    file.write_text("old")
    pid = os.fork()
    if pid == 0:
        Calls(death, None, folder / "died").install()
        if whole:
            write_text(file, "new")
        else:
            with file.open("w") as stream:
                stream.write("new")
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == -signal.SIGKILL
    assert (folder / "died").exists()
    return file.read_text()


def test_a_process_dies_before_or_after_the_call_that_was_chosen(tmp_path: Path) -> None:
    assert dies(Death("grid", "replace", 1, after=False), tmp_path, whole=True) == "old"
    assert dies(Death("grid", "replace", 1, after=True), tmp_path, whole=True) == "new"
    assert dies(Death("grid", "open", 1, after=True), tmp_path, whole=True) == "old"


def test_what_is_not_written_whole_is_seen_to_be_lost(tmp_path: Path) -> None:
    assert dies(Death("grid", "open", 1, after=True), tmp_path, whole=False) == ""


def test_calls_are_counted_under_the_role_of_the_process(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        calls = Calls(None, tmp_path / "counts", tmp_path / "died")
        calls.install()
        (tmp_path / "grid.txt").write_text("x")
        calls.becomes("knn")
        for _ in range(3):
            with replacing(tmp_path / "note.txt", durable=True) as partial:
                partial.write_text("x")
        calls.ended()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    line = json.loads((tmp_path / "counts").read_text())
    assert line == {"role": "knn", "calls": {"open": 3, "fsync": 6, "replace": 3}}


CHAIN = """
import os, subprocess, sys
if below := sys.argv[1:]:
    ranked = {"RANK": "0"} if below[0] == "rank" else {}
    subprocess.Popen([sys.executable, "-IS", __file__, *below[1:]], env={**os.environ, **ranked}).wait()
else:
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_ranks_are_told_from_loaders_since_either_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "chain.py"
    script.write_text(CHAIN)
    words = [sys.executable, "-IS", str(script), "stage", "rank", "worker"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert [one.role for one in tree(process.pid)] == ["grid", "stage", "rank", "worker"]
        process.stdin.close()
