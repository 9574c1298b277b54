"""What several tests need: rendered data, made once, and the command line as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.synthetic.render import render

# Set before torch is imported. One thread a test process, as tests run side by side; no spinning in those they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell starts what runs in its background with SIGINT ignored, and who is started inherits that: tests that interrupt
# processes would wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny coco, imagenet and cityscapes sets. Tests must not write to it."""
    root = tmp_path_factory.mktemp("rendered")
    render(root)
    return root


@pytest.fixture
def bench(tmp_path: Path) -> Run:
    """Run `bench WORDS` as a process in an empty folder; returns its exit code and output."""

    def run(*words: object, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *map(str, words)],
            cwd=cwd or tmp_path,
            env={k: v for k, v in os.environ.items() if not k.startswith("BENCH_")} | environ,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
