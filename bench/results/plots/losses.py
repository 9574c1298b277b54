"""The loss and each of its terms over the steps of a pretraining."""

from __future__ import annotations

from bench.results.plots.contract import Plot
from bench.results.plots.logged import RUNS, about, is_loss, log_words, thinning_words, what_ran
from bench.results.plots.panels import Curve, Panel, Panels, at_most, budget, logged_curve
from bench.results.plots.sources import Run, Sources
from bench.results.plots.style import literal


def content(sources: Sources) -> Panels | None:
    """Return a panel a pretraining, a line for each seed of each term."""
    rows: dict[tuple[str, str, str, str], list[Run]] = {}
    for run in sources.runs:
        if any(map(is_loss, run.series)):
            rows.setdefault((run.label, run.arch, run.dataset, run.profile), []).append(run)
    if not rows:
        return None
    count = sum(is_loss(key) for runs in rows.values() for run in runs for key in run.series)
    most, each = budget(count), 1
    panels = []
    for (label, *_), runs in rows.items():
        curves: list[Curve] = []
        for run in runs:
            for term in sorted(filter(is_loss, run.series), key=lambda key: (key != "loss", key)):
                points = [(float(step), value) for step, value in run.series[term]]
                curve, stands = logged_curve(term, {**about(run), "term": term}, points, most)
                curves, each = [*curves, curve], max(each, stands)
        panels.append(Panel(f"{literal(label)}\n{what_ran(runs[0])}", "Optimizer step", "Loss", tuple(curves)))
    shown, left = at_most(panels, lambda number: f"{number} more pretrainings are left out; --rows chooses.")
    several = any(len(runs) > 1 for runs in rows.values())
    lines = " A line is one seed." if several else ""
    caption = (
        "Training loss and its terms, each the mean since the last log step. Losses of different objectives have no "
        f"common scale, so that each pretraining has axes of its own.{lines}{thinning_words(each)}"
        f"{log_words(sources.runs)}{left}"
    )
    return Panels(shown, caption)


PLOT = Plot(
    "losses",
    "Losses during pretraining",
    "The loss and each of its terms over the steps of each pretraining.",
    RUNS.format("a loss"),
    content,
)
