"""Figures, derived from records and from what work folders hold. matplotlib is imported when one is drawn."""

from bench.results.plots.contract import NARROW, WIDE, Content, Drawn, Plot
from bench.results.plots.registry import PLOTS, draw, drawn
from bench.results.plots.sources import Sources
