"""Figures of what pretrainings log: which keys there are, and panels of one key for all runs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results.plots.panels import Curve, Panel, Panels, at_most, budget, in_groups, logged_curve
from bench.results.plots.sources import Run, Sources
from bench.results.plots.style import literal

NO_LOSS = frozenset({"epoch", "lr", "images_per_second", "data_wait_share"})
DIAGNOSTICS = "diagnostics/"
RUNS = (
    "No pretraining in these work folders has logged {}; give the --work-dir of bench run, while its files are there."
)


def is_loss(key: str) -> bool:
    """Whether a key of the log is the loss, or one of its terms."""
    return key not in NO_LOSS and not key.startswith(DIAGNOSTICS)


def what_ran(run: Run, machine: bool = False) -> str:
    """Return what runs of one panel share, in words."""
    words = [run.dataset, run.arch, *([] if run.profile == "full" else [f"profile {run.profile}"])]
    return ", ".join(map(literal, [*words, run.machine or "machine unknown"] if machine else words))


def about(run: Run) -> dict[str, object]:
    """Return what tells a run's rows from others."""
    return {"pretrain": run.label, "seed": run.seed, "profile": run.profile, "arch": run.arch, "dataset": run.dataset}


def one_key(
    sources: Sources,
    key: str,
    y_label: str,
    says: str,
    *,
    machine: bool = False,
    factor: float = 1,
    log_y: bool = False,
) -> Panels | None:
    """Return panels of one key of the log over steps: a line a run, rows by colour, in groups of at most six rows.

    Runs on other data, of another network or profile, and with `machine` on another machine, have panels of their own.
    """
    kinds: dict[str, list[Run]] = {}
    for run in sources.runs:
        if key in run.series:
            kinds.setdefault(what_ran(run, machine), []).append(run)
    if not kinds:
        return None
    most, each = budget(sum(map(len, kinds.values()))), 1
    panels = []
    for words, runs in kinds.items():
        groups = in_groups(list(dict.fromkeys(run.label for run in runs)))
        for place, group in enumerate(groups, 1):
            curves: list[Curve] = []
            for run in runs:
                if run.label in group:
                    points = [(float(step), factor * value) for step, value in run.series[key]]
                    curve, stands = logged_curve(run.label, about(run), points, most)
                    curves, each = [*curves, curve], max(each, stands)
            title = words if len(groups) == 1 else f"{words} ({place} of {len(groups)})"
            panels.append(Panel(title, "Optimizer step", y_label, tuple(curves), log_y=log_y, from_zero=not log_y))
    shown, left = at_most(panels, lambda count: f"{count} more panels are left out; --rows chooses.")
    return Panels(shown, f"{says} A line is one seed.{thinning_words(each)}{log_words(sources.runs)}{left}")


def thinning_words(each: int) -> str:
    """Return what to say of thinned curves, of which a point stands for at most `each` values; "" for 1."""
    if each == 1:
        return ""
    return f" A point of a line is the mean of up to {each:,} logged values; its band is from the least to the largest."


def log_words(runs: Sequence[Run]) -> str:
    """Return what was damaged in the logs of runs, in words; "" where nothing was."""
    words = ""
    if damaged := sum(run.damaged for run in runs):
        names = sorted({f"{run.label} seed {run.seed}" for run in runs if run.damaged})
        lines = f"{damaged} damaged lines are" if damaged > 1 else "One damaged line is"
        words += f" {lines} left out of the logs of {_some(names)}."
    if nans := sum(run.not_finite for run in runs):
        names = sorted({f"{run.label} seed {run.seed}" for run in runs if run.not_finite})
        values = (
            f"{nans} values that are no finite numbers are" if nans > 1 else "One value that is no finite number is"
        )
        words += f" {values} left out of {_some(names)}."
    return words


def _some(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(map(literal, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
