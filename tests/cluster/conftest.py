"""A Slurm of its own for the tests that need one."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


def _local_slurm() -> ModuleType:
    """The module beside this file: tests are no package."""
    if "local_slurm" not in sys.modules:
        spec = importlib.util.spec_from_file_location("local_slurm", Path(__file__).with_name("local_slurm.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules["local_slurm"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["local_slurm"]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A Slurm of two nodes. Where there can be none, the test is skipped, unless BENCH_NEEDS_SLURM says it must run."""
    module = _local_slurm()
    if lack := module.lacking():
        if os.environ.get("BENCH_NEEDS_SLURM"):
            pytest.fail(f"BENCH_NEEDS_SLURM is set, and there is no Slurm here: {lack}")
        pytest.skip(f"no Slurm here: {lack}")
    with module.LocalSlurm(tmp_path_factory.mktemp("slurm"), nodes=2) as running:
        yield running
