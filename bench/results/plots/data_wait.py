"""The share of their time that pretrainings waited for data."""

from __future__ import annotations

from bench.results.plots.contract import Plot
from bench.results.plots.logged import RUNS, one_key
from bench.results.plots.panels import Panels
from bench.results.plots.sources import Sources


def content(sources: Sources) -> Panels | None:
    """Return the share of each run, by machine, in percent."""
    says = (
        "Share of the time that the first process of a pretraining waited for its next batch, in each interval of its "
        "log. Where it is above a few percent, reading images is what limits the speed. Runs on different machines "
        "stand apart."
    )
    return one_key(sources, "data_wait_share", "Waiting for data (%)", says, machine=True, factor=100)


PLOT = Plot(
    "data-wait",
    "Waiting for data during pretraining",
    "The share of time that each pretraining waited for data, a panel for each kind of machine.",
    RUNS.format("how long it waited for data"),
    content,
)
