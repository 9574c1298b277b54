from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from bench import allocator
from bench.allocator import KEEP_FREED, VARIABLE, chosen, started_with
from bench.errors import BadInput
from bench.execute import doctor, elastic, launch, local, stage

# Faults of touching 256 MiB that were allocated, touched and freed before.
PROGRAM = """
import ctypes, resource
from bench.allocator import check
print(check())
libc, size = ctypes.CDLL(None), 256 * 2**20
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    place = libc.malloc(size)
    ctypes.memset(place, 1, size)
    libc.free(place)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def started(environ: dict[str, str]) -> tuple[str, int]:
    """What a process with this environment uses, in words, and its faults when it allocates again."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, check=True)
    words, faults = done.stdout.splitlines()
    return words, int(faults)


def clean(**more: str) -> dict[str, str]:
    set_by_us = {VARIABLE, "LD_PRELOAD", *KEEP_FREED}
    return {key: value for key, value in os.environ.items() if key not in set_by_us} | more


@pytest.mark.slow
def test_freed_memory_is_used_again_without_page_faults() -> None:
    words, faults = started(started_with(clean()))
    assert words == "glibc, keeping freed memory"
    assert faults < 100
    for environ in (started_with(clean(**{VARIABLE: "default"})), clean()):  # the second as if started directly
        words, faults = started(environ)
        assert words == "glibc's default"
        assert faults > 1000  # each page of 4 KiB, or more where huge pages are on


def test_an_allocator_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"Unknown allocator 'jemaloc' .*did you mean jemalloc"):
        chosen({VARIABLE: "jemaloc"})
    with pytest.raises(BadInput, match="jemalloc is not installed; install it"):
        started_with({VARIABLE: "jemalloc"}, places=[str(tmp_path)])
    with pytest.raises(subprocess.CalledProcessError) as failed:
        started(clean(**{VARIABLE: "jemalloc"}))
    assert "was started without it; start it with LD_PRELOAD=" in failed.value.stderr


def test_jemalloc_goes_before_what_is_preloaded_already(tmp_path: Path) -> None:
    library = tmp_path / "libjemalloc.so.2"
    library.touch()
    given = started_with({VARIABLE: "jemalloc", "LD_PRELOAD": "liba.so", "MALLOC_CONF": "mine"}, [str(tmp_path)])
    assert given["LD_PRELOAD"] == f"{library}:liba.so"
    assert given["MALLOC_CONF"] == "mine"
    assert started_with({VARIABLE: "default", "A": "b"}) == {VARIABLE: "default", "A": "b"}
    assert started_with({"MALLOC_TOP_PAD_": "1"}) == KEEP_FREED | {"MALLOC_TOP_PAD_": "1"}


def test_stages_ask_for_it_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "jemaloc")
    with pytest.raises(BadInput, match="Unknown allocator"):
        local.run_grid(None)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="Unknown allocator"):
        stage._run(tmp_path, SimpleNamespace(kind="convert"))  # type: ignore[arg-type]


def test_the_launcher_preloads_it_for_its_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(Exception):
        pass

    def popen(command: list[str], **given: Any) -> None:
        raise Started(given["env"]["LD_PRELOAD"])

    library = tmp_path / "libjemalloc.so.2"
    monkeypatch.setenv(VARIABLE, "jemalloc")
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(allocator, "find_jemalloc", lambda places=(): library)
    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(elastic, "run", lambda ranks, *_: popen([], env=ranks.environ))
    with pytest.raises(Started, match=str(library)):
        local.run_folder(tmp_path, 1)
    with pytest.raises(Started, match=str(library)):
        launch.launch(tmp_path, mock.Mock(fingerprint="f"), launch.Layout(2), [])


def test_the_doctor_says_what_stages_would_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(allocator, "preloaded", lambda: None)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    said = {}
    for choice in ("auto", "default", "jemaloc"):
        monkeypatch.setenv(VARIABLE, choice)
        said[choice] = doctor._allocator()
    assert said["auto"].startswith("glibc, keeping freed memory in stages that bench run starts")
    assert "MALLOC_MMAP_MAX_=0" in said["auto"]
    assert "unset BENCH_ALLOCATOR" in said["default"]
    assert said["jemaloc"].startswith("UNUSABLE: Unknown allocator")
    monkeypatch.setenv(VARIABLE, "auto")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert "faster under glibc" in doctor._allocator()
