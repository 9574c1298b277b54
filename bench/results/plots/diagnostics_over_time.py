"""What a pretraining's representation looked like on held-out images while it trained."""

from __future__ import annotations

from bench.results.plots.contract import Plot
from bench.results.plots.logged import DIAGNOSTICS, RUNS, about, log_words, thinning_words, what_ran
from bench.results.plots.panels import Curve, Panel, Panels, at_most, budget, in_groups, logged_curve
from bench.results.plots.sources import Run, Sources
from bench.results.plots.style import literal

# In the order of panels, with the axis' label.
MEASURES = {
    "alignment": "Alignment",
    "uniformity": "Uniformity",
    "effective_rank": "Effective rank",
    "rankme": "RankMe",
    "knn_percent": "kNN top-1 (%)",
}


def content(sources: Sources) -> Panels | None:
    """Return a panel for each measure of each output of pretrainings of one kind."""
    kinds: dict[str, list[Run]] = {}
    for run in sources.runs:
        if any(key.startswith(DIAGNOSTICS) and key.rpartition("/")[2] in MEASURES for key in run.series):
            kinds.setdefault(what_ran(run), []).append(run)
    if not kinds:
        return None
    keys = {key for runs in kinds.values() for run in runs for key in run.series if key.startswith(DIAGNOSTICS)}
    outputs = sorted({key.split("/")[1] for key in keys if key.count("/") == 2})
    most = budget(sum(len(run.series.keys() & keys) for runs in kinds.values() for run in runs))
    panels, each = [], 1
    for words, runs in kinds.items():
        for group in in_groups(list(dict.fromkeys(run.label for run in runs))):
            for output in outputs:
                for measure, y_label in MEASURES.items():
                    curves: list[Curve] = []
                    for run in runs:
                        points = run.series.get(f"{DIAGNOSTICS}{output}/{measure}")
                        if points and run.label in group:
                            more = {**about(run), "output": output, "measure": measure}
                            floats = [(float(step), value) for step, value in points]
                            curve, stands = logged_curve(run.label, more, floats, most)
                            curves, each = [*curves, curve], max(each, stands)
                    if curves:
                        panels.append(Panel(f"{literal(output)}\n{words}", "Optimizer step", y_label, tuple(curves)))
    shown, left = at_most(panels, lambda count: f"{count} more panels are left out; --rows chooses.")
    caption = (
        "Measures of the trunk's pooled feature (backbone) and of what the loss sees (projector), on the same few "
        "held-out images at each check. Alignment is the mean squared distance of two views, uniformity the logarithm "
        "of the mean Gaussian potential of pairs; both are better the lower. Measures depend on the images and their "
        "number, so that panels compare pretrainings on one data set alone. A line is one seed."
        f"{thinning_words(each)}{log_words(sources.runs)}{left}"
    )
    return Panels(shown, caption)


PLOT = Plot(
    "diagnostics",
    "Diagnostics during pretraining",
    "Alignment, uniformity, effective rank, RankMe and kNN accuracy over the steps of each pretraining.",
    RUNS.format("diagnostics"),
    content,
)
