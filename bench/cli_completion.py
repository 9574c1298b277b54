"""What a shell completes: names of configs, objectives, data sets, records, rows and stages.

Only names of files are looked at, so that a press of Tab is answered at once. What cannot be listed completes to
nothing, and the shell offers files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Complete = Callable[[Any, str], list[str]]  # of the context and the word so far; typer needs plain annotations


def _starting(names: Callable[[Any], Iterable[str]]) -> Complete:
    """Return the function that typer asks: those of the names which begin as the word does."""

    def complete(ctx, incomplete):  # type: ignore[no-untyped-def]  # typer takes these two by their names
        try:
            return [name for name in dict.fromkeys(names(ctx)) if name.startswith(incomplete)]
        except Exception:  # nobody wants a traceback in the middle of a command line
            return []

    return complete


def _configs(folder: str) -> Iterable[str]:
    from bench.config.config_files import config_files

    return config_files(folder)


def _objectives() -> Iterable[str]:
    from bench.config.objective_source import GROUP, objectives
    from bench.plugins import entries

    return [*objectives(), *entries(GROUP)]


def _data_sets() -> Iterable[str]:
    from bench.data.sets import known_names

    return known_names()


def _records(ctx: Any) -> list[str]:
    folder = Path(ctx.params.get("results_dir") or "results") / "records"
    return sorted(file.stem for file in folder.glob("*.json"))


def _rows(ctx: Any) -> list[str]:
    return sorted({record.partition("__")[0] for record in _records(ctx)})


def _stages(ctx: Any) -> list[str]:
    """Folders of stages in the work folder, `convert/coco-s0-0123456789ab`: their titles have spaces."""
    work_dir = Path(ctx.params.get("work_dir") or "runs")
    return [folder.relative_to(work_dir).as_posix() for folder in _folders(work_dir)]


def _folders(work_dir: Path) -> list[Path]:
    return sorted(file.parent for file in work_dir.glob("*/*/stage.json"))


pretrainings = _starting(lambda _: _configs("pretrain_configs"))
tasks = _starting(lambda _: _configs("downstream_configs"))
objectives = _starting(lambda _: _objectives())
shown = _starting(lambda _: [*_configs("pretrain_configs"), *_configs("downstream_configs"), *_objectives()])
data_sets = _starting(lambda _: _data_sets())
records = _starting(_records)
rows = _starting(_rows)
stages = _starting(_stages)
stage_folders = _starting(lambda _: map(str, _folders(Path(os.environ.get("BENCH_WORK_DIR") or "runs"))))


def one_of(names: Iterable[str]) -> Complete:
    """Return what completes to one of the names."""
    known = tuple(names)
    return _starting(lambda _: known)
