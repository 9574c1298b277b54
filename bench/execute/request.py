"""What a person asked for. The command line fills it; only light things are imported here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Request:
    """A grid: pretrainings × their seeds × downstream tasks × theirs, with what is laid over their configs."""

    pretrain: Sequence[str]
    downstream: Sequence[str] = ()
    seeds: Sequence[int] = (0,)  # of pretrainings
    task_seeds: Sequence[int] = ()  # of the tasks on each trunk; none: each has the seed of its pretraining
    profile: Literal["full", "mini", "smoke"] = "full"
    smoke: bool = False
    assignments: Sequence[str] = ()
    sweep: Sequence[str] = ()  # "key=value,value": each pretraining once for every combination
    data_root: Sequence[str] = ()
    work_dir: Path = Path("runs")
    results_dir: Path | None = None
    unreadable: Literal["fail", "skip"] = "fail"

    @property
    def results(self) -> Path:
        """Smoke runs keep their records apart: rendered scenes have no place in a result table."""
        return self.results_dir or (self.work_dir / "smoke" / "results" if self.smoke else Path("results"))
