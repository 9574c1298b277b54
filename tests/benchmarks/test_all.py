"""`make bench` goes on when a benchmark fails, ends what hangs, and says so."""

from __future__ import annotations

import importlib
import json
import os
import time
from pathlib import Path

import pytest
from made_up import comparison

runner = importlib.import_module("all")  # not the builtin

GOOD = """
import json, os, pathlib, sys
folder = pathlib.Path(os.environ["BENCHMARKS_FOLDER"])
folder.mkdir(parents=True, exist_ok=True)
(folder / "good.json").write_text({content!r})
(folder / "words").write_text(json.dumps([sys.argv[1:], os.environ.get("OMP_NUM_THREADS")]))
"""
# Starts a process of its own and tells its number, then waits for it.
HANGS = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path({file!r}).write_text(str(child.pid))
child.wait()
"""


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "good.py").write_text(GOOD.format(content=json.dumps(comparison("good"))))
    (folder / "bad.py").write_text("raise SystemExit(3)")
    (folder / "hangs.py").write_text(HANGS.format(file=str(tmp_path / "pid")))
    monkeypatch.setattr(runner, "BUDGETS", {"bad": 5, "hangs": 5, "good": 5, "missing": 5})
    monkeypatch.setattr(runner, "TAKE_IMAGES", {"good"})
    monkeypatch.setattr(runner, "QUICK", tmp_path / "quick")
    monkeypatch.setattr(runner, "QUICK_BUDGET", 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return folder


def test_the_others_run_when_some_fail(scripts, tmp_path, capfd):
    assert runner.main(["--quick"], scripts) == 1
    said = capfd.readouterr()
    assert said.err.splitlines()[-1] == "Failed: bad, hangs, missing."
    assert "failed with exit code 3" in said.out
    assert "failed: ended after 3 s" in said.out
    assert "Title of good" in (tmp_path / "quick" / "performance.md").read_text()
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not running(child):
            break
        time.sleep(0.05)
    assert not running(child)


def running(number: int) -> bool:
    """Whether a process is there and no zombie (nobody may wait for an orphan in a container)."""
    try:
        os.kill(number, 0)
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_only_what_was_asked_for_and_its_words(scripts, tmp_path):
    assert runner.main(["--quick", "--only", "good", "--images", str(tmp_path)], scripts) == 0
    words, threads = json.loads((tmp_path / "quick" / "words").read_text())
    assert words == ["--quick", "--images", str(tmp_path)]
    assert threads is None  # benchmarks choose their threads themselves


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--only", "nothing"], "there is no benchmark 'nothing'; --only takes bad, hangs, good, missing\n"),
        (["--images", "/nowhere"], "/nowhere is no folder; give --images a folder of JPEG files\n"),
    ],
)
def test_bad_words_give_one_sentence(scripts, words, sentence, capsys):
    with pytest.raises(SystemExit) as end:
        runner.main(words, scripts)
    assert end.value.code == 2
    assert capsys.readouterr().err == sentence
