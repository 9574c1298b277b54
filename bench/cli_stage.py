"""The command that runs one stage: `bench stage`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import cli_completion
from bench.cli_options import App, Gpus, StaleOption

app = App()


@app.command("stage")
def stage_command(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A stage's folder, as bench plan names it.",
            metavar="FOLDER",
            autocompletion=cli_completion.stage_folders,
        ),
    ],
    gpus: Gpus = 1,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="If another process runs it: wait, or leave.")] = True,
    stale: StaleOption = "refuse",
    nodes: Annotated[int, typer.Option(min=1, help="Nodes, on each of which this command is started.")] = 1,
    rendezvous: Annotated[
        str | None, typer.Option(help="Where the nodes meet: one of them, and a free port.", metavar="HOST:PORT")
    ] = None,
    max_restarts: Annotated[
        int | None, typer.Option(min=0, help="Restarts of all processes after one died (3; or BENCH_MAX_RESTARTS).")
    ] = None,
) -> None:
    """Run one stage in this process, or in several (what torchrun and a cluster call)."""
    from bench.execute.devices import check_gpus
    from bench.execute.launch import Layout, chosen_restarts
    from bench.execute.stage import run_stage
    from bench.execute.stage_file import read_stage

    layout = Layout(gpus, nodes, rendezvous, chosen_restarts() if max_restarts is None else max_restarts)
    layout.check()
    check_gpus(gpus)
    with read_stage(folder).in_its_mode():
        run_stage(folder, gpus, wait, stale, layout)
