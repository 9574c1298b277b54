"""Singular values of what pretrainings put out: how many dimensions they use."""

from __future__ import annotations

import math

from bench.record import Record
from bench.results.plots.alignment_uniformity import OUTPUTS
from bench.results.plots.contract import Plot
from bench.results.plots.panels import Curve, Panel, Panels, at_most, in_groups
from bench.results.plots.row_values import RECORDS, facets, row_label
from bench.results.plots.sources import Sources
from bench.results.plots.style import literal


def content(sources: Sources) -> Panels | None:
    """Return a panel for each output of each way in which diagnostics were measured, a line a trunk."""
    every = [facet for facet in facets(sources) if facet.kind == "diagnostics"]
    panels = []
    for facet in every:
        for output in OUTPUTS:
            curves: dict[str, list[Curve]] = {}
            for record in sorted(facet.records, key=lambda one: (one.pretrain, one.fingerprints.recipe, one.seed)):
                x, y = _spectrum(record, output)
                if x:
                    label = row_label(record, sources)
                    about = {"pretrain": label, "seed": record.seed, "output": output, **facet.about()}
                    curves.setdefault(label, []).append(Curve(label, about, x, y))
            groups = in_groups(list(curves))
            for place, group in enumerate(groups, 1):
                words = f"{output}, {facet.network}\n{literal(facet.dataset)}" + (
                    f" ({place} of {len(groups)})" if len(groups) > 1 else ""
                )
                chosen = tuple(curve for label in group for curve in curves[label])
                panels.append(
                    Panel(words, "Rank of the singular value", "Singular value", chosen, log_x=True, log_y=True)
                )
    if not panels:
        return None
    shown, left = at_most(panels, lambda count: f"{count} more panels are left out; --rows chooses.")
    caption = (
        "Singular values of the covariance of normalised outputs on validation images, the largest first, at powers "
        "of two of their rank; values of 0 are left out. A steep fall is a collapse to few dimensions. A line is one "
        f"pretraining.{left}"
    )
    return Panels(shown, caption, ("rank", "singular_value"))


def _spectrum(record: Record, output: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Ranks and singular values of a record, without those of 0."""
    kept = record.metrics.get(f"{output}_log10_spectrum")
    if not isinstance(kept, dict):
        return (), ()
    pairs = sorted(
        (int(rank), 10.0**value) for rank, value in kept.items() if value is not None and rank.isdigit() and value < 300
    )
    pairs = [(rank, value) for rank, value in pairs if rank > 0 and 0 < value < math.inf]
    return tuple(float(rank) for rank, _ in pairs), tuple(value for _, value in pairs)


PLOT = Plot(
    "spectra",
    "Singular-value spectra",
    "Singular values of each row's outputs over their rank, of the backbone and of the projector.",
    RECORDS.format("a spectrum (the task diagnostics measures it)"),
    content,
)
