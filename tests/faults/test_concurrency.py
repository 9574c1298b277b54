"""Many processes on one folder: a small form of the campaign, and what its counts notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "faults"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_processes_that_are_killed_and_stopped_do_each_stage_once(tmp_path: Path) -> None:
    words = ["--processes", "4", "--trials", "1", "--pretrainings", "1", "--seed", "7"]
    environ = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(
        [sys.executable, FOLDER / "concurrency.py", *words], env=environ, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    total = json.loads(done.stdout.splitlines()[-1])
    assert total["stages"] >= 5
    assert total["begun"] >= total["stages"]
    assert total["killed"] + total["stopped"] >= 1
    assert not any(tmp_path.iterdir())  # what went well is removed
