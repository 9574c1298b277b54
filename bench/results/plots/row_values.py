"""The numbers of rows, sorted by what may share an axis: measured alike, on the same data, of the same network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.config.tasks import metrics_of
from bench.record import Record
from bench.results.plots.sources import Sources
from bench.results.plots.style import literal
from bench.results.statistics import LEVEL, About, Trunks, error_of_mean, summarise
from bench.results.trunks import by_trunk, task_seed_of

RECORDS = "No record here has {}; bench run --downstream makes records, and --results-dir says where they are."
MAIN = ("miou_percent", "top1_percent")  # of the metrics that a kind has, the one that figures of one number show
INTERVALS = (
    "Bars are 95 % intervals of the mean by Student's t: over pretrainings (filled markers) or, where a row has the "
    "weights of a single pretraining alone, over seeds of the task (pale markers, dashed bars), which says nothing "
    "of another pretraining. A marker without a bar is a single value, or values without spread."
)
CUT = " An arrow marks a bar that is cut at the edge of its axes."


@dataclass(frozen=True)
class Mean:
    """The mean of one row, and where it may lie; `low` and `high` are None where no spread is known.

    `values` are the means of its trunks; `about` is `weights` where there is one trunk alone.
    """

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]
    count: int
    about: About

    def as_row(self) -> dict[str, object]:
        """Return it for the rows of a figure."""
        return {
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "trunks": len(self.values),
            "values": self.count,
            "about": self.about,
        }


def mean_of(values: Trunks) -> Mean:
    """Return the mean of values by trunk with its interval of 95 %, from the very error that tables judge by."""
    from scipy.special import stdtrit

    summary, error = summarise(values), error_of_mean(values)
    means = tuple(math.fsum(each) / len(each) for each in values)
    about: About = "methods" if len(values) > 1 else "weights"
    if error is None or error.variance == 0:
        return Mean(summary.mean, None, None, means, summary.count, about)
    reach = float(-stdtrit(error.freedom, LEVEL / 2)) * math.sqrt(error.variance)
    return Mean(summary.mean, summary.mean - reach, summary.mean + reach, means, summary.count, error.about)


@dataclass(frozen=True)
class Facet:
    """What numbers on one axis share, and the records of these rows."""

    profile: str
    arch: str
    task: str
    kind: str
    dataset: str
    protocol: str
    data: str
    records: tuple[Record, ...]

    @property
    def network(self) -> str:
        """The network, and the profile unless it is the full one, in words."""
        return literal(self.arch) + ("" if self.profile == "full" else f", profile {self.profile}")

    def title(self, beside: Iterable[Facet]) -> str:
        """Return the task, with its protocol where another facet has the task as well, and the data where need be."""
        others = [
            each for each in beside if (each.task, each.arch, each.profile) == (self.task, self.arch, self.profile)
        ]
        if len(others) < 2:
            return literal(self.task)
        words = [f"protocol {self.protocol}"] if len({each.protocol for each in others}) > 1 else []
        words += [f"data {literal(self.data[:8]) or 'unknown'}"] if len({each.data for each in others}) > 1 else []
        return f"{literal(self.task)}\n{', '.join(words)}"

    def about(self) -> dict[str, object]:
        """Return what tells its rows from those of other facets."""
        return {
            "task": self.task,
            "dataset": self.dataset,
            "arch": self.arch,
            "profile": self.profile,
            "protocol": self.protocol,
            "data": self.data,
        }

    @cached_property
    def metric(self) -> str | None:
        """The metric that figures of one number show; None where records have no number."""
        having = {name for record in self.records for name, value in record.metrics.items() if _is_number(value)}
        said = [name for record in self.records for name in record.columns]
        percent = sorted(name for name in having if name.endswith("_percent"))
        return next((name for name in (*MAIN, *metrics_of(self.kind), *said, *percent) if name in having), None)

    def header(self, metric: str) -> str:
        """Return what an axis of a metric is called, with its unit."""
        said = {name: header for record in self.records for name, header in record.columns.items()}
        words = metrics_of(self.kind).get(metric) or said.get(metric) or metric.removesuffix("_percent")
        return literal(words) + (" (%)" if metric.endswith("_percent") else "")

    def values(self, metric: str, sources: Sources) -> dict[str, Trunks]:
        """Return {row: its values of a metric, those of a trunk together}, by name."""
        rows: dict[str, list[Record]] = {}
        for record in self.records:
            if _is_number(record.metrics.get(metric)):
                rows.setdefault(row_label(record, sources), []).append(record)
        values: dict[str, Trunks] = {}
        for label, records in sorted(rows.items()):
            pairs = sorted(
                zip(sources.trunks.of(records), records, strict=True), key=lambda pair: (pair[0], task_seed_of(pair[1]))
            )
            numbers = [float(record.metrics[metric]) for _, record in pairs]  # type: ignore[arg-type]
            values[label] = by_trunk([trunk for trunk, _ in pairs], numbers)
        return values

    def means(self, metric: str, sources: Sources) -> dict[str, Mean]:
        """Return {row: mean}."""
        return {label: mean_of(values) for label, values in self.values(metric, sources).items()}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def network_of(record: Record) -> str:
    """Return a record's network, with its stem where that is not the usual one."""
    stem = record.settings.get("pretrain", {}).get("stem", "imagenet")
    return record.arch if stem == "imagenet" else f"{record.arch} ({stem} stem)"


