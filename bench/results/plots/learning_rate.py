"""The learning rate over the steps of pretrainings."""

from __future__ import annotations

from bench.results.plots.contract import Plot
from bench.results.plots.logged import RUNS, one_key
from bench.results.plots.panels import Panels
from bench.results.plots.sources import Sources


def content(sources: Sources) -> Panels | None:
    """Return the rate of each run."""
    return one_key(sources, "lr", "Learning rate", "Learning rate as it was logged, of each pretraining.")


PLOT = Plot(
    "learning-rate",
    "Learning rate during pretraining",
    "The learning rate over the steps of each pretraining.",
    RUNS.format("a learning rate"),
    content,
)
