"""Tests of one tree in a forked process: torch and its like are imported once, the project anew for each mutant."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEAVY = ("torch", "torchvision", "timm", "numpy", "scipy", "scipy.stats", "pandas", "pydantic", "PIL.Image", "cv2")
HEAVY += ("numba", "safetensors.torch", "hypothesis", "pytest", "pytest_timeout", "_hypothesis_pytestplugin", "av")
HEAVY += ("torchmetrics", "skimage.color", "torch.distributed", "typer", "rich.console", "mmengine.config", "tabulate")
Counts = Callable[[str], bool]  # of a test's id


@dataclass
class Outcome:
    """What a run of tests gave.

    Attributes:
        died: whether a test failed; None where the time ran out first, or no test was found.
        by: the test that failed, or the file that could not be imported; None for none.
        why: the last line of its message.
        passed: test -> seconds.
    """

    died: bool | None
    by: str | None = None
    why: str = ""
    passed: dict[str, float] = field(default_factory=dict)


class Chosen:
    """A plugin of pytest: keeps the tests that count, quick ones first, and writes down what each did."""

    def __init__(
        self, report: Path, counts: Counts, slow: bool, known: Mapping[str, float], leave: Collection[str]
    ) -> None:
        self.report, self.counts, self.slow, self.known, self.leave = report, counts, slow, known, leave
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Order by file, the quickest file first, and within a file by test."""
        kept = [
            item
            for item in items
            if self.counts(item.nodeid)
            and item.nodeid not in self.leave
            and bool(item.get_closest_marker("slow")) == self.slow
        ]
        files: dict[str, list[float]] = {}
        for item in kept:
            files.setdefault(item.nodeid.partition("::")[0], []).append(self.known.get(item.nodeid, 0.3))
        mean = {file: sum(seconds) / len(seconds) for file, seconds in files.items()}

        def place(item: Any) -> tuple[float, str, float]:
            file = item.nodeid.partition("::")[0]
            return mean[file], file, self.known.get(item.nodeid, 0.3)

        items[:] = sorted(kept, key=place)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Write a line for each test that passed or failed."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)
            self._write(kind="failed", test=report.nodeid, why=_last(report.longreprtext))
        elif report.nodeid not in self.failed and report.when == "teardown":
            self._write(kind="passed", test=report.nodeid, seconds=round(self.seconds[report.nodeid], 3))

    def pytest_collectreport(self, report: Any) -> None:
        """Write down a file that could not be imported."""
        if report.failed:
            self._write(kind="failed", test=report.nodeid, why=_last(report.longreprtext))

    def _write(self, **line: Any) -> None:
        with self.report.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _last(text: str) -> str:
    """What a failure says, without folders: the first line that pytest marks with E, or else the last line."""
    lines = text.strip().splitlines() or [""]
    said = next((line[1:].strip() for line in lines if line.startswith("E ")), lines[-1])
    return re.sub(r"(?<![\w.])/(?:[\w.-]+/)+", "", said)[:160]  # they are of the machine that it ran on


class Tree:
    """A copy of a project's files, in which one is changed at a time."""

    def __init__(self, root: Path, copy: Path) -> None:
        self.copy, self.root = copy, root
        command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0"):
            if name and (root / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, copy / name)
        # The hash of the source decides, not its date: a mutant may have its original's size and second. What is
        # compiled anew later is written in the same way.
        command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "bench"]
        subprocess.run(command, cwd=copy, check=True)
        self.report = copy.parent / "report.jsonl"

    @contextlib.contextmanager
    def changed(self, file: str, text: str) -> Iterator[None]:
        """The tree with this text in one file."""
        original = (self.copy / file).read_text()
        (self.copy / file).write_text(text)
        try:
            yield
        finally:
            (self.copy / file).write_text(original)

    def run(
        self,
        files: Sequence[str],
        limit: float,
        counts: Counts = lambda _: True,
        slow: bool = False,
        known: Mapping[str, float] | None = None,
        leave: Collection[str] = (),
    ) -> Outcome:
        """Run tests until one fails, `limit` seconds at most in all."""
        self.report.write_text("")
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            try:
                self._child(files, Chosen(self.report, counts, slow, known or {}, leave))
            finally:
                os._exit(70)
        end, over = time.monotonic() + limit, True
        try:
            while time.monotonic() < end:
                if os.waitpid(child, os.WNOHANG)[0]:
                    over = False
                    break
                time.sleep(0.05)
        finally:  # with all that it has started, also when this process is told to end
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            if over:
                os.kill(child, signal.SIGKILL)  # where it had not yet a group of its own
                os.waitpid(child, 0)
        return self._outcome(over)

    def _outcome(self, over: bool) -> Outcome:
        lines = [json.loads(line) for line in self.report.read_text().splitlines() if line.endswith("}")]
        outcome = Outcome(None, passed={one["test"]: one["seconds"] for one in lines if one["kind"] == "passed"})
        for one in lines:
            if one["kind"] == "failed":
                outcome.died, outcome.by, outcome.why = True, one["test"], one["why"]
                return outcome
        if not over:
            ended = (self.copy.parent / "exit").read_text() if (self.copy.parent / "exit").exists() else "none"
            outcome.died = {"0": False, "5": False}.get(ended, True)
            outcome.why = "" if not outcome.died else f"pytest ended with {ended}"
        return outcome

    def _child(self, files: Sequence[str], plugin: Chosen) -> None:
        os.setsid()
        (self.copy.parent / "exit").unlink(missing_ok=True)
        log = os.open(self.copy.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.chdir(self.copy)
        os.environ |= {"PYTHONPATH": str(self.copy), "BENCH_PLAIN": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        sys.path[:] = [str(self.copy), *(one for one in sys.path if one not in ("", str(Path(__file__).parent)))]
        import pytest

        temporary = self.copy.parent / "temporary"
        shutil.rmtree(temporary, ignore_errors=True)
        words = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={temporary}", "--timeout=300"]
        words += ["-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin"]  # others take longer than most tests
        code = pytest.main([*words, *files], plugins=[plugin])
        (self.copy.parent / "exit").write_text(str(int(code)))
        sys.stdout.flush()
        os._exit(0)


def import_heavy() -> None:
    """Import what all tests need and no mutant is in."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # pytest collects garbage twice, and would go through all of it
    assert not any(name == "bench" or name.startswith("bench.") for name in sys.modules)
