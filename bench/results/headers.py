"""A column's header in two lines for people: what a group of columns shares above, and what tells them apart below."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.results.columns import PREFIX
from bench.results.sections import Column

LOGGED = "pretraining"  # the group of what pretrainings log themselves
LEAST_DIGITS = 4  # of a protocol's hash


@dataclass(frozen=True)
class Header:
    """`group` is the task, and which protocol where there are several; `name` the metric; `unit` "%" or ""."""

    group: str
    name: str
    unit: str

    @property
    def with_unit(self) -> str:
        """The lower line."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def headers_of(columns: Sequence[Column]) -> list[Header]:
    """Return the header of each column; hashes of protocols are as short as tells them apart."""
    shorter = _shortest({column.protocol for column in columns if column.protocol})
    headers = []
    for column in columns:
        found = re.search(r" \[([^\]]*)\](?=$|, )", column.header)
        way = found[0] if found else ""
        task = column.task.removeprefix(PREFIX)
        name = column.header.replace(way, "", 1)
        for start in (f"{task}, ", f"{task} "):
            name = name.removeprefix(start) or name
        for whole, short in shorter.items():
            way = way.replace(whole, short)
        unit = "%" if column.metric.endswith("_percent") else ""
        headers.append(Header((task or LOGGED) + way, name, unit))
    return headers


def runs_of(groups: Iterable[str]) -> list[tuple[str, int]]:
    """Return (group, number of columns) of columns of one group that stand side by side, from the group of each."""
    return [(group, len(list(some))) for group, some in groupby(groups)]


def _shortest(hashes: Iterable[str]) -> dict[str, str]:
    whole = sorted(hashes)
    digits = next(n for n in range(LEAST_DIGITS, 65) if n >= 64 or len({one[:n] for one in whole}) == len(whole))
    return {one: one[:digits] for one in whole}
