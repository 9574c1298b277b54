"""The comparison of two rows as lines for people, and as plain values for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.results.comparison import Compared, Comparison, Interval
from bench.results.power import POWER
from bench.results.statistics import LEVEL, Summary

UNEQUAL = 5  # times as many trunks, from which Welch's test is not to be relied on (docs/statistics.md)


def lines(comparison: Comparison) -> list[str]:
    """Return the comparison as text."""
    ours, theirs = comparison.ours, comparison.theirs
    head = f"{ours} less {theirs}" + ("" if comparison.profile == "full" else f", profile {comparison.profile}")
    written = [head]
    for compared in comparison.columns:
        written += ["", *_column(compared, comparison)]
    several = len(comparison.columns) > 1
    if several:
        written += [
            "",
            f"Holm: p corrected over the {len(comparison.columns)} columns above, for trunks and for images.",
        ]
    written += ["", "Settings of the pretrainings that differ" + ("" if comparison.settings else ": none.")]
    width = max((len(each.key) for each in comparison.settings), default=0)
    written += [f"  {each.key:<{width}}  {each.ours} | {each.theirs}" for each in comparison.settings]
    if comparison.marred_by:
        written += ["", "What else differs, or is not as it should be"]
        written += [f"  {sentence}" for sentence in comparison.marred_by]
    if comparison.left_out:
        written += ["", "Not compared, as they were measured in different ways"]
        written += [f"  {words}" for words in comparison.left_out]
    return written


def _column(compared: Compared, comparison: Comparison) -> Iterator[str]:
    column = compared.column
    yield f"{column.task} {column.header} (protocol {column.protocol}, data {column.data or 'without a fingerprint'})"
    names = comparison.ours, comparison.theirs
    width = max(len(name) for name in (*names, "difference"))
    for name, summary in zip(names, (compared.ours, compared.theirs), strict=True):
        yield f"  {name:<{width}}  {_summary(summary)}"
    yield f"  {'difference':<{width}}  {compared.effect:+.2f}"
    if compared.by_trunks is None:
        yield f"  {'by trunks':<{width}}  no interval: each side needs two trunks (or task seeds) that differ"
    else:
        yield f"  {'by trunks':<{width}}  {_interval(compared.by_trunks, compared.effect)}"
        few, many = sorted((compared.ours.n, compared.theirs.n))
        if few * UNEQUAL <= many and compared.about == "methods":
            yield f"  {'':<{width}}  with {few} trunks against {many} the test errs in more than 5 of 100 equal rows"
    if compared.by_images is None:
        yield f"  {'by images':<{width}}  no interval: {compared.images}"
    else:
        yield f"  {'by images':<{width}}  {_interval(compared.by_images, compared.effect)}; {compared.images}"
    if compared.seen is not None:
        seen = compared.seen
        half = f"; half of it takes {seen.for_half} trunks of each" if seen.for_half is not None else ""
        trunks = " and ".join(map(str, seen.trunks))
        yield (
            f"  {'to be seen':<{width}}  {seen.smallest:.2f} or more, with {100 * POWER:.0f} % power at p < {LEVEL:g} "
            f"by {trunks} trunks, if either row's spread is the pooled {seen.spread:.2f}{half}"
        )
    elif few := [name for name, each in zip(names, (compared.ours, compared.theirs), strict=True) if each.n < 2]:
        yield f"  {'to be seen':<{width}}  nothing about the methods: {' and '.join(few)} with a single trunk"


def _summary(summary: Summary) -> str:
    spread = summary.within if summary.between is None else summary.between
    text = f"{summary.mean:.2f}" + ("" if spread is None else f" ± {spread:.2f}")
    trunks = f"{summary.n} trunk{'s' if summary.n > 1 else ''}"
    if summary.count == summary.n:
        return f"{text} ({trunks})"
    within = "" if summary.between is None or summary.within is None else f", ± {summary.within:.2f} within a trunk"
    return f"{text} ({trunks}, {summary.count} runs of the task{within})"


def _interval(interval: Interval, effect: float) -> str:
    word = "≈" if interval.adjusted >= LEVEL else "higher" if effect > 0 else "lower"
    corrected = "" if interval.adjusted == interval.p else f", Holm {interval.adjusted:.2g}"
    p = f"p = {interval.p:.2g}" if interval.p > 0 else "p < 1e-300"
    return f"[{interval.low:+.2f}, {interval.high:+.2f}] (95 %), {p}{corrected}: {word}; covers {interval.covers}"


def content(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain values."""
    values = asdict(comparison)
    for column, compared in zip(values["columns"], comparison.columns, strict=True):
        of = compared.column
        column["column"] = {
            "task": of.task, "metric": of.metric, "header": of.header, "protocol": of.protocol, "data": of.data
        }  # fmt: skip
    return values
