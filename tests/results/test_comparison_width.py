"""bench compare fits into 100 characters, or what the terminal has."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_records import THREE

from bench.cli import run
from bench.record import write
from bench.results.comparison_text import fitting


@pytest.mark.parametrize("width", [90, 100])
def test_no_line_is_wider_and_no_word_is_lost(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for record in THREE:
        write(record, tmp_path / "records")
    words = ["compare", "coco_two_loss", "random_init", "--results-dir", str(tmp_path)]
    monkeypatch.setenv("COLUMNS", "1000")
    assert run(words) == 0
    whole = capsys.readouterr().out
    assert max(map(len, whole.splitlines())) > width
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(words) == 0
    fits = capsys.readouterr().out
    assert max(map(len, fits.splitlines())) <= width
    assert fits.split() == whole.split()


def test_what_goes_on_stands_below_the_text() -> None:
    line = "  to be seen   nothing about the methods: one and other with a single trunk"
    assert fitting([line, ""], 48) == [
        "  to be seen   nothing about the methods: one",
        "               and other with a single trunk",
        "",
    ]