def row_label(record: Record, sources: Sources) -> str:
    """Return a row's name, with its recipe's hash where another row here of that network has the name."""
    recipes = sources.__dict__.setdefault("recipes_by_name", {})
    if not recipes:
        for each in sources.measured:
            key = each.profile, network_of(each), each.pretrain
            recipes.setdefault(key, set()).add(each.fingerprints.recipe)
    several = len(recipes[record.profile, network_of(record), record.pretrain]) > 1
    return f"{record.pretrain} @{record.fingerprints.recipe[:8]}" if several else record.pretrain


def facets(sources: Sources, records: Sequence[Record] | None = None) -> list[Facet]:
    """Return the facets of records (by default of all that are measured), full profiles first."""
    groups: dict[tuple[str, str, str, str, str, str, str], list[Record]] = {}
    for record in sources.measured if records is None else records:
        data = record.data.get(record.dataset, "")
        about = record.task, record.kind, record.dataset, record.fingerprints.protocol, data
        groups.setdefault((record.profile, network_of(record), *about), []).append(record)
    order = {"full": 0, "mini": 1, "smoke": 2}
    keys = sorted(groups, key=lambda key: (order.get(key[0], 3), *key))
    return [Facet(*key, tuple(groups[key])) for key in keys]


def common_limits(means: Sequence[Mean]) -> tuple[float, float]:
    """Return limits of an axis that hold all values, and those bars that are not several times as long as all that."""
    values = [value for mean in means for value in (*mean.values, mean.mean)]
    low, high = min(values), max(values)
    span = (high - low) or max(1e-9, 0.1 * abs(high)) or 1.0
    lows = [mean.low for mean in means if mean.low is not None and mean.low > low - span]
    highs = [mean.high for mean in means if mean.high is not None and mean.high < high + span]
    low, high = min([low, *lows]), max([high, *highs])
    edge = 0.06 * ((high - low) or span)
    return low - edge, high + edge


def interval_words(axes: Iterable[Sequence[Mean]]) -> str:
    """Return what to say of the bars on some axes, each with the means that stand on it."""
    limits = [(means, common_limits(means)) for means in axes if means]
    cut = any(
        (mean.low is not None and mean.low < low) or (mean.high is not None and mean.high > high)
        for means, (low, high) in limits
        for mean in means
    )
    return INTERVALS + CUT if cut else INTERVALS
