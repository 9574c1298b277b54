"""The command that runs one stage: `bench stage`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli_options import App, Gpus, StaleOption

app = App()


@app.command("stage")
def stage_command(
    folder: Annotated[Path, typer.Argument(help="A stage's folder, as bench plan names it.", metavar="FOLDER")],
    gpus: Gpus = 1,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="If another process runs it: wait, or leave.")] = True,
    stale: StaleOption = "refuse",
) -> None:
    """Run one stage in this process (what torchrun and a cluster call)."""
    from bench.execute.devices import check_gpus
    from bench.execute.stage import run_stage
    from bench.execute.stage_file import read_stage

    check_gpus(gpus)
    with read_stage(folder).in_its_mode():
        run_stage(folder, gpus, wait, stale)
