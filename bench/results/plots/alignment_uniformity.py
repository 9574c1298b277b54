"""The alignment–uniformity plane: how close the views of an image lie, and how evenly all images."""

from __future__ import annotations

from bench.results.plots.contract import Plot
from bench.results.plots.diagnostics_over_time import MEASURES
from bench.results.plots.row_values import RECORDS, facets, interval_words
from bench.results.plots.scatter import Plane, Point, Scatter, axes_of
from bench.results.plots.sources import Sources
from bench.results.plots.style import literal

OUTPUTS = ("backbone", "projector")


def content(sources: Sources) -> Scatter | None:
    """Return a plane for each output of each way in which diagnostics were measured."""
    every = [facet for facet in facets(sources) if facet.kind == "diagnostics"]
    planes = []
    for facet in every:
        for output in OUTPUTS:
            xs = facet.means(f"{output}_alignment", sources)
            ys = facet.means(f"{output}_uniformity", sources)
            about = {"output": output, **facet.about()}
            points = tuple(Point(name, xs[name], ys[name], about) for name in xs if name in ys)
            if points:
                words = f"{output}, {facet.network}\n{literal(facet.dataset)}"
                more = facet.title(every).partition("\n")[2]
                planes.append(
                    Plane(f"{words}\n{more}" if more else words, MEASURES["alignment"], MEASURES["uniformity"], points)
                )
    if not planes:
        return None
    words = interval_words(axes_of(planes))
    caption = (
        "Alignment (mean squared distance of two views of an image) against uniformity (logarithm of the mean Gaussian "
        "potential of pairs of images), of normalised outputs on validation images; both are better the lower. The "
        f"backbone's is the trunk's pooled feature, the projector's what the loss sees. {words}"
    )
    return Scatter(tuple(planes), caption, ("alignment", "uniformity"))


PLOT = Plot(
    "alignment-uniformity",
    "Alignment and uniformity",
    "Alignment against uniformity of each row's outputs, of the backbone and of the projector.",
    RECORDS.format("diagnostics of alignment and uniformity"),
    content,
)
