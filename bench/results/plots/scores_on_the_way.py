"""A task's scores while it trained."""

from __future__ import annotations

from bench.results.plots.contract import Plot
from bench.results.plots.panels import Curve, Panel, Panels, at_most, budget, in_groups, logged_curve
from bench.results.plots.row_values import RECORDS, facets, row_label
from bench.results.plots.sources import Sources


def content(sources: Sources) -> Panels | None:
    """Return a panel for each way in which a task was measured, a line a run."""
    every = [facet for facet in facets(sources) if any(record.curve for record in facet.records)]
    most = budget(sum(bool(record.curve) for facet in every for record in facet.records))
    panels = []
    for facet in every:
        if (metric := facet.metric) is None:
            continue
        curves: dict[str, list[Curve]] = {}
        for record in sorted(facet.records, key=lambda one: (one.pretrain, one.seed, one.own_seed)):
            points = sorted((at["step"], at[metric]) for at in record.curve if "step" in at and metric in at)
            if points:
                label = row_label(record, sources)
                about = {
                    **{"pretrain": label, "seed": record.seed, "task_seed": record.own_seed},
                    **{**facet.about(), "metric": metric},
                }
                curves.setdefault(label, []).append(logged_curve(label, about, points, most)[0])
        groups = in_groups(list(curves))
        for place, group in enumerate(groups, 1):
            words = f"{facet.title(every)}\n{facet.network}" + (
                f" ({place} of {len(groups)})" if len(groups) > 1 else ""
            )
            chosen = tuple(curve for label in group for curve in curves[label])
            panels.append(Panel(words, "Training step of the task", facet.header(metric), chosen))
    if not panels:
        return None
    shown, left = at_most(panels, lambda count: f"{count} more panels are left out; --rows chooses.")
    caption = (
        "Validation scores while a task trained; the last is the result. A line is one run: one pretraining, and one "
        f"seed of the task. Where it was looked in between decides no result.{left}"
    )
    return Panels(shown, caption, ("step", "value"))


PLOT = Plot(
    "scores",
    "Scores while a task trains",
    "The validation score of each run over the steps of its task.",
    RECORDS.format("scores on the way (validate_every of segmentation takes them)"),
    content,
)
