"""How long the stages of a work folder that are left will take, from those that are done there.

Stages of equal settings take equally long, whatever their seed. Where nothing is known of one, nothing is said of all.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.execute.jobs.holder import HOLDER
from bench.execute.jobs.status import DONE, STAGE, Row, done_of, seconds_of, stage_files
from bench.files import read_json
from bench.progress_bar import stage_seconds_left

NAMES = frozenset({"name", "summary", "source", "profile"})  # settings that decide nothing


class Durations:
    """The seconds that stages took, by what they had to do."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def learn(self, stage: Mapping[str, Any], seconds: float | None) -> None:
        """Note how long a stage took, by the content of its `stage.json`; None says nothing."""
        if seconds is not None:
            self._seconds[work_of(stage)].append(seconds)

    def learn_from(self, folder: Path) -> None:
        """Note how long the stage in a folder took, if it is done."""
        stage = read_json(folder / STAGE)
        done = done_of(folder, stage.get("fingerprint")) if (folder / DONE).is_file() else None
        self.learn(stage, None if done is None else seconds_of(done))

    def of(self, stage: Mapping[str, Any]) -> float | None:
        """Return how long such a stage takes: the median; None where none is done."""
        known = self._seconds.get(work_of(stage))
        return statistics.median(known) if known else None

    def sum_of(self, folders: Sequence[Path]) -> float | None:
        """Return how long the stages in these folders take one after another; None where that of one isn't known."""
        known = [self.of(read_json(folder / STAGE)) for folder in folders]
        return None if None in known else sum(each for each in known if each is not None)


def durations_in(work_dir: Path) -> Durations:
    """Return what the stages that are done in a work folder say."""
    found = Durations()
    for file in stage_files(work_dir):
        found.learn_from(file.parent)
    return found


def work_of(stage: Mapping[str, Any]) -> str:
    """Return what stages share that take equally long, of the content of `stage.json`.

    Numbers with a decimal point (rates, temperatures) decide results, and not how long a step takes.
    """
    recipe, task = (value if isinstance(value, dict) else {} for value in (stage.get("recipe"), stage.get("task")))
    config = _work({name: value for name, value in (task or recipe).items() if name not in NAMES})
    config = {} if stage.get("kind") == "convert" else config  # the same for all of an architecture
    data = stage.get("data")
    network = [recipe.get("arch"), recipe.get("stem")]
    return json.dumps([stage.get("kind"), network, config, data], sort_keys=True, default=str)


def seconds_left(rows: Sequence[Row], now: float | None = None) -> float | None:
    """Return how long it takes until nothing of a work folder runs or waits; None where that isn't known.

    As many stages are taken to run at once as do now. `now` is the time of the clock, in seconds since the epoch.
    Nothing is known of jobs elsewhere: others wait there, too.
    """
    now = time.time() if now is None else now
    left = [row for row in rows if row.state in {"running", "waiting"}]
    if any(row.job is not None and row.job.executor != "local" for row in left):
        return None
    known = Durations()
    for row in rows:
        known.learn(row.stage, row.seconds)
    seconds = {row.folder: _left_of(row, known, now) for row in left}
    ends: dict[Path, float] = {}
    free = [0.0] * max(1, sum(row.state == "running" for row in left))  # when each of those that run stages is free
    for row in sorted(left, key=lambda row: row.state != "running"):  # else in their order, parents first
        needed = seconds[row.folder]
        if needed is None:
            return None
        first = min(range(len(free)), key=free.__getitem__)
        begins = max([free[first], *(ends.get(parent, 0.0) for parent in row.parents)])
        ends[row.folder] = free[first] = begins + needed
    return max(ends.values(), default=0.0)


def _left_of(row: Row, known: Durations, now: float) -> float | None:
    """How long a stage that runs or waits still takes."""
    usual = known.of(row.stage)
    if row.state == "waiting":
        return usual
    loop, unit = row.note.get("seconds_left"), row.note.get("unit")
    counts = isinstance(loop, int | float) and math.isfinite(loop) and loop >= 0
    try:
        began = (row.folder / HOLDER).stat().st_mtime
    except OSError:
        began = now
    return stage_seconds_left(usual, max(0.0, now - began), loop if counts else None, str(unit))


def _work(value: Any) -> Any:
    """Leave out numbers with a decimal point; of a list of them keep how many there are."""
    if isinstance(value, dict):
        return {key: _work(one) for key, one in value.items() if not isinstance(one, float)}
    if isinstance(value, list):
        return len(value) if any(isinstance(one, float) for one in value) else [_work(one) for one in value]
    return value
