"""Sections as Markdown, LaTeX, HTML and CSV: what is escaped, what is bold, what programs read."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from example_records import THREE, linear

from bench.errors import BadInput
from bench.results.formats import render
from bench.results.sections import Row, Section
from bench.results.tables import build_tables

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
NONE = Path("no such folder")

HOSTILE = "a|b_*c*&<x>$%_{~}\\"


def hostile() -> list[Section]:
    section = build_tables([linear("coco", 0, 40.0)], NONE)[0]
    row = section.rows[0]
    return [
        Section(HOSTILE, "mini", section.leading, section.columns, (Row(("s", HOSTILE, "r"), row.cells),), (HOSTILE,))
    ]


def test_markdown_escapes_what_would_break_the_table() -> None:
    text = render(hostile(), "markdown")
    assert r"a\|b\_\*c\*&\<x>$%\_{\~}\\" in text
    row = next(line for line in text.splitlines() if line.startswith("| s"))
    assert row.replace(r"\|", "").count("|") == 5


def test_names_with_underscores_stay_readable_in_markdown() -> None:
    assert "| coco_two_loss |" in render(build_tables([linear("coco_two_loss", 0, 1.0)], NONE), "markdown")


def test_latex_escapes() -> None:
    text = render(hostile(), "latex")
    assert r"a\textbar{}b\_*c*\&$<$x$>$\$\%\_\{\textasciitilde{}\}\textbackslash{}" in text
    plain = render(build_tables(THREE, NONE), "latex")
    assert r"\textbf{65.20} $\pm$ 0.61 (3) +4.20 $\uparrow$" in plain
    assert r"coco\_two\_loss" in plain
    body = "\n".join(line for line in plain.splitlines() if not line.startswith("%"))
    assert body.isascii()


def test_html_escapes() -> None:
    text = render(hostile(), "html")
    assert "&lt;x&gt;" in text
    assert "<x>" not in text
    assert "<strong>65.20</strong> ± 0.61 (3)" in render(build_tables(THREE, NONE), "html")


def test_csv_is_for_programs() -> None:
    lines = list(csv.DictReader(io.StringIO(render(build_tables(THREE, REFERENCE), "csv"))))
    row = next(line for line in lines if line["section"] == "mini" and line["Pretrain"] == "coco")
    assert (row["mIoU"], row["mIoU between"], row["mIoU n"]) == ("65.0", "1.0", "3")
    assert (row["mIoU within"], row["mIoU values"], row["mIoU verdict about"]) == ("", "3", "methods")
    assert (row["mIoU difference"], row["mIoU verdict"]) == ("4.0", "higher")
    assert row["mIoU protocol"] == THREE[0].fingerprints.protocol
    published = next(line for line in lines if line["published"] == "yes" and line["Pretrain"] == "coco")
    assert (published["section"], published["mIoU"], published["mIoU n"]) == ("full", "64.97", "")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(BadInput, match="'markdwon'; did you mean markdown"):
        render([], "markdwon")
