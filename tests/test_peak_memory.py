"""Peak memory: measured in a stage's own process, and readable where it was not measured yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.execute.stage_file import Done, read_done, write_done
from bench.record import Record

PROGRAM = """
import json
from bench.peak_memory import peak_memory_mib
before = peak_memory_mib()
held = bytearray(200 * 2**20)
print(json.dumps([before, peak_memory_mib()]))
"""


def test_what_a_process_held() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=os.environ)
    before, after = json.loads(done.stdout)
    assert set(before) == {"process"}
    assert before["process"] < 200  # not what the process held that started this one
    assert 195 < after["process"] - before["process"] < 260


def test_files_from_before_it_was_measured_are_read(tmp_path: Path) -> None:
    (tmp_path / "done.json").write_text('{"fingerprint": "f", "metrics": {}, "wall_seconds": 1.0, "finished": "now"}')
    old = read_done(tmp_path, "f", ())
    assert old is not None
    assert old.peak_memory_mib == {}
    write_done(tmp_path, Done(fingerprint="f", metrics={}, wall_seconds=1, peak_memory_mib={"gpu": 2.5}, finished=""))
    new = read_done(tmp_path, "f", ())
    assert new is not None
    assert new.peak_memory_mib == {"gpu": 2.5}
    assert Record.model_fields["peak_memory_mib"].default == {}
