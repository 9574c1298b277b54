"""bench table: what it prints where, what it writes, and which options it refuses together."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from example_records import THREE, linear

from bench.cli import main, run
from bench.record import write
from bench.results.tables import write_tables

Output = pytest.CaptureFixture[str]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for record in [*THREE, linear("coco_small", 0, 33.0, arch="resnet18")]:
        write(record, tmp_path / "records")
    return tmp_path


def table(results: Path, *words: str) -> int:
    return run(["table", "--results-dir", str(results), *words])


def test_piped_it_prints_the_kept_page_and_writes_all(results: Path, capsys: Output) -> None:
    assert table(results) == 0
    assert capsys.readouterr().out == (results / "tables" / "transfer.md").read_text()
    assert table(results, "--check") == 0


def test_on_a_terminal_it_fits(results: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_PLAIN", raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert table(results) == 0
    text = capsys.readouterr().out
    assert "\x1b[1m65.20" in text
    assert "cityscapes_pspnet, n = 3" in text
    monkeypatch.setenv("BENCH_PLAIN", "1")
    assert table(results) == 0
    assert capsys.readouterr().out.startswith("# Transfer results")


def test_a_choice_is_printed_and_nothing_is_written(results: Path, capsys: Output) -> None:
    words = ["--rows", "coco_two_loss", "coco", "--columns", "mIoU", "--arch", "resnet50", "--profile", "mini"]
    assert table(results, *words, "--format", "latex", "--caption", "Ours", "--label", "tab:o") == 0
    text = capsys.readouterr().out
    assert text.index(r"coco\_two\_loss & resnet50 &") < text.index("coco & coco & resnet50")
    assert "% Transfer results. Made from the records by bench table " in text
    assert "--rows coco_two_loss coco --columns mIoU" in text.splitlines()[0]
    assert r"\caption{Ours}" in text
    assert not (results / "tables").exists()


@pytest.mark.parametrize("format", ["terminal", "markdown", "latex", "html", "csv", "csv-wide", "csv-long", "json"])
def test_a_file_has_what_would_be_printed(results: Path, format: str, capsys: Output) -> None:
    words = ["--columns", "mIoU", "--format", format]
    assert table(results, *words) == 0
    printed = capsys.readouterr().out
    file = results / "some" / "table.txt"
    assert table(results, *words, "--to", str(file)) == 0
    said = [line for line in printed.splitlines() if not line.startswith("% Transfer")]  # which says the command
    assert [line for line in file.read_text().splitlines() if not line.startswith("% Transfer")] == said
    assert capsys.readouterr().out == ""
    assert "coco" in printed


def test_verdicts_are_in_cells_as_asked(results: Path, capsys: Output) -> None:
    for format, usual in (("terminal", False), ("latex", False), ("markdown", True)):
        for words, there in (([], usual), (["--verdicts"], True), (["--no-verdicts"], False)):
            assert table(results, "--format", format, "--columns", "mIoU", *words) == 0
            assert ("(3) +4.20" in capsys.readouterr().out) == there, (format, words)


def test_time_and_memory_take_a_choice(results: Path, capsys: Output) -> None:
    write(linear("timed", 0, 1.0, wall_seconds={"linear": 12.5}), results / "records")
    assert table(results, "--resources", "--rows", "timed", "--format", "csv-wide") == 0
    assert ",12.5,,1" in capsys.readouterr().out.splitlines()[1]
    assert table(results, "--resources", "--rows", "coco", "--format", "csv-wide") == 2
    assert "What --rows names has no value in any table" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "coca"], "There is no row 'coca'; did you mean coco"),
        (["--check", "--rows", "coco"], "--check compares whole tables; leave --rows"),
        (["--resources", "--format", "csv-long"], "csv-long has the metrics of records"),
        (["--caption", "x", "--format", "csv"], "--caption and --label are for --format latex, not csv"),
        (["--to", "."], ". is a folder; give --to a file in it."),
        (["--format", "pdf"], "'pdf' is not one of 'terminal'"),
    ],
)
def test_what_does_not_go_together_is_refused(results: Path, words: list[str], said: str, capsys: Output) -> None:
    write_tables(results)
    before = {file: file.read_bytes() for file in (results / "tables").iterdir()}
    assert table(results, *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert {file: file.read_bytes() for file in (results / "tables").iterdir()} == before


def test_an_output_without_all_signs_gets_the_numbers(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # as main leaves it
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "latin-1"))
    monkeypatch.setattr(sys, "argv", ["bench", "table", "--results-dir", str(results), "--format", "markdown"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    sys.stdout.flush()
    assert "**65.00** ± 1.00 (3) +4.00 \\u2191" in written.getvalue().decode("latin-1")
