"""Sections -> text: Markdown and HTML here, the other formats by modules of their own."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.errors import BadInput, nearest_or_all
from bench.results.blocks import Block, blocks_of
from bench.results.cells import ALL, Shown, cell_text
from bench.results.csv_forms import full_csv, wide_csv
from bench.results.escapes import escape_markdown
from bench.results.json_form import as_json
from bench.results.latex import as_latex
from bench.results.look import AS_KEPT, TRANSFER, Heading, Look
from bench.results.sections import Section
from bench.results.short_notes import row_marks
from bench.results.terminal import as_terminal

SUFFIXES = {"markdown": "md", "csv": "csv", "latex": "tex", "html": "html"}  # of the files of a tables folder
WIDE = 160  # characters of a line of Markdown, above which a table is cut into several
SHORT = Shown(counts=False, marks=True, verdicts=False)


@dataclass(frozen=True)
class _Format:
    """How one markup language writes what a table needs."""

    table: str  # tabulate's name
    escape: Callable[[str], str]
    bold: str  # with {} for the text


def render(sections: Sequence[Section], format: str, heading: Heading = TRANSFER, look: Look = AS_KEPT) -> str:
    """Return sections below a heading in a format, ending with a line feed.

    `terminal`, `markdown`, `latex` and `html` are for people. `csv` has one line a row over all sections and, for each
    column, mean, spread between trunks and within them, number of trunks (n) and of values, difference, verdict, its p
    and that after Holm's correction, what it is about, protocol, precision and other code (of what a stage took: the
    value, std and n); `csv-wide` has mean, std and n alone; both have no heading and no notes, and their columns have
    the same names whatever was measured. `json` has all. Raises BadInput for another format.
    """
    writers: dict[str, Callable[[], str]] = {
        "terminal": lambda: as_terminal(sections, heading, look),
        "markdown": lambda: _markdown(sections, heading, look),
        "latex": lambda: as_latex(sections, heading, look),
        "html": lambda: _html(sections, heading, look),
        "csv": lambda: full_csv(sections),
        "csv-wide": lambda: wide_csv(sections),
        "json": lambda: as_json(sections, heading),
    }
    if format not in writers:
        raise BadInput(f"Unknown format {format!r}{nearest_or_all(format, writers)}")
    return writers[format]()


def _grid(section: Section, format: _Format, look: Look, *, most: int | None = None) -> str:
    """One table, or several below each other where its lines would have more than `most` characters."""
    from tabulate import tabulate

    head = [format.escape(name) for name in (*section.leading, *(column.title for column in section.columns))]
    lines = []
    for row in section.rows:
        leading = [format.escape(text) for text in row.leading]
        leading[section.named] += "".join(format.escape(f" {mark}") for mark in row_marks(row))
        pairs, shown = zip(row.cells, section.columns, strict=True), ALL if look.verdicts else SHORT
        lines.append(
            [*leading, *(cell_text(cell, column, format.bold, format.escape, shown) for cell, column in pairs)]
        )
    names = len(section.leading)
    blocks = [Block(tuple(range(len(lines))), tuple(range(len(section.columns))))]
    if most is not None:
        texts = [(f"{name}  ", *(line[i] for line in lines)) for i, name in enumerate(head)]  # tabulate's padding
        widths = [max(map(len, some)) + len("|  ") for some in texts]
        taken = sum(widths[:names]) + len("|")
        blocks = blocks_of(section, lambda block: taken + sum(widths[names + i] for i in block.columns), most)
    tables = []
    for block in blocks:
        places = [*range(names), *(names + i for i in block.columns)]
        chosen = [[lines[row][i] for i in places] for row in block.rows]
        align = (["left"] * names + ["right"] * len(block.columns)) if chosen else None
        heads = [head[i] for i in places]
        tables.append(tabulate(chosen, heads, tablefmt=format.table, disable_numparse=True, colalign=align))
    return "\n\n".join(tables)


_MARKDOWN = _Format("github", escape_markdown, "**{}**")
_HTML = _Format("unsafehtml", html.escape, "<strong>{}</strong>")


def _markdown(sections: Sequence[Section], heading: Heading, look: Look) -> str:
    parts = [f"# {heading.title}", escape_markdown(look.made_by), escape_markdown(heading.legend)]
    for section in sections:
        parts += [f"## {escape_markdown(section.title)}", _grid(section, _MARKDOWN, look, most=WIDE)]
        if section.notes:
            parts.append("\n".join(f"- {escape_markdown(note)}" for note in section.notes))
    if not sections:
        parts.append("No records yet.")
    return "\n\n".join(parts) + "\n"


def _html(sections: Sequence[Section], heading: Heading, look: Look) -> str:
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{heading.title}</title></head>\n<body>',
        f"<h1>{heading.title}</h1>\n<p>{html.escape(look.made_by)}</p>\n<p>{html.escape(heading.legend)}</p>",
    ]
    for section in sections:
        parts += [f"<h2>{html.escape(section.title)}</h2>", _grid(section, _HTML, look)]
        if section.notes:
            items = "\n".join(f"<li>{html.escape(note)}</li>" for note in section.notes)
            parts.append(f"<ul>\n{items}\n</ul>")
    if not sections:
        parts.append("<p>No records yet.</p>")
    return "\n".join([*parts, "</body>\n</html>"]) + "\n"
