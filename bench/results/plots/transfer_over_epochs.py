"""How transfer grows with the epochs of a pretraining, where checkpoints of earlier epochs were kept and measured."""

from __future__ import annotations

from bench.record import Record
from bench.results.plots.contract import Plot
from bench.results.plots.panels import Curve, Panel, Panels, at_most, in_groups
from bench.results.plots.row_values import Facet, facets, interval_words, mean_of, row_label
from bench.results.plots.sources import Sources
from bench.results.plots.transfer import NO_SCORE
from bench.results.trunks import by_trunk, task_seed_of

PRETRAIN = "pretrain "


def content(sources: Sources) -> Panels | None:
    """Return a panel for each way in which a task was measured, a line a pretraining of which epochs were measured."""
    every = [facet for facet in facets(sources) if facet.kind not in NO_SCORE]
    found: list[tuple[Facet, str, list[Curve]]] = []
    for facet in every:
        if (metric := facet.metric) is None:
            continue
        curves = [
            curve
            for name, points in _points(facet, sources).items()
            if len(points) > 1
            for curve in [_curve(facet, name, metric, points, sources)]
            if len(curve.x) > 1
        ]
        if curves:
            found.append((facet, metric, curves))
    panels = []
    for facet, metric, curves in found:
        groups = in_groups([curve.name for curve in curves])
        for place, group in enumerate(groups, 1):
            words = f"{facet.title(every)}\n{facet.network}" + (
                f" ({place} of {len(groups)})" if len(groups) > 1 else ""
            )
            chosen = tuple(curve for curve in curves if curve.name in group)
            panels.append(Panel(words, "Epochs of pretraining", facet.header(metric), chosen, whole_x=True))
    if not panels:
        return None
    words = interval_words([mean for curve in panel.curves for mean in curve.means] for panel in panels)
    beside = " Points of one epoch are drawn side by side." if any(len(panel.curves) > 1 for panel in panels) else ""
    shown, left = at_most(panels, lambda count: f"{count} more panels are left out; --rows chooses.")
    caption = (
        "Results of the checkpoints that pretrainings kept on their way, by the epochs that they had done; the last "
        "point is the finished pretraining. A line joins checkpoints of the same runs, measured by one protocol on the "
        f"same data. Earlier checkpoints are of a schedule that was not yet over. {words}{beside}{left}"
    )
    return Panels(shown, caption, ("epochs", "mean"))


def _points(facet: Facet, sources: Sources) -> dict[str, dict[int, list[Record]]]:
    """{finished row: {epochs done: records}}, by the fingerprint of the run that trained both."""
    finished = {made: record for record in facet.records if (made := _trained_by(record)) and _epoch_of(record) is None}
    points: dict[str, dict[int, list[Record]]] = {}
    for record in facet.records:
        made, epoch = _trained_by(record), _epoch_of(record)
        if made in finished and epoch is not None:
            points.setdefault(row_label(finished[made], sources), {}).setdefault(epoch, []).append(record)
    for made, record in finished.items():
        epochs = record.settings.get("pretrain", {}).get("epochs")
        if (label := row_label(record, sources)) in points and isinstance(epochs, int):
            same = [each for each in facet.records if _trained_by(each) == made and _epoch_of(each) is None]
            points[label].setdefault(epochs, []).extend(same)
    return points


def _epoch_of(record: Record) -> int | None:
    """How many epochs another pretraining had done when its weights were taken as they are; None for all else."""
    settings = record.settings.get("pretrain", {})
    epoch = (settings.get("init") or {}).get("epoch")
    return epoch + 1 if settings.get("epochs") == 0 and isinstance(epoch, int) else None


def _trained_by(record: Record) -> tuple[str, object, object] | None:
    """What a record's weights are of: the fingerprint of the run that trained them, which of its networks, which norms.

    None where that is not known. A record's chain goes from the first pretraining on; of weights that were taken as
    they are, the last one is no training.
    """
    stages = [made.fingerprint for title, made in record.chain.items() if title.startswith(PRETRAIN)]
    if _epoch_of(record) is not None:
        stages = stages[:-1]
    settings = record.settings.get("pretrain", {})
    if not stages:
        return None
    return stages[-1], settings.get("export", "online"), settings.get("norm_statistics", "start")


def _curve(facet: Facet, name: str, metric: str, points: dict[int, list[Record]], sources: Sources) -> Curve:
    epochs, means = [], []
    for epoch, records in sorted(points.items()):
        having = [record for record in records if isinstance(record.metrics.get(metric), int | float)]
        if having:
            having.sort(key=lambda record: (record.seed, task_seed_of(record)))
            numbers = [float(record.metrics[metric]) for record in having]  # type: ignore[arg-type]
            means.append(mean_of(by_trunk(sources.trunks.of(having), numbers)))
            epochs.append(float(epoch))
    return Curve(
        name,
        {"pretrain": name, **facet.about(), "metric": metric},
        tuple(epochs),
        tuple(mean.mean for mean in means),
        means=tuple(means),
    )


PLOT = Plot(
    "transfer-over-epochs",
    "Transfer over the epochs of pretraining",
    "Results of checkpoints that were kept on the way, by the epochs that the pretraining had done.",
    "No record here is of an earlier epoch of a pretraining that was measured as well; keep epochs with "
    "checkpoint.keep_every_epochs, and measure each by a config with epochs=0, dataset='none' and "
    "init=dict(recipe=…, epoch=…).",
    content,
)
