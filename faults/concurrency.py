"""Many processes, two hosts, one shared folder: overlapping grids, whose holders are killed and stopped at random.

    python faults/concurrency.py --write            # 10 trials of 20 processes, results/benchmarks/concurrency.json

Each trial draws what each process wants, and when which process gets SIGKILL or SIGSTOP (above all one that runs a
stage), or kills itself between a result, its record and its end. One that was killed is started again, as a person or a
scheduler would. In the end each stage must have been done once, with the result of one process that nothing happened
to, all files must be whole and all locks free.

Hosts differ by their names and by their paths to the folder. That the folder is on another machine is not tried: there
its file system must have a flock that works between machines.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contender import SEEDS, TASK_SEEDS, TASKS, Contender, contend, grid_of, lay_out, notes_of
from shared_folder import NONE_OF, counted, results_of

from bench.files import write_text
from bench.plan import Stage
from bench.processor import features, limits
from bench.record import environment

FILE = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "concurrency.json"
HOSTS = ("host-a", "host-b")
RATE = 0.4  # of the looks, some 20 a second, at which a signal is sent
AT_HOLDERS = 0.7  # of the signals that are sent while any process runs a stage
SIGNALS = 3  # for every two processes
DYING = 0.08  # the chance of a kill at each instant, in the first lives of a process
LIVES = 3  # in which it may kill itself
PATIENCE = 300.0  # s, after which a trial hangs


@dataclass
class Trial:
    """The processes of one trial, and what was done to them."""

    place: Path
    seed: int
    contenders: list[Contender]
    signals: int  # that are still to be sent, as long as any process runs
    running: dict[int, Contender] = field(default_factory=dict)  # by process
    lives: Counter[int] = field(default_factory=Counter)  # starts, by the number of the contender
    stopped: dict[int, float] = field(default_factory=dict)  # process -> when it goes on
    done_to: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def run(self, chance: random.Random) -> None:
        """Start all, send signals, start again what was killed, and wait for all. Raises TimeoutError."""
        until = time.monotonic() + PATIENCE
        for contender in self.contenders:
            self.start(contender)
        while self.running:
            if time.monotonic() > until:
                self.end()
                raise TimeoutError(f"{len(self.running)} processes of trial {self.seed} still wait")
            time.sleep(chance.uniform(0.01, 0.1))
            self.reap()
            now = time.monotonic()
            for process in [each for each, end in self.stopped.items() if end < now]:
                del self.stopped[process]
                os.kill(process, signal.SIGCONT)
            if self.signals and self.running:
                self.send(chance)

    def start(self, contender: Contender) -> None:
        """Fork a process for a contender."""
        self.lives[contender.number] += 1
        life = self.lives[contender.number]
        sys.stdout.flush()
        process = os.fork()
        if process:
            self.running[process] = contender
            return
        code = 1
        try:
            log = os.open(self.place / f"contender-{contender.number}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = contend(self.place, contender, life, self.seed, DYING if life <= LIVES else 0.0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def reap(self) -> None:
        """Note which processes have ended, and start the killed ones again."""
        for process, contender in list(self.running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended:
                continue
            del self.running[process]
            self.stopped.pop(process, None)
            code = os.waitstatus_to_exitcode(status)
            if code == -signal.SIGKILL:
                self.done_to["killed"] += 1
                self.start(contender)
            elif code:
                self.failed.append(f"contender {contender.number}: exit code {code}")

    def send(self, chance: random.Random) -> None:
        """Kill or stop one process; of stopped ones some are killed before they go on."""
        running: dict[str, int] = {}  # stage -> who runs it
        for note in notes_of(self.place / HOSTS[0]):
            if note["what"] in {"begun", "again"}:
                running[note["stage"]] = note["process"]
            elif note["what"] == "done":
                running.pop(note["stage"], None)
        holders = sorted(set(running.values()) & self.running.keys())
        # Where none runs a stage, all of them plan, or wait for one that has just been killed.
        if chance.random() > (RATE if holders else RATE / 10):
            return
        chosen = chance.choice(holders if holders and chance.random() < AT_HOLDERS else sorted(self.running))
        self.signals -= 1
        self.done_to["signals at holders"] += chosen in holders
        if chosen not in self.stopped and chance.random() < 0.4:
            os.kill(chosen, signal.SIGSTOP)
            self.done_to["stopped"] += 1
            self.stopped[chosen] = time.monotonic() + chance.uniform(0.1, 1.0)
        else:
            self.done_to["killed while stopped"] += chosen in self.stopped
            os.kill(chosen, signal.SIGKILL)

    def end(self) -> None:
        """Kill all that still run."""
        for process in self.running:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def drawn(chance: random.Random, processes: int, seeds: Sequence[int]) -> list[Contender]:
    """Return what each process wants: some seeds, task seeds and tasks; every second one is on the other host."""

    def some(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(sorted(chance.sample(values, chance.randint(1, len(values))), key=values.index))

    return [
        Contender(number, HOSTS[number % len(HOSTS)], some(seeds), some(TASK_SEEDS), some(TASKS))
        for number in range(processes)
    ]


def tried(seed: int, processes: int, place: Path, undisturbed: dict[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Run one trial in an empty folder, and return its figures."""
    chance = random.Random(seed)
    lay_out(place, HOSTS)
    trial = Trial(place, seed, drawn(chance, processes, seeds), signals=processes * SIGNALS // 2)
    began = time.monotonic()
    hung = 0
    try:
        trial.run(chance)
    except TimeoutError as error:
        hung = 1
        print(error, flush=True)
    wanted: dict[str, Stage] = {}
    for contender in trial.contenders:
        wanted |= {stage.fingerprint: stage for stage in grid_of(place, contender).stages}
    found = counted(place / "shared", list(wanted.values()), undisturbed)
    killed_at = Counter(
        note["what"].removeprefix("killed ")
        for note in notes_of(place / "shared")
        if note["what"].startswith("killed ")
    )
    for line in trial.failed:
        print(line, flush=True)
    return {
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        **{name: trial.done_to[name] for name in ("killed", "stopped", "killed while stopped", "signals at holders")},
        "killed by themselves": dict(sorted(killed_at.items())),
        "hung": hung,
        "failed": len(trial.failed),
        **found,
    }


def campaign(trials: int, processes: int, seed: int, place: Path, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Run all trials, of pretrainings by `seeds`, and return what the file holds."""
    # Processes are forks, which need not import these again.
    import bench.stages.convert
    import bench.stages.pretrain
    import bench.stages.segmentation.load_proof  # noqa: F401

    alone = place / "alone"
    lay_out(alone, HOSTS)
    everything = Contender(0, HOSTS[0], tuple(seeds), TASK_SEEDS, TASKS)
    contend_alone(alone, everything)
    stages = grid_of(alone, everything).stages
    undisturbed = results_of(alone / "shared", stages)
    if len(undisturbed) < len(stages):
        raise RuntimeError(
            f"undisturbed, {len(stages) - len(undisturbed)} of {len(stages)} stages are missing: {alone}"
        )
    figures = []
    for number in range(trials):
        folder = place / f"trial-{number}"
        figures.append(tried(seed + number, processes, folder, undisturbed, seeds))
        print(json.dumps(figures[-1]), flush=True)
        if not wrong(figures[-1]):
            shutil.rmtree(folder)
    names = [name for name, value in figures[0].items() if isinstance(value, int | float) and name != "seed"]
    here = environment()
    return {
        "benchmark": "concurrency",
        "title": "Many processes on one folder, killed and stopped at random",
        "taken": {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "git": here["git"].model_dump(),
            "hardware": here["hardware"].model_dump() | {"features": " ".join(features()), "limits": limits()},
            "versions": here["versions"],
        },
        "processes": processes,
        "hosts": len(HOSTS),
        "total": {name: round(sum(each[name] for each in figures), 1) for name in names},
        "trials": figures,
    }


def contend_alone(place: Path, everything: Contender) -> None:
    """Run everything in one process that nothing happens to."""
    trial = Trial(place, -1, [everything], signals=0)
    trial.lives[everything.number] = LIVES  # it does not kill itself, either
    trial.run(random.Random(0))
    if trial.failed:
        raise RuntimeError(f"undisturbed, {trial.failed[0]}: {place}")


def wrong(figures: dict[str, Any]) -> list[str]:
    """Return what there is that must not be: "2 lost"."""
    return [f"{figures[name]} {name}" for name in (*NONE_OF, "hung", "failed") if figures[name]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 1 where anything was lost, double, half or hung."""
    parser = argparse.ArgumentParser(description="Many processes on one folder, killed and stopped at random.")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the first trial's draws")
    parser.add_argument("--pretrainings", type=int, default=len(SEEDS), help="seeds of pretrainings")
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name}, in results/benchmarks")
    options = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="bench-concurrency-"))
    content = campaign(options.trials, options.processes, options.seed, place, range(options.pretrainings))
    if options.write:
        write_text(FILE, json.dumps(content, indent=1) + "\n")
    print(json.dumps(content["total"]), flush=True)
    if problems := wrong(content["total"]):
        print(f"wrong: {', '.join(problems)}; see {place}", flush=True)
        return 1
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
