"""Files of the working directory can be named as modules, and stand in front of nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.import_path import ROOT, command, python_options, working_directory_last

WORDS = ["data", "check", "my_set:Mine", "--data-root", "."]
OURS = "import sys; from bench.cli import main; main()"  # what the script `bench` does


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["-P", "-m", "bench"], ["random", "types", "warnings", "runpy", "bench", "typer", "torch"]),  # what we start
        (["-P", "-c", OURS], ["random", "types", "bench", "typer", "torch"]),
        (["-m", "bench"], ["random", "tempfile", "typer", "torch"]),  # what Python itself imports first is lost here
    ],
)
def test_a_file_of_somebody_does_not_stand_for_a_library(tmp_path: Path, words: list[str], names: list[str]) -> None:
    for name in names:
        (tmp_path / f"{name}.py").write_text("raise SystemExit(f'{__file__} was imported')\n")
    (tmp_path / "my_set.py").write_text("raise ValueError('mine')\n")
    done = run(tmp_path, sys.executable, *words, *WORDS)
    assert done.stderr == f"bench: {tmp_path}/my_set.py cannot be imported (ValueError: mine); correct it.\n"
    assert done.returncode == 2


def test_every_process_of_ours_is_started_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("stage", "x") == [sys.executable, "-P", "-m", "bench", "stage", "x"]
    monkeypatch.chdir(ROOT)  # where it may be found there alone
    assert python_options() == []
    files = list(Path(bench.__file__).parent.rglob("*.py"))
    assert len(files) > 100
    assert [file for file in files if '"-m", "bench' in file.read_text()] == []


def test_the_working_directory_is_the_last_place_and_stands_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (["", "/a"], [str(tmp_path), "/a"], ["/a"], ["/a", str(tmp_path)]):
        monkeypatch.setattr(sys, "path", path)
        working_directory_last()
        working_directory_last()
        assert sys.path == ["/a", str(tmp_path)]
