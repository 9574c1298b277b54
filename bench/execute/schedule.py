"""Walk a grid with several stages at once: each on GPUs of its own, those that need none beside them.

A stage starts as soon as its parents are done, GPUs are free and memory is left; of those that could, first the one
with the longest chain of stages waiting for it, then the one with the most. Where there is no CUDA, processes stand for
GPUs.

A stage's result is that of the stage alone. On a CPU it depends, by rounding, on the number of threads: there a stage
keeps those that it would have alone, and OMP_NUM_THREADS in the environment is how a user divides the cores.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.allocator import started_with
from bench.errors import Interrupted
from bench.execute.devices import VISIBLE, cuda_devices, gpus_of
from bench.execute.grid import Grid
from bench.execute.grid_place import grid_line
from bench.execute.grid_view import GridView
from bench.execute.jobs.cancelling import is_cancelled
from bench.execute.jobs.endings import note_ending, why_not
from bench.execute.jobs.local import note_jobs
from bench.execute.local import PATIENCE_SECONDS, POLL_SECONDS, prepare, report, say
from bench.execute.parent import ending_with_this
from bench.execute.stage_file import known_memory_mib
from bench.execute.stage_log import LOG
from bench.execute.stopping import SIGNALS, heeded
from bench.import_path import command
from bench.machine import SHARED_BY, WITHIN_GRID, available_memory, cores
from bench.plan import Stage
from bench.printable import printable

STATUS_SECONDS = 30.0  # between two looks at what the running stages have printed last
MEMORY_MIB = 4096  # of the host, that a process of a stage is taken to need if nothing is known of it

clock = time.monotonic


@dataclass
class Running:
    """A stage at work."""

    stage: Stage
    title: str
    process: subprocess.Popen[bytes]
    log: Path
    devices: tuple[str, ...]  # that it has
    memory_mib: float  # that it is taken to need
    shown: str = ""  # the last of its lines that was repeated

    def last_line(self) -> str:
        """Return what it printed last; "" for nothing."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""


def ordered(stages: Sequence[Stage]) -> list[Stage]:
    """Return stages (parents first) by what unblocks most: longest chain of dependants, then their number."""
    below: dict[str, set[str]] = {stage.fingerprint: set() for stage in stages}
    chain = dict.fromkeys(below, 0)
    for stage in reversed(stages):
        for parent in stage.parents.values():
            if parent.fingerprint in below:
                below[parent.fingerprint] |= {stage.fingerprint} | below[stage.fingerprint]
                chain[parent.fingerprint] = max(chain[parent.fingerprint], 1 + chain[stage.fingerprint])
    return sorted(stages, key=lambda stage: (-chain[stage.fingerprint], -len(below[stage.fingerprint])))  # stable


def run_side_by_side(grid: Grid, gpus: int, per_stage: int, unreadable: Literal["fail", "skip"] = "fail") -> None:
    """Run every stage that is to do, on `gpus` GPUs in all and `per_stage` a stage.

    What a stage prints goes to `log.txt` in its folder. One that fails leaves those running that do not need it.
    Raises StageFailed (or BadInput, if only bad input was met) at the end, and Interrupted on Ctrl-C or SIGTERM, after
    which every running stage writes its last checkpoint.
    """
    to_do, folders = prepare(grid, unreadable)
    if not to_do:
        return
    note_jobs(os.getpid(), [folders[stage.fingerprint] for stage in to_do])
    schedule = Schedule(grid, to_do, folders, gpus, per_stage)
    say(f"{len(to_do)} stages, at most {schedule.width} side by side")
    with _signals() as signals, schedule.view:
        try:
            while schedule.left:
                if signals or schedule.interrupted:
                    schedule.stop(signals)
                schedule.look()
                schedule.view.draw(clock())
                time.sleep(POLL_SECONDS)
        except Interrupted:
            raise
        except BaseException:  # ours or the machine's: no training is lost for it
            schedule.end()
            raise
    report(to_do, schedule.failed)


