"""The comparison of two rows as lines for people, and as plain values for programs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from bench.results.comparison import Compared, Comparison
from bench.results.image_statistics import ImageInterval
from bench.results.power import POWER
from bench.results.row_images import Interval
from bench.results.statistics import LEVEL, Summary
from bench.results.unequal import too_often


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


def fitting(written: Sequence[str], width: int) -> list[str]:
    """Return lines that fit into `width` characters, if each word does; what goes on stands below the text."""
    lines: list[str] = []
    for line in written:
        named = re.match(r" +\S+(?: \S+)*  +(?=\S)| *", line)
        indent = len(named[0]) if named is not None and named.end() < width // 2 else 4
        wrapped = textwrap.wrap(
            line, width, subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False
        )
        lines += wrapped or [line]
    return lines


def _column(compared: Compared, comparison: Comparison) -> Iterator[str]:
    column = compared.column
    yield f"{column.task} {column.header} (protocol {column.protocol}, data {column.data or 'without a fingerprint'})"
    names, digits = (comparison.ours, comparison.theirs), 2 if column.metric.endswith("_percent") else 4
    width = max(len(name) for name in (*names, "difference"))
    alone = compared.ours_by_images, compared.theirs_by_images
    for name, summary, images in zip(names, (compared.ours, compared.theirs), alone, strict=True):
        yield f"  {name:<{width}}  {_summary(summary, digits)}{_alone(images, summary.mean, digits)}"
    yield f"  {'difference':<{width}}  {compared.effect:+.{digits}f}"
    if compared.by_trunks is None:
        yield f"  {'by trunks':<{width}}  no interval: each side needs two trunks (or task seeds) that differ"
    else:
        yield f"  {'by trunks':<{width}}  {_interval(compared.by_trunks, compared.effect, digits)}"
        tests = sum(each.by_trunks is not None for each in comparison.columns)
        if said := too_often(compared.ours.n, compared.theirs.n, tests):
            few, many = sorted((compared.ours.n, compared.theirs.n))
            yield f"  {'':<{width}}  with {few} trunks against {many} equal rows are called different in {said}"
    if compared.by_images is None:
        yield f"  {'by images':<{width}}  no interval: {compared.images}"
    else:
        yield f"  {'by images':<{width}}  {_interval(compared.by_images, compared.effect, digits)}; {compared.images}"
    if compared.seen is not None:
        seen = compared.seen
        half = f"; half of it takes {seen.for_half} trunks of each" if seen.for_half is not None else ""
        trunks = " and ".join(map(str, seen.trunks))
        yield (
            f"  {'to be seen':<{width}}  {seen.smallest:.{digits}f} or more, with {100 * POWER:.0f} % power at "
            f"p < {LEVEL:g} by {trunks} trunks, if either row's spread is the pooled {seen.spread:.{digits}f}{half}"
        )
    elif single := [name for name, each in zip(names, (compared.ours, compared.theirs), strict=True) if each.n < 2]:
        yield f"  {'to be seen':<{width}}  nothing about the methods: {' and '.join(single)} with a single trunk"


def _alone(images: ImageInterval | None, mean: float, digits: int) -> str:
    """What other images would give one row, whose value differs from the mean where some could not be read."""
    if images is None:
        return ""
    value = "" if _same(images.value, mean, digits) else f"{images.value:.{digits}f} "
    return f"; by images {value}[{images.low:.{digits}f}, {images.high:.{digits}f}]"


def _summary(summary: Summary, digits: int) -> str:
    spread = summary.within if summary.between is None else summary.between
    text = f"{summary.mean:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
    trunks = f"{summary.n} trunk{'s' if summary.n > 1 else ''}"
    if summary.count == summary.n:
        return f"{text} ({trunks})"
    within = (
        "" if summary.between is None or summary.within is None else f", ± {summary.within:.{digits}f} within a trunk"
    )
    return f"{text} ({trunks}, {summary.count} runs of the task{within})"


def _interval(interval: Interval, shown: float, digits: int) -> str:
    """An interval in words; `shown` is the difference that stands above it."""
    word = "≈" if interval.adjusted >= LEVEL else "higher" if interval.effect > 0 else "lower"
    corrected = "" if interval.adjusted == interval.p else f", Holm {interval.adjusted:.2g}"
    p = f"p = {interval.p:.2g}" if interval.p > 0 else "p < 1e-300"
    effect = "" if _same(interval.effect, shown, digits) else f"{interval.effect:+.{digits}f} "
    ends = f"[{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"
    return f"{effect}{ends} (95 %), {p}{corrected}: {word}; covers {interval.covers}"


def _same(value: float, other: float, digits: int) -> bool:
    return f"{value:.{digits}f}" == f"{other:.{digits}f}"


def content(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain values."""
    values = asdict(comparison)
    for column, compared in zip(values["columns"], comparison.columns, strict=True):
        of = compared.column
        column["column"] = {
            "task": of.task, "metric": of.metric, "header": of.header, "protocol": of.protocol, "data": of.data
        }  # fmt: skip
    return values
