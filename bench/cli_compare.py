"""Commands about whether rows of the tables can be told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench import cli_completion
from bench.cli_options import App, RecordsDir
from bench.printable import screen_width

app = App()

Profile = Annotated[
    Literal["full", "mini", "smoke"] | None,
    typer.Option("--profile", help="Records of this profile.", show_default="the first in which all have records"),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.command("compare")
def compare_command(
    ours: Annotated[
        str,
        typer.Argument(
            help="A row: a pretraining's name, or name @hash.", metavar="A", autocompletion=cli_completion.rows
        ),
    ],
    theirs: Annotated[
        str, typer.Argument(help="The row that it is compared with.", metavar="B", autocompletion=cli_completion.rows)
    ],
    metric: Annotated[
        list[str],
        typer.Option("--metric", help="Only these, as records or tables name them.", metavar="NAME [NAME …]"),
    ] = [],  # noqa: B006
    task: Annotated[list[str], typer.Option("--task", help="Only these tasks.", metavar="X [Y …]")] = [],  # noqa: B006
    profile: Profile = None,
    results_dir: RecordsDir = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Compare two rows: effects, intervals by trunks and by images, settings that differ, what mars the comparison."""
    from bench.results.comparison import compare_rows
    from bench.results.comparison_text import content, fitting, lines

    comparison = compare_rows(ours, theirs, results_dir, metrics=metric, tasks=task, profile=profile)
    if as_json:
        print(json.dumps(content(comparison), indent=1))
        return
    print("\n".join(fitting(lines(comparison), screen_width())))


@app.command("aa")
def aa_command(
    rows: Annotated[
        list[str],
        typer.Argument(
            help="Rows of four trunks or more, by name.", metavar="A [B …]", autocompletion=cli_completion.rows
        ),
    ],
    draws: Annotated[int, typer.Option("--draws", min=20, help="Splits at most, and simulated tables.")] = 1000,
    family: Annotated[int, typer.Option("--rows", min=2, help="Equal rows in a simulated table.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is drawn.")] = 0,
    profile: Profile = None,
    results_dir: RecordsDir = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Say how often tables would call a row different from itself (an A/A study)."""
    from bench.results.equal_rows import compare_with_itself
    from bench.results.equal_rows_text import content, lines

    found = [
        compare_with_itself(row, results_dir, profile=profile, draws=draws, rows=family, seed=seed) for row in rows
    ]
    print(json.dumps(content(found, family, draws, seed), indent=1) if as_json else "\n".join(lines(found, family)))