class Schedule:
    """Which stages wait, run and have failed, and the GPUs and the memory that are free."""

    def __init__(
        self, grid: Grid, to_do: Sequence[Stage], folders: Mapping[str, Path], gpus: int, per_stage: int
    ) -> None:
        self.grid, self.folders, self.per_stage = grid, folders, per_stage
        self.numbers = {stage.fingerprint: f"[{n}/{len(to_do)}] {stage.title}" for n, stage in enumerate(to_do, 1)}
        self.waiting = ordered(to_do)
        self.running: list[Running] = []
        self.failed: dict[str, int] = {}  # fingerprint -> exit code
        self.interrupted = False  # one of the stages was, by another than us
        visible = cuda_devices()
        self.cuda = bool(visible)
        self.all = visible[:gpus] if visible else [str(number) for number in range(gpus)]
        self.free = list(self.all)
        self.width = max(1, min(gpus // per_stage, len(to_do)))
        memory = available_memory()
        self.memory_mib = float("inf") if memory is None else memory / 2**20
        self.known_mib: dict[tuple[str, str], float] = {}  # (kind, name of the config) -> of a process, as recorded
        self.looked_at = clock()
        self.view = GridView(grid.work_dir, folders.values())

    @property
    def left(self) -> bool:
        """Whether something runs or waits."""
        return bool(self.waiting or self.running)

    def look(self) -> None:
        """Note which stages have ended, start those that can run now, and say how the others get on."""
        for each in list(self.running):
            code = each.process.poll()
            if code is not None:
                self._end(each, code)
        if not self.interrupted:
            self._start_what_can()
        if clock() - self.looked_at >= STATUS_SECONDS:
            self.looked_at = clock()
            for each in self.running:
                line = each.last_line()
                if line and line != each.shown:
                    each.shown = line
                    say(printable(f"{each.title}: {line}"))

    def stop(self, signals: Sequence[int]) -> None:
        """Let each running stage finish its step and write its last checkpoint, at most PATIENCE_SECONDS long.

        A second signal ends them at once. Raises Interrupted.
        """
        self.interrupted = True
        names = ", ".join(each.stage.title for each in self.running)
        if self.running:
            what = "1 stage" if len(self.running) == 1 else f"{len(self.running)} stages"
            say(
                f"Stopping {what} after the step at hand, in at most {PATIENCE_SECONDS} s (Ctrl-C again: at once): "
                f"{names}"
            )
        self.end(signals)
        raise Interrupted(f"Interrupted: {names or 'nothing was running'}; what was finished stays.")

    def end(self, signals: Sequence[int] = ()) -> None:
        """Have what runs write its last checkpoint and end, at most PATIENCE_SECONDS long, or until another signal."""
        self.interrupted = True
        for each in self.running:
            _signal(each.process, signal.SIGINT)
        before, until = _insisting(signals), clock() + PATIENCE_SECONDS
        while self.running and clock() < until and _insisting(signals) == before:
            self.look()
            time.sleep(POLL_SECONDS)
        for each in self.running:
            _signal(each.process, signal.SIGKILL)
            each.process.wait()
        self.running.clear()

    def _start_what_can(self) -> None:
        held = {each.stage.fingerprint for each in self.running} | {stage.fingerprint for stage in self.waiting}
        full = False  # a stage with a higher place waits for GPUs or memory: none that needs GPUs overtakes it
        for stage in list(self.waiting):
            why = why_not(stage, self.folders[stage.fingerprint], self.failed)
            if why is not None:
                say(f"{self.numbers[stage.fingerprint]}: not run, {why.reason}")
                self.failed[stage.fingerprint] = why.code
                self.waiting.remove(stage)
                held.discard(stage.fingerprint)
                continue
            if any(parent.fingerprint in held for parent in stage.parents.values()):
                continue
            gpus = gpus_of(stage, self.per_stage)
            beside = sum(not each.devices for each in self.running)
            fits = not full and gpus <= len(self.free) if gpus else beside < self.width
            needed = self._needed(stage, max(1, gpus)) if fits else 0.0
            taken = sum(each.memory_mib for each in self.running)
            if fits and (not self.running or taken + needed <= self.memory_mib):
                self._start(stage, gpus, needed)
                self.waiting.remove(stage)
            elif gpus:
                full = True

    def _needed(self, stage: Stage, processes: int) -> float:
        """The memory of the host that a stage is taken to need, in MiB; looked up once, as that reads many files."""
        key = (stage.kind, stage.config.name)
        if key not in self.known_mib:
            self.known_mib[key] = known_memory_mib(self.grid.work_dir, *key)
        return processes * max(MEMORY_MIB, self.known_mib[key])

    def _start(self, stage: Stage, gpus: int, needed: float) -> None:
        devices, self.free = tuple(self.free[:gpus]), self.free[gpus:]
        title, folder = self.numbers[stage.fingerprint], self.folders[stage.fingerprint]
        log = folder / LOG
        place = f" on {'GPU' if self.cuda else 'process'} {', '.join(devices)}" if devices else ""
        say(f"{title}: started{place}, log: {log}")
        processes = max(1, gpus)
        with log.open("ab") as file:
            process = start(folder, processes, self._environ(devices, processes), file.fileno())
        self.running.append(Running(stage, title, process, log, devices, needed))

    def _environ(self, devices: Sequence[str], processes: int) -> dict[str, str]:
        """What a stage's process is told: its GPUs, its share of the machine."""
        environ = ending_with_this(started_with(os.environ))
        environ |= {WITHIN_GRID: "1", SHARED_BY: str(self.width), "BENCH_PLAIN": "1"}
        if not self.cuda:
            return environ
        threads = max(1, cores() // (self.width * processes))
        return {"OMP_NUM_THREADS": str(threads)} | environ | {VISIBLE: ",".join(devices)}

    def _end(self, each: Running, code: int) -> None:
        self.running.remove(each)
        self.free = sorted([*self.free, *each.devices], key=self.all.index)
        folder = self.folders[each.stage.fingerprint]
        interrupted = code in {Interrupted.exit_code, -signal.SIGINT}  # the latter where it was still importing
        if code == 0:
            say(f"{each.title}: done")
            total = len(self.numbers)
            ended = total - len(self.waiting) - len(self.running)
            if self.left and (line := grid_line(ended, total, self.view.look().seconds_left)):
                say(line)
        elif interrupted and not is_cancelled(folder):
            say(f"{each.title}: stopped; its last checkpoint stays")
            self.interrupted = True
        else:
            self.failed[each.stage.fingerprint] = code
            words = note_ending(each.stage, folder, code)
            say(printable(f"{each.title}: {words}: {each.last_line()} (log: {each.log})"))


def start(folder: Path, processes: int, environ: Mapping[str, str], output: int) -> subprocess.Popen[bytes]:
    """Start `bench stage` on a folder, in a session of its own, so that a signal reaches it once, from here."""
    words = command("stage", str(folder), "--gpus", str(processes))
    return subprocess.Popen(
        words, start_new_session=True, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _insisting(signals: Sequence[int]) -> int:
    """How many of the signals ask for an end at once when they come again: a closed terminal sends SIGHUP twice."""
    return sum(number != signal.SIGHUP for number in signals)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Give the list that each signal which asks us to stop is added to, instead of interrupting whatever runs."""
    noted: list[int] = []
    numbers = [number for number in (signal.SIGINT, *SIGNALS) if number == signal.SIGINT or heeded(number)]
    before = {number: signal.signal(number, lambda got, _frame: noted.append(got)) for number in numbers}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
