"""The command that makes pictures of what finished stages have learnt."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench import cli_completion
from bench.cli_options import App, DataRoot, RecordsDir, WorkDir
from bench.errors import BadInput

app = App()

# Of KINDS; typer takes no list of a Literal.
KindOfPicture = StrEnum("KindOfPicture", ["segmentation", "neighbours", "pca"])


@app.command("pictures")
def pictures_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Records: a file, a name, or how a fingerprint begins.",
            metavar="RECORD",
            autocompletion=cli_completion.records,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All pretrainings and tasks in the results folder, with their lowest seeds.")
    ] = False,
    images: Annotated[int, typer.Option("--images", min=1, max=32, help="Fixed images of each data set.")] = 4,
    kinds: Annotated[
        list[KindOfPicture] | None,
        typer.Option("--kinds", help="What to draw.", metavar="K [K …]", show_default="all three"),
    ] = None,
    data_root: DataRoot = [],  # noqa: B006
    work_dir: WorkDir = Path("runs"),
    results_dir: RecordsDir = Path("results"),
) -> None:
    """Draw what finished stages have learnt: segmentations side by side, nearest neighbours, features as colours."""
    from bench.execute.pictures.make import make
    from bench.execute.pictures.shown_stages import records_of_all
    from bench.execute.trace import find_record
    from bench.results.report.picture_files import KINDS

    if every == bool(names):
        raise BadInput(
            "bench pictures draws the records that are named, or with --all those of all; give one of the two."
        )

    def say(sentence: str) -> None:
        print(f"note: {sentence}", flush=True)

    if every:
        records, others = records_of_all(results_dir)
        if others:
            say(f"{others} records of further seeds are left out; name records to draw them.")
    else:
        records = [find_record(name, results_dir) for name in names or []]
    written = make(records, work_dir, data_root, images, [kind for kind in KINDS if not kinds or kind in kinds], say)
    print(f"pictures: {written.file} ({written.images} images, {written.size / 1000:.0f} kB)")
