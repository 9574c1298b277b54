"""Sections -> text: Markdown, LaTeX and HTML for people, CSV for programs."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.errors import BadInput, nearest_or_all
from bench.results.interventions import INTERVENED, intervention_words
from bench.results.other_code import MARK
from bench.results.sections import EMPTY, Cell, Column, Row, Section
from bench.results.statistics import THESE_WEIGHTS

SUFFIXES = {"markdown": "md", "csv": "csv", "latex": "tex", "html": "html"}

ORIGIN = "Derived from the records by bench table; never edited."


@dataclass(frozen=True)
class Heading:
    """What stands above the sections of a page."""

    title: str
    legend: str


TRANSFER = Heading(
    "Transfer results",
    "Metrics in percent. A cell holds mean ± sample standard deviation over pretrained trunks (their number). A trunk "
    "that was measured by several seeds of the task counts by its mean: (trunks×task seeds, within: the spread of the "
    "task seeds of one trunk); of a single trunk ± is that spread. Then the difference to the baseline row and a "
    "verdict: ↑ higher, ↓ lower (Welch's t-test over trunks, two-sided, p < 0.05 after Holm's correction over the rows "
    "of a column that are compared with a baseline), ≈ these runs cannot tell the two apart, ? cannot be judged (a "
    "single value, or no spread); ¶ it is about the weights of a single trunk, and not about the method that gave "
    "them. Bold: the row with the highest mean and those that the same test, corrected over the rows that are compared "
    "with it, does not tell from it; rows that it cannot judge (a single value, or no spread) are not bold. ¶ at a "
    "bold mean: that it is bold rests on a single trunk. † published, not measured here. – no value.",
)
RESOURCES = Heading(
    "Time and memory",
    "What each stage took. s: wall seconds, mean ± sample standard deviation over runs (number of runs). MiB: the "
    "most memory that the stage's first process held, without the loader's workers; GPU MiB: the most that torch had "
    "allocated on its device; of several runs the highest (number of runs). Times compare within a machine alone. "
    "– no value.",
)


@dataclass(frozen=True)
class _Format:
    """How one markup language writes what a table needs."""

    table: str  # tabulate's name
    escape: Callable[[str], str]
    bold: str  # with {} for the text


def render(sections: Sequence[Section], format: str, heading: Heading = TRANSFER) -> str:
    """Return sections below a heading as `markdown`, `csv`, `latex` or `html`, ending with a line feed.

    CSV has one line a row over all sections and, for each column, mean, spread between trunks and within them, number
    of trunks (n) and of values, difference, verdict, its p and that after Holm's correction, what it is about,
    protocol, precision and other code (of what a stage took: the value, std and n); it has no heading and no notes.
    Its columns have the same names whatever was measured. Raises BadInput for another format.
    """
    writers = {"markdown": _markdown, "csv": _csv, "latex": _latex, "html": _html}
    if format not in writers:
        raise BadInput(f"Unknown format {format!r}{nearest_or_all(format, writers)}")
    return writers[format](sections, heading)


def cell_text(cell: Cell | None, column: Column, bold: str = "{}", escape: Callable[[str], str] = str) -> str:
    """Return a cell as text: `64.97 ± 0.30 (3) +0.22 ≈`; one value has no ±, a published one has no number of trunks.

    In a column of several data sets, each of which has its own baseline, the difference is in brackets.
    """
    if cell is None:
        return escape(EMPTY)
    digits = column.decimals
    mean = signed(cell.summary.mean, digits) if cell.signed else f"{cell.summary.mean:.{digits}f}"
    if cell.published:
        return escape(mean if cell.difference is None else f"{mean} ({signed(cell.difference, digits)})")
    text = bold.format(escape(mean)) if cell.best else escape(mean)
    text += escape(THESE_WEIGHTS) if cell.best and cell.best_about == "weights" else ""
    spread = cell.summary.within if cell.summary.between is None else cell.summary.between
    if spread is not None:
        text += escape(f" ± {spread:.{digits}f}")
    text += escape(f" ({_counts(cell, digits)})")
    if cell.other_code:
        text += escape(f" {MARK}")
    if cell.interventions:
        text += escape(f" {INTERVENED}")
    if cell.difference is not None and cell.verdict is not None:
        words = f"{signed(cell.difference, digits)} {cell.verdict.symbol}"
        words += THESE_WEIGHTS if cell.verdict.about == "weights" else ""
        text += escape(f" ({words})" if column.mixed else f" {words}")
    return text


def _counts(cell: Cell, digits: int) -> str:
    """`3` trunks, `3×5` where each has five task seeds, `3, 14 runs` where they have differently many."""
    summary = cell.summary
    if summary.within is None:
        return str(summary.n)
    seeds = {len(values) for values in cell.values}
    counts = f"{summary.n}×{min(seeds)}" if len(seeds) == 1 else f"{summary.n}, {summary.count} runs"
    return counts if summary.between is None else f"{counts}, within {summary.within:.{digits}f}"


def signed(value: float, digits: int) -> str:
    """A difference with its sign; what rounds to nothing has none, and the minus is a real one."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _grid(section: Section, format: _Format) -> str:
    from tabulate import tabulate

    head = [format.escape(name) for name in (*section.leading, *(column.title for column in section.columns))]
    lines = []
    for row in section.rows:
        leading = [format.escape(text) for text in row.leading]
        if row.published:
            leading[section.named] += format.escape(" †")
        if row.older:
            leading[section.named] += format.escape(" ‡")
        pairs = zip(row.cells, section.columns, strict=True)
        lines.append([*leading, *(cell_text(cell, column, format.bold, format.escape) for cell, column in pairs)])
    align = ["left"] * len(section.leading) + ["right"] * len(section.columns)
    return tabulate(lines, head, tablefmt=format.table, disable_numparse=True, colalign=align if lines else None)


