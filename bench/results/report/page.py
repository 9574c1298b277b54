"""What a page shows -> one HTML file that loads nothing, by Jinja2, which escapes every text that it is given."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import writing_to
from bench.files import write_text
from bench.results.report.drawings import checked_svg
from bench.results.report.shown import Report

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "templates"
MOST_BYTES = 5_000_000
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def rendered(report: Report) -> str:
    """Return a page as HTML, of less than 5 MB where what may be left out makes it so.

    Left out are, in this order and as far as needed: the records as they are; pictures; figures. The page says so.
    """
    html = _html(report)
    if len(html.encode()) >= MOST_BYTES:
        shorter = tuple(replace(each, text=None) for each in report.evidence)
        words = "All records as they are, which would make this page too large; their files are in the results folder."
        report = replace(report, evidence=shorter, left_out=(*report.left_out, words))
        html = _html(report)
    if len(html.encode()) >= MOST_BYTES and report.panels:
        words = "All pictures, which would make this page too large; they are in the work folder."
        report = replace(report, panels=(), left_out=(*report.left_out, words))
        html = _html(report)
    if len(html.encode()) >= MOST_BYTES and report.figures:
        words = "All figures, which would make this page too large; bench plot draws them."
        html = _html(replace(report, figures=(), left_out=(*report.left_out, words)))
    return html


def write_page(report: Report, file: Path) -> int:
    """Write a page whole or not at all, and return its size in bytes; raises BadInput where it cannot be written."""
    html = rendered(report)
    with writing_to(file.parent, "--to"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, html)
    return len(html.encode())


def _html(report: Report) -> str:
    css, script = (_packaged(name) for name in ("report.css", "report.js"))
    drawn = [(figure, checked_svg(figure.svg, figure.name)) for figure in report.figures]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(report=report, css=css, script=script, policy=_policy(css, script), drawn=drawn)
    )


def _packaged(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").rstrip()


def _policy(css: str, script: str) -> str:
    """What the page may do: show its own pictures, and apply this very style sheet and this very script.

    Figures have `style` attributes, which can neither run nor load anything here.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_digest(css)}'",
            "style-src-attr 'unsafe-inline'",
            f"script-src '{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def data(value: Any) -> Markup:
        """Data for the script, in which nothing ends the element: no `<`, `>` or `&` stands in it."""
        text = json.dumps(value, ensure_ascii=False)
        for sign in "<>&\u2028\u2029":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        return Markup(text)

    def breakable(text: str) -> Markup:
        """A long name, which may be broken after its underscores and before its brackets."""
        return Markup("<wbr>").join(Markup.escape(part) for part in _seen(str(text)).replace("_", "_\0").split("\0"))

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: _seen(value) if type(value) is str else value,  # and not Markup
    )
    environment.filters |= {"data": data, "breakable": breakable, "markup": Markup}
    return environment


def _seen(text: str) -> str:
    """A text in which marks that turn the order of what follows, such as the digits of a number, can be seen."""
    return _TURNING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
