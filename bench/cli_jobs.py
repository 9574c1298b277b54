"""Commands about stages that run somewhere: how they get on, what they print, and how they are ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench import cli_completion
from bench.cli_options import App, WorkDir
from bench.errors import BadInput

app = App()

STAGE_HELP = "A stage: its title, its fingerprint or how either begins, or its folder."


@app.command("status")
def status_command(
    work_dir: WorkDir = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    again: Annotated[
        bool, typer.Option("--watch", help="Look again and again, until all is done; q or Ctrl-C leaves.")
    ] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, help="Seconds between two looks of --watch.", metavar="SECONDS")
    ] = 2.0,
) -> int:
    """Say how each stage of a work folder gets on, whoever started it; exit code 1 if one failed."""
    from bench.execute.jobs.status import any_failed, lines, rows

    if again and as_json:
        raise BadInput("--watch shows stages to people, and --json to programs; give one of the two.")
    if again:
        from bench.execute.jobs.watch import watch

        return watch(work_dir, interval)
    found = rows(work_dir)
    if as_json:
        print(json.dumps([row.content() for row in found], indent=1))
    elif not found:
        print(f"There are no stages in {work_dir}; bench run makes them, and --work-dir says where they are.")
    else:
        print("\n".join(lines(found)))
    return int(any_failed(found))


@app.command("logs")
def logs_command(
    stage: Annotated[str, typer.Argument(help=STAGE_HELP, metavar="STAGE", autocompletion=cli_completion.stages)],
    follow: Annotated[bool, typer.Option("--follow", help="Go on printing until the stage ends.")] = False,
    work_dir: WorkDir = Path("runs"),
) -> None:
    """Print what a stage has printed."""
    from bench.execute.jobs.logs import show_log
    from bench.execute.jobs.named import folder_named

    show_log(folder_named(stage, work_dir), work_dir, follow)


@app.command("cancel")
def cancel_command(
    stages: Annotated[
        list[str], typer.Argument(help=STAGE_HELP, metavar="[STAGE …]", autocompletion=cli_completion.stages)
    ] = [],  # noqa: B006
    all_: Annotated[bool, typer.Option("--all", help="End all that runs or waits in the work folder.")] = False,
    work_dir: WorkDir = Path("runs"),
) -> None:
    """End stages so that each writes its last checkpoint; the others of their grid go on, but those that need them."""
    from bench.execute.jobs.cancel import cancel
    from bench.execute.jobs.named import folder_named

    if bool(stages) == all_:
        raise BadInput("bench cancel takes the stages to end, or --all; give one of the two.")
    lines = cancel(work_dir, None if all_ else [folder_named(stage, work_dir) for stage in stages])
    print("\n".join(lines))
