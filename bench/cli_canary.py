"""The command that trains each objective for a moment: `bench canary`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import cli_completion
from bench.cli_options import App, WorkDir
from bench.errors import StageFailed

app = App()


@app.command("canary")
def canary_command(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Objectives; all, if left out.", metavar="[NAME …]", autocompletion=cli_completion.objectives
        ),
    ] = [],  # noqa: B006
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; one a core if left out.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Record the expected ranges anew.")] = False,
    mistakes: Annotated[bool, typer.Option("--mistakes", help="Plant mistakes and say which are noticed.")] = False,
    work_dir: WorkDir = Path("runs"),
) -> None:
    """Train each objective for 24 to 96 steps on a small fixed set, and say which train otherwise than recorded."""
    from bench.canary import runs
    from bench.canary.image_set import VERSION

    def report(name: str, run: Any, complaints: list[str]) -> None:
        accuracy = f"kNN {run.knn_random_percent:.0f} -> {run.knn_percent:.0f} %"
        accuracy += (
            "" if run.told != run.told else f", own task {run.told_random_percent:.0f} -> {run.told_percent:.0f} %"
        )
        words = "; ".join(complaints) or ("recorded" if record else "as recorded")
        print(
            f"{name:<24} loss {run.losses[0]:8.4g} -> {run.losses[-1]:8.4g}  {accuracy}  "
            f"rank {run.rank:.0f}, spread {run.std:.2f}  {run.seconds:.0f} s  {words}",
            flush=True,
        )

    def report_mistake(name: str, mistake: str, complaints: list[str]) -> None:
        print(f"{name:<20} {mistake:<26} {'; '.join(complaints) or 'NOT NOTICED'}", flush=True)

    jobs = jobs or len(os.sched_getaffinity(0))
    root = work_dir / "canary" / f"images-{VERSION}"
    if mistakes:
        missed = runs.plant(names, root, jobs, report_mistake)
        print(f"not noticed: {', '.join(sorted(missed)) or 'none'}")
    elif record:
        runs.record(names, root, jobs, report)
    elif failed := runs.check(names, root, jobs, report):
        raise StageFailed(f"{len(failed)} went otherwise than recorded: {', '.join(sorted(failed))}.")
