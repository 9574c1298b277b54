"""Commands that show what there is: configs, objectives, and this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bench import cli_completion
from bench.cli_options import App, Assignments, DataRoot, ProfileOption
from bench.errors import BadInput, StageFailed

app = App()


@app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List pretrainings, downstream tasks and objectives."""
    from bench.execute.inventory import inventory

    listed = inventory()
    if as_json:
        print(json.dumps(listed, indent=1))
        return
    for title, entries in listed.items():
        print(title)
        width = max(map(len, entries), default=0)
        for name, summary in entries.items():
            print(f"  {name:<{width}}  {summary}")


@app.command("show", safe=True)
def show_command(
    name: Annotated[
        str,
        typer.Argument(
            help="A config, by name or path, or an objective. One in Python is run when it is read, unless --safe.",
            metavar="NAME",
            autocompletion=cli_completion.shown,
        ),
    ],
    profile: ProfileOption = "full",
    assignments: Assignments = [],  # noqa: B006
) -> None:
    """Show a config as it is after inheritance, profile and --set; or an objective's settings."""
    from bench.execute.inventory import described, resolved

    if (lines := described(name)) is not None:
        if assignments or profile != "full":
            raise BadInput(f"{name} is an objective; --set and --profile are for configs (bench list shows them).")
        print("\n".join(lines))
        return
    docstring, values = resolved(name, profile, assignments)
    print(docstring + "\n")
    print(json.dumps(values, indent=1))


@app.command("doctor")
def doctor_command(
    data_root: DataRoot = [],  # noqa: B006
) -> None:
    """Say what this machine has: versions, devices, data, and how to get what is missing."""
    from bench.execute.doctor import diagnose

    problems = diagnose(data_root)
    if problems:
        raise StageFailed(f"{problems} of the things above are missing.")
