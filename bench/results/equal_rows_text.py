"""The A/A study as lines for people, and as plain values for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.results.equal_rows import EqualColumn, EqualRow
from bench.results.rates import Rate
from bench.results.statistics import LEVEL

KINDS = {
    "apart": "real: pairs of rows that share no trunk, of three trunks each where there are enough",
    "splits": "real: every split of the trunks into two rows, which share trunks",
    "simulated": "simulated: two rows",
    "tables": "simulated: tables of {rows} equal rows, any called different after Holm's correction",
    "images": "by images: two trunks of the recipe, as if they were two methods",
    "exchanged": "by images: two trunks with their images exchanged at random, which are equal",
}


def lines(rows: Sequence[EqualRow], family: int) -> list[str]:
    """Return what became of rows that were compared with themselves; `family` rows stand in a simulated table."""
    written = [
        f"How often a table calls a row different from itself (Welch's test, p < {LEVEL:g}); in brackets the exact "
        "binomial interval of 95 %, as if all were independent."
    ]
    for row in rows:
        written += ["", row.label + ("" if row.profile == "full" else f", profile {row.profile}")]
        for each in row.columns:
            written.append(f"  {each.column.header}, {each.trunks} trunks")
            written += [f"    {KINDS[kind].format(rows=family)}: {rate}" for kind, rate in _rates(each).items()]
    written += ["", "All columns"]
    written += [f"  {KINDS[kind].format(rows=family)}: {rate}" for kind, rate in total(rows).items()]
    return written


def _rates(column: EqualColumn) -> dict[str, Rate]:
    return {kind: rate for kind in KINDS if (rate := getattr(column, kind)) is not None}


def total(rows: Sequence[EqualRow]) -> dict[str, Rate]:
    """Return each kind's rate over all columns of all rows."""
    sums: dict[str, Rate] = {}
    for each in (column for row in rows for column in row.columns):
        for kind, rate in _rates(each).items():
            sums[kind] = sums.get(kind, Rate(0, 0)) + rate
    return {kind: sums[kind] for kind in KINDS if kind in sums}


def content(rows: Sequence[EqualRow], family: int, draws: int, seed: int) -> dict[str, Any]:
    """Return the study as plain values, which `bench aa --json` prints."""

    def plain(rates: dict[str, Rate]) -> dict[str, Any]:
        return {
            kind: {
                "different": rate.different,
                "of": rate.of,
                "interval_percent": [round(100 * end, 3) for end in rate.interval],
            }
            for kind, rate in rates.items()
        }

    return {
        "level": LEVEL,
        "rows_of_a_simulated_table": family,
        "draws": draws,
        "seed": seed,
        "rows": [
            {
                "row": row.label,
                "profile": row.profile,
                "columns": [
                    {
                        "task": each.column.task,
                        "metric": each.column.metric,
                        "protocol": each.column.protocol,
                        "data": each.column.data,
                        "trunks": each.trunks,
                        **plain(_rates(each)),
                    }
                    for each in row.columns
                ],
            }
            for row in rows
        ],
        "all": plain(total(rows)),
    }
