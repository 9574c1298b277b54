"""Commands about where a number comes from, and whether it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli_options import App

app = App()

RecordName = Annotated[
    str,
    typer.Argument(help="A record: its file, its name, or how its fingerprint begins.", metavar="RECORD"),
]
Results = Annotated[Path, typer.Option("--results-dir", envvar="BENCH_RESULTS_DIR", help="Where records are.")]


@app.command("trace")
def trace_command(
    name: RecordName,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    results_dir: Results = Path("results"),
) -> None:
    """Say what a number was made of, from the first pretraining on, and the command that makes its row anew."""
    from bench.execute.trace import content, find_record, lines

    file, record = find_record(name, results_dir)
    if as_json:
        print(json.dumps(content(file, record), indent=1))
        return
    print("\n".join(lines(file, record)))
