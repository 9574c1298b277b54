"""Files written whole or not at all, and the file that says that a stage is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.execute.stage_file import Done, read_done, write_done
from bench.files import replacing, write_text


@pytest.mark.parametrize("durable", [False, True])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "state"
    write_text(file, "old")

    def fail() -> None:
        with replacing(file, durable=durable) as temporary:
            temporary.write_text("half of the new", encoding="utf-8")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        fail()
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_another_plan_left_in_a_folder_does_not_count_as_done(tmp_path: Path) -> None:
    done = Done(fingerprint="a" * 64, metrics={"top1_percent": 1.0}, wall_seconds=1.0, finished="2025-01-01T00:00:00")
    write_done(tmp_path, done)
    assert read_done(tmp_path, "a" * 64, ()) == done
    assert read_done(tmp_path, "b" * 64, ()) is None
