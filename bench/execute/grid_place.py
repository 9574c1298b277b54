"""Where a stage stands in a grid whose stages run one after another: the grid says it, the stage's bars show it."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.execute.jobs.durations import Durations
from bench.execute.words import counted, duration
from bench.files import read_json, write_text
from bench.machine import WITHIN_GRID
from bench.plan import Stage
from bench.progress_bar import Place

PLACE = "place.json"  # in a stage's folder, while its grid runs it


@contextmanager
def placed(folder: Path, number: int, of: int, known: Durations, after: Sequence[Path]) -> Iterator[None]:
    """Let the stage in `folder`, the `number`th of so many, know how long it and those `after` it will take.

    That it can't be written costs a bar, and no stage.
    """
    content = {"number": number, "of": of, "seconds": known.sum_of([folder]), "seconds_after": known.sum_of(after)}
    try:
        with contextlib.suppress(OSError):
            write_text(folder / PLACE, json.dumps(content) + "\n")
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / PLACE).unlink(missing_ok=True)


def place_in(folder: Path, environ: Mapping[str, str] | None = None) -> Place | None:
    """Return where the stage in `folder` stands; None where no grid has started this process, or it doesn't say so."""
    if WITHIN_GRID not in (os.environ if environ is None else environ):
        return None
    said = read_json(folder / PLACE)
    number, of = said.get("number"), said.get("of")
    if not isinstance(number, int) or not isinstance(of, int) or not 1 <= number <= of:
        return None
    return Place(number, of, _seconds(said.get("seconds")), _seconds(said.get("seconds_after")))


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else None


def able_to_run(stages: Sequence[Stage], failed: Mapping[str, int]) -> list[Stage]:
    """Return those of the stages, parents first, that don't need one that failed."""
    blocked, able = set(failed), []
    for stage in stages:
        if blocked.isdisjoint(parent.fingerprint for parent in stage.parents.values()):
            able.append(stage)
        else:
            blocked.add(stage.fingerprint)
    return able


def grid_line(ended: int, total: int, seconds_left: float | None) -> str | None:
    """Return how far a grid is, as a line; None at its end, or where it is not known how long the rest takes."""
    if seconds_left is None or ended >= total:
        return None
    return f"grid: {ended} of {counted(total, 'stage')}, about {duration(seconds_left)} left"
