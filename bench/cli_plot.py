"""The command that draws figures of records, and of what pretrainings have logged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli_options import App
from bench.errors import BadInput, nearest_or_all

app = App()


@app.command("plot")
def plot_command(
    name: Annotated[str | None, typer.Argument(help="A figure, as --list names it.", metavar="NAME")] = None,
    to: Annotated[
        list[Path],
        typer.Option("--to", help="Files to write: .svg, .pdf or .png.", metavar="FILE", show_default="NAME.svg"),
    ] = [],  # noqa: B006
    show_list: Annotated[
        bool, typer.Option("--list", help="Say of each figure what it shows, and what it lacks here.")
    ] = False,
    rows: Annotated[
        list[str],
        typer.Option("--rows", help="Only these rows: names of pretrainings, or name @hash.", metavar="A [B …]"),
    ] = [],  # noqa: B006
    width: Annotated[
        Literal["column", "page"], typer.Option("--width", help="3.3 inches, or 6.9: a paper's column, or its page.")
    ] = "page",
    results_dir: Annotated[
        Path, typer.Option("--results-dir", envvar="BENCH_RESULTS_DIR", help="Where records are.", metavar="DIR")
    ] = Path("results"),
    work_dir: Annotated[
        list[Path],
        typer.Option(
            "--work-dir",
            envvar="BENCH_WORK_DIR",
            help="Work folders, whose pretrainings' logs are read.",
            metavar="DIR",
            show_default="runs",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Draw a figure of records, or of what pretrainings have logged, for a paper."""
    from bench.results.plots import NARROW, PLOTS, WIDE
    from bench.results.plots.files import format_of, save
    from bench.results.plots.reading import read_sources

    if name is None and not show_list:
        raise BadInput(f"bench plot needs the name of a figure: {', '.join(PLOTS)}; bench plot --list describes them.")
    if name is not None and name not in PLOTS:
        raise BadInput(f"There is no figure {name!r}{nearest_or_all(name, PLOTS)}")
    files = to or [Path(f"{name}.svg")]
    for file in files:
        format_of(file)  # said before anything is read
    sources = read_sources(results_dir, work_dir, rows)
    if name is None or show_list:
        for plot in PLOTS.values():
            print(f"{plot.name}: {plot.shows}" + ("" if plot.content(sources) else f"\n  not here: {plot.needs}"))
        return
    plot = PLOTS[name]
    content = plot.content(sources)
    if content is None:
        raise BadInput(plot.needs)
    for file in files:
        save(plot, content, file, NARROW if width == "column" else WIDE)
        print(f"wrote {file}")
    print(content.caption)
