"""`bench plan`: the stages of a grid, how long they will take here, and what they would take on other machines."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bench.cli_options import App, GridGpus, PerStage, takes_request
from bench.errors import BadInput
from bench.execute.request import Request

app = App()

SIMULATED = ("--images", "--rate", "--link", "--storage", "--assume")


@app.command("plan", safe=True)
@takes_request
def plan_command(
    request: Request,
    gpus: GridGpus = 1,
    per_stage: PerStage = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Say how long each stage will take here, its peak memory and its disk; a minute is spent on timing.",
        ),
    ] = False,
    simulate: Annotated[
        str | None,
        typer.Option(
            "--simulate",
            help="Compute what the pretrainings would take on so many GPUs, from stated rates; nothing is run.",
            metavar="N[,N…]",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            help="Of an epoch: a number, coco, imagenet, imagenet22k or 100m.",
            show_default="the data set's",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Images a second that one GPU trains on.", show_default="as it was timed here"),
    ] = None,
    link: Annotated[
        float | None, typer.Option("--link", help="GB/s that a GPU sends to another node.", show_default="25")
    ] = None,
    storage: Annotated[
        float | None, typer.Option("--storage", help="GB/s that a node reads.", show_default="2")
    ] = None,
    assume: Annotated[
        list[str],
        typer.Option(
            "--assume", help="More: gpus_per_node=8 cores_per_node=96 core_rate=680 …", metavar="NAME=NUMBER [… …]"
        ),
    ] = [],  # noqa: B006
    as_json: Annotated[
        bool, typer.Option("--json", help="With --estimate or --simulate: print it alone, as JSON.")
    ] = False,
) -> None:
    """Print the stages: which are done, what each needs and produces, and the command of each."""
    from bench.execute.devices import check_gpus
    from bench.execute.grid import plan_grid

    if simulate is not None:
        if estimate:
            raise BadInput("--simulate is of other machines, --estimate of this one; give one of them.")
        _simulate(request, simulate, images, rate, link, storage, assume, as_json)
        return
    if any(value not in (None, []) for value in (images, rate, link, storage, assume)):
        raise BadInput(f"{', '.join(SIMULATED)} are of --simulate; give it with them, or leave them out.")
    check_gpus(gpus, per_stage)
    gpus = per_stage or gpus  # of one stage
    if estimate:
        from bench.execute.estimate import estimate_grid

        grid, estimated = estimate_grid(request, gpus)
        if as_json:
            print(json.dumps(estimated.content(), indent=1))
        else:
            print("\n".join([*grid.lines(gpus), "", *estimated.lines()]))
        return
    if as_json:
        raise BadInput("--json prints an estimate; give --estimate with it, or leave it out.")
    print("\n".join(plan_grid(request, act=False, gpus=gpus).lines(gpus)))


def _simulate(
    request: Request,
    gpus: str,
    images: str | None,
    rate: float | None,
    link: float | None,
    storage: float | None,
    assume: list[str],
    as_json: bool,
) -> None:
    from bench.execute.simulate import assumed, simulate_request

    for option, value in (("--rate", rate), ("--link", link), ("--storage", storage)):
        if value is not None and not 0 < value < float("inf"):
            raise BadInput(f"{option} must be a number above 0, not {value}; correct it.")
    simulations = simulate_request(request, gpus, images, rate, assumed(assume, link, storage))
    if as_json:
        print(json.dumps([one.content() for one in simulations], indent=1))
        return
    print("\n\n".join("\n".join(one.lines()) for one in simulations))
