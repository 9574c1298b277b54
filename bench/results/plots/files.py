"""A figure as a file for a paper: SVG, PDF or PNG, in plain colours on white."""

from __future__ import annotations

import io
from pathlib import Path

from bench.errors import BadInput
from bench.files import replacing
from bench.results.plots import style
from bench.results.plots.contract import Content, Plot
from bench.results.plots.inline import document, inline, svg_of

FORMATS = ("svg", "pdf", "png")
DOTS = 300  # an inch, of PNG


def save(plot: Plot, content: Content, file: Path, width: float) -> None:
    """Write a figure, whole or not at all, in the format that the file's name ends with.

    Equal numbers give equal bytes. Raises BadInput for another format, or a file that cannot be written.
    """
    made = as_bytes(plot, content, format_of(file), width)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_bytes(made)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(f"Cannot write {file} ({reason}); give another file with --to.") from error


def format_of(file: Path) -> str:
    """Return what a file's name ends with. Raises BadInput for what no figure is written as."""
    ending = file.suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise BadInput(f"A figure is written as .{', .'.join(FORMATS)}, and {file} is none of them; name it otherwise.")
    return ending


def as_bytes(plot: Plot, content: Content, ending: str, width: float) -> bytes:
    """Return what a file of one of FORMATS holds; `width` is in inches."""
    with style.drawing(plot.name):
        figure = content.figure(width)
        figure.set_facecolor(style.GROUND)
        if ending == "svg":
            return document(inline(svg_of(figure), plot.name, plot.title, content.caption, variables=False)).encode()
        written = io.BytesIO()
        if ending == "pdf":
            from matplotlib.backends.backend_pdf import FigureCanvasPdf

            dates = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None, "Title": plot.title}
            FigureCanvasPdf(figure).print_pdf(written, metadata=dates)
        else:
            from matplotlib.backends.backend_agg import FigureCanvasAgg

            figure.set_dpi(DOTS)
            FigureCanvasAgg(figure).print_png(written, metadata={"Software": None})
        return written.getvalue()
