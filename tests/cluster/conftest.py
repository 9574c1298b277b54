"""A Slurm of its own for the tests that need one."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _beside(name: str) -> ModuleType:
    """A module beside this file: tests are no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Slurm of two nodes. Where there can be none, the test is skipped, unless BENCH_NEEDS_SLURM says it must run."""
    module = _beside("local_slurm")
    if lack := module.lacking():
        if os.environ.get("BENCH_NEEDS_SLURM"):
            pytest.fail(f"BENCH_NEEDS_SLURM is set, and there is no Slurm here: {lack}")
        pytest.skip(f"no Slurm here: {lack}")
    with module.LocalSlurm(tmp_path_factory.mktemp("slurm"), nodes=2) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, slurm: Any, rendered: Path, forks: Any) -> Any:
    """An empty folder from which `bench` is called with that Slurm."""
    return _beside("places").Place(tmp_path, slurm, rendered, forks)


@pytest.fixture
def other(tmp_path: Path, slurm: Any, rendered: Path, forks: Any) -> Any:
    """Another such folder."""
    (tmp_path / "other").mkdir()
    return _beside("places").Place(tmp_path / "other", slurm, rendered, forks)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put shell scripts, by their names, in the place of Slurm's commands; without any there is none."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))

    def put(**scripts: str) -> None:
        for name in ("sbatch", "squeue", "scontrol", "scancel", "srun"):
            (place / name).write_text(f"#!/bin/sh\n{scripts.get(name, 'exit 0')}\n")
            (place / name).chmod(0o755)

    return put
