"""How many images a second pretrainings took in."""

from __future__ import annotations

from bench.results.plots.contract import Plot
from bench.results.plots.logged import RUNS, one_key
from bench.results.plots.panels import Panels
from bench.results.plots.sources import Sources


def content(sources: Sources) -> Panels | None:
    """Return the speed of each run, by machine."""
    says = (
        "Images a second over all processes of a pretraining, in each interval of its log. Runs on different machines "
        "stand apart; what else a machine did meanwhile is not known."
    )
    return one_key(sources, "images_per_second", "Images per second", says, machine=True)


PLOT = Plot(
    "throughput",
    "Throughput of pretraining",
    "Images a second over the steps of each pretraining, a panel for each kind of machine.",
    RUNS.format("a throughput"),
    content,
)
