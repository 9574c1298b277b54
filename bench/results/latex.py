"""Sections as LaTeX with the rules of booktabs, ready for a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.results.cells import ALL, Shown, cell_text
from bench.results.escapes import escape_latex
from bench.results.headers import headers_of, runs_of
from bench.results.look import Heading, Look
from bench.results.sections import Cell, Column, Section
from bench.results.short_notes import row_marks, short_notes

WIDE = 8  # columns of numbers that a page has room for
SHORT = Shown(counts=False, marks=False, verdicts=False)


def as_latex(sections: Sequence[Section], heading: Heading, look: Look) -> str:
    """Return a `table` for each section, with caption and label, and comments that say where it comes from.

    With verdicts all notes stand below the table; without, short ones do, and the rest are comments.
    """
    parts = [_comments([f"{heading.title}. {look.made_by}", heading.legend, "Needs \\usepackage{booktabs}."])]
    parts += [_table(section, look, one_of_many=len(sections) > 1) for section in sections]
    return "\n\n".join(parts) + "\n"


def _table(section: Section, look: Look, *, one_of_many: bool) -> str:
    caption = f"{look.caption} ({section.title})" if look.caption and one_of_many else look.caption or section.title
    label = f"{look.label}-{section.key}" if look.label and one_of_many else look.label or f"tab:{section.key}"
    lines = ["\\begin{table}", "\\centering", f"\\caption{{{escape_latex(caption)}}}", f"\\label{{{_label(label)}}}"]
    if len(section.columns) > WIDE:
        hint = f"{len(section.columns)} columns are more than a page has room for; choose some with --columns."
        lines.insert(0, _comments([hint]))
    align = "l" * len(section.leading) + "r" * len(section.columns)
    lines += [f"\\begin{{tabular}}{{{align}}}", "\\toprule", *_head(section), "\\midrule"]
    lines += [_line(texts) for texts in _rows(section, look)]
    lines += ["\\bottomrule", "\\end{tabular}"]
    notes = section.notes if look.verdicts else short_notes(section)
    if notes:
        lines.append("\\par\\smallskip\\footnotesize\\raggedright")
        lines += [f"{escape_latex(note)}\\par" for note in notes]
    lines.append("\\end{table}")
    if not look.verdicts and section.notes:
        lines.append(_comments(section.notes))
    return "\n".join(lines)


def _head(section: Section) -> list[str]:
    """The groups of columns with a rule below each, then the columns."""
    headers, start = headers_of(section.columns), len(section.leading)
    lines = []
    if headers:
        groups, rules, place = [""] * start, [], start + 1
        for group, count in runs_of(header.group for header in headers):
            groups.append(f"\\multicolumn{{{count}}}{{c}}{{{escape_latex(group)}}}")
            rules.append(f"\\cmidrule(lr){{{place}-{place + count - 1}}}")
            place += count
        lines = [_line(groups), " ".join(rules)]
    remarks = [f" ({column.remark})" if column.remark else "" for column in section.columns]
    names = [header.with_unit + remark for header, remark in zip(headers, remarks, strict=True)]
    return [*lines, _line([escape_latex(text) for text in (*section.leading, *names)])]


def _rows(section: Section, look: Look) -> list[list[str]]:
    lines = []
    for row in section.rows:
        leading = [escape_latex(text) for text in row.leading]
        for mark in row_marks(row):
            leading[section.named] += f"\\textsuperscript{{{escape_latex(mark)}}}"
        pairs = zip(row.cells, section.columns, strict=True)
        lines.append([*leading, *(_cell(cell, column, ALL if look.verdicts else SHORT) for cell, column in pairs)])
    return lines


def _cell(cell: Cell | None, column: Column, shown: Shown) -> str:
    return cell_text(cell, column, r"\textbf{{{}}}", _number, shown)


def _number(text: str) -> str:
    """Text of a cell, with a minus for a hyphen before a digit."""
    return escape_latex(re.sub(r"(?<!\S)-(?=\d)", "−", text))


def _line(texts: Sequence[str]) -> str:
    """One line of a table. After the end of another, a bracket or a star at the start would be read as its option."""
    text = " & ".join(texts)
    return ("{}" if text.startswith(("[", "*")) else "") + text + r" \\"


def _comments(sentences: Sequence[str]) -> str:
    return "\n".join(f"% {' '.join(sentence.split())}" for sentence in sentences)


def _label(text: str) -> str:
    r"""A label, in which neither \ nor braces nor what TeX reads as a command may stand."""
    return re.sub(r"[^\w:.+*/=-]+", "-", text, flags=re.ASCII)