def escape_markdown(text: str) -> str:
    """Escape what GitHub's Markdown would read as markup; underscores inside words are none."""
    text = re.sub(r"([\\`*|\[\]~]|<(?=[A-Za-z/!?]))", r"\\\1", text.replace("\n", " "))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def escape_latex(text: str) -> str:
    """Escape LaTeX's special characters and write the table's signs in mathematics."""
    signs = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " "}
    signs |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
    signs |= {
        "≈": r"$\approx$",
        "±": r"$\pm$",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
        "§": r"\S{}",
        "¶": r"\P{}",
        "‖": r"$\|$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
    }
    signs |= {"−": "$-$", "–": "--", "<": "$<$", ">": "$>$", "×": r"$\times$", "…": r"\dots{}", "τ": r"$\tau$"}
    return "".join(signs.get(sign, sign) for sign in text)


_MARKDOWN = _Format("github", escape_markdown, "**{}**")
_LATEX = _Format("latex_raw", escape_latex, r"\textbf{{{}}}")
_HTML = _Format("unsafehtml", html.escape, "<strong>{}</strong>")


def _markdown(sections: Sequence[Section], heading: Heading) -> str:
    parts = [f"# {heading.title}", escape_markdown(ORIGIN), escape_markdown(heading.legend)]
    for section in sections:
        parts += [f"## {escape_markdown(section.title)}", _grid(section, _MARKDOWN)]
        if section.notes:
            parts.append("\n".join(f"- {escape_markdown(note)}" for note in section.notes))
    if not sections:
        parts.append("No records yet.")
    return "\n\n".join(parts) + "\n"


def _latex(sections: Sequence[Section], heading: Heading) -> str:
    parts = [f"% {heading.title}. {ORIGIN}\n% {heading.legend}"]
    for section in sections:
        lines = [f"\\section*{{{escape_latex(section.title)}}}", _grid(section, _LATEX)]
        if section.notes:
            items = [f"  \\item {escape_latex(note)}" for note in section.notes]
            lines += ["\\begin{itemize}", *items, "\\end{itemize}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _html(sections: Sequence[Section], heading: Heading) -> str:
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{heading.title}</title></head>\n<body>',
        f"<h1>{heading.title}</h1>\n<p>{html.escape(ORIGIN)}</p>\n<p>{html.escape(heading.legend)}</p>",
    ]
    for section in sections:
        parts += [f"<h2>{html.escape(section.title)}</h2>", _grid(section, _HTML)]
        if section.notes:
            items = "\n".join(f"<li>{html.escape(note)}</li>" for note in section.notes)
            parts.append(f"<ul>\n{items}\n</ul>")
    if not sections:
        parts.append("<p>No records yet.</p>")
    return "\n".join([*parts, "</body>\n</html>"]) + "\n"


def _csv(sections: Sequence[Section], _heading: Heading) -> str:
    """One line a row, the union of all columns; values rounded to six decimals."""
    import pandas as pd

    lines: list[dict[str, str]] = []
    for section in sections:
        for row in section.rows:
            line = {"section": section.key, "published": "yes" if row.published else "no"}
            line["older definition"] = row.older
            acts = [cell.interventions.split("; ") for cell in row.cells if cell is not None and cell.interventions]
            line["interventions"] = intervention_words(acts)
            lines.append(line | dict(zip(section.leading, row.leading, strict=True)) | _csv_cells(section, row))
    fields = dict.fromkeys(
        ["section", "published", "older definition", "interventions", *(name for line in lines for name in line)]
    )
    return pd.DataFrame(lines, columns=list(fields)).to_csv(index=False, lineterminator="\n")


def _csv_cells(section: Section, row: Row) -> dict[str, str]:
    values: dict[str, str] = {}
    for column, cell in zip(section.columns, row.cells, strict=True):
        name = column.header
        measured = cell if cell is not None and not cell.published else None
        values[name] = _plain(cell.summary.mean if cell else None)
        if not (column.amount or column.protocol or column.mixed):
            continue  # nothing measured here, hence no spread to tell of
        summary = measured.summary if measured else None
        if column.amount:
            values[f"{name} std"] = _plain(summary.between if summary else None)
            values[f"{name} n"] = str(summary.n) if summary else ""
        else:
            values[f"{name} between"] = _plain(summary.between if summary else None)
            values[f"{name} within"] = _plain(summary.within if summary else None)
            values[f"{name} n"] = str(summary.n) if summary else ""
            values[f"{name} values"] = str(summary.count) if summary else ""
            values[f"{name} difference"] = _plain(cell.difference if cell else None)
            verdict = measured.verdict if measured else None
            values[f"{name} verdict"] = verdict.word if verdict else ""
            values[f"{name} p"] = "" if verdict is None or verdict.p is None else f"{verdict.p:.4g}"
            adjusted = None if verdict is None else verdict.adjusted
            values[f"{name} p Holm"] = "" if adjusted is None else f"{adjusted:.4g}"
            values[f"{name} verdict about"] = verdict.about if verdict and verdict.p is not None else ""
            values[f"{name} protocol"] = (column.protocol or measured.protocol) if measured else ""
            values[f"{name} precision"] = measured.precision if measured else ""
            values[f"{name} other code"] = measured.other_code if measured else ""
    return values


def _plain(value: float | None) -> str:
    return "" if value is None else str(round(value, 6))
