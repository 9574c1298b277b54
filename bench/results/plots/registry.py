"""All figures by name, and those that some sources have data for."""

from __future__ import annotations

from bench.results.plots import (
    alignment_uniformity,
    class_iou,
    data_wait,
    diagnostics_over_time,
    learning_rate,
    losses,
    scores_on_the_way,
    spectra,
    throughput,
    trade_off,
    transfer,
    transfer_over_epochs,
)
from bench.results.plots.contract import WIDE, Content, Drawn, Plot
from bench.results.plots.inline import inline, svg_of
from bench.results.plots.sources import Sources
from bench.results.plots.style import drawing

PLOTS: dict[str, Plot] = {
    module.PLOT.name: module.PLOT
    for module in (
        transfer,
        trade_off,
        class_iou,
        transfer_over_epochs,
        scores_on_the_way,
        alignment_uniformity,
        spectra,
        diagnostics_over_time,
        losses,
        learning_rate,
        throughput,
        data_wait,
    )
}


def drawn(sources: Sources, width: float = WIDE) -> list[Drawn]:
    """Return the figures that the sources have data for, in the order of PLOTS; `width` is in inches."""
    return [draw(plot, content, width) for plot in PLOTS.values() if (content := plot.content(sources)) is not None]


def draw(plot: Plot, content: Content, width: float = WIDE) -> Drawn:
    """Return a figure for a page. Equal numbers give equal bytes."""
    with drawing(plot.name):
        written = svg_of(content.figure(width))
    svg = inline(written, plot.name, plot.title, content.caption)
    return Drawn(plot.name, plot.title, content.caption, svg, content.rows)
