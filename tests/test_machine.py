"""How many processes read images: by the cores, what shares them, and the memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bench import machine
from bench.machine import MOST_WORKERS, SHARED_BY, SMALL_RUN, WORKER_BYTES, loader_workers

GIB = 1 << 30


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 cores and memory for all."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(16)), raising=False)
    monkeypatch.setattr(machine, "available_memory", lambda: 1000 * GIB)
    monkeypatch.delenv(SHARED_BY, raising=False)


def workers(chosen: int | None = None, **given: Any) -> int:
    return loader_workers(chosen, **({"device": "cuda", "images": SMALL_RUN, "batch_bytes": 1} | given))


@pytest.mark.usefixtures("cores")
def test_workers_follow_the_cores_and_what_shares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert workers() == 16
    assert workers(processes=4) == 4
    assert workers(device="cpu") == 8
    assert workers(device="cpu", beside_cpu=0) == 0
    assert workers(images=SMALL_RUN - 1) == 0
    assert workers(3, images=1) == 3  # what a config says counts
    assert workers(0) == 0
    monkeypatch.setenv(SHARED_BY, "4")
    assert workers() == 4
    assert workers(processes=2) == 2
    assert workers(processes=8) == 1  # never none because of that
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(256)))
    monkeypatch.setenv(SHARED_BY, "no number")
    assert workers() == MOST_WORKERS


@pytest.mark.usefixtures("cores")
def test_workers_take_at_most_half_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 10 * WORKER_BYTES)
    assert workers() == 4  # 5 would leave nothing for their batches
    assert workers(batch_bytes=WORKER_BYTES // 3) == 2
    assert workers(processes=2) == 2
    assert workers(batch_bytes=100 * WORKER_BYTES) == 1
    monkeypatch.setattr(machine, "available_memory", lambda: None)
    assert workers(batch_bytes=100 * WORKER_BYTES) == 16  # not known


def test_a_container_s_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine._left_of_limit(tmp_path) is None
    (tmp_path / "memory.current").write_text(f"{6 * GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {2 * GIB}\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine._left_of_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text(f"{8 * GIB}\n")
    assert machine._left_of_limit(tmp_path) == 4 * GIB
    monkeypatch.setattr(machine, "_free_of_host", lambda: 3 * GIB)
    monkeypatch.setattr(machine, "_left_of_limit", lambda _folder: 4 * GIB)
    assert machine.available_memory() == 3 * GIB
    monkeypatch.setattr(machine, "_free_of_host", lambda: None)
    assert machine.available_memory() == 4 * GIB
