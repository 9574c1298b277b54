"""The commands of docs/tables.md run, and it names all formats and columns."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from bench.cli import run
from bench.results.formats import render
from bench.results.record_lines import RECORD_COLUMNS as COLUMNS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tables.md").read_text()
COMMANDS = [line.partition("#")[0] for line in re.findall(r"^    (bench table.*)$", PAGE, re.MULTILINE)]
RECORDS = (
    "imagenet_simclr__cityscapes*",
    "imagenet_supervised__cityscapes*",
    "random_init__cityscapes*",
    "coco*linear__*",
)


def test_each_command_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = tmp_path / "results" / "records"
    records.mkdir(parents=True)
    for pattern in RECORDS:
        for file in (ROOT / "results" / "records").glob(f"{pattern}.json"):
            shutil.copy(file, records)
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        assert run(shlex.split(command)[1:]) == 0, capsys.readouterr()
        assert (tmp_path / "table.tex").is_file() or "--to" not in command


def test_the_page_names_all_columns_and_formats() -> None:
    assert [name for name in COLUMNS if f"`{name}`" not in PAGE] == []
    with pytest.raises(Exception, match="known: ") as refusal:
        render([], "?")
    formats = str(refusal.value).partition("known: ")[2].rstrip(".").split(", ")
    named = {*re.findall(r"`(?:--format )?([a-z-]+)`", PAGE.lower()), "markdown"}
    assert {*formats, "csv-long"} - named == set()
