"""SIGKILL at chosen and at random moments of whole grids, and whether anything is lost, double, or needs a hand.

    make faults                                             # 300 kills
    make faults ARGS="--kills 40 --seed 3"
    make faults ARGS="--kills 300 --work-dir DIR --write"   # continues what DIR holds; then writes the figures

A life is one grid in an empty folder: it is started, killed, started again by the same command, killed again, up to
MOST times, and then left to end. Its end must be that of the same grid left alone: each tensor, each record. A stage
that was finished before a kill must not have run again. What is killed: the whole tree; the process that walks the
grid alone; a stage alone; one rank of two; a loader's worker; or, by `injected.py`, a process before or after its n-th
call that writes a file, so that every checkpoint, record, table and note is met in every state.

Figures go to results/benchmarks/faults.json. Exit code 1 where anything was lost, double, or needed a hand.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # no thread may run where this process forks; and ends hang on their number
os.environ |= {"BENCH_PLAIN": "1", "OMP_WAIT_POLICY": "PASSIVE"}

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from ends import End, end_of, finished  # noqa: E402
from injected import Calls, Death  # noqa: E402
from starts import prepare, start, start_fresh, tree  # noqa: E402
from subjects import SUBJECTS, Subject  # noqa: E402

FIGURES = ROOT / "results" / "benchmarks" / "faults.json"
MOST = 5  # kills in a life
PATIENCE = 600  # seconds without an end after which a start counts as hung
HUNG = -1  # the exit code of such a start
LOOK = 0.005
TARGETS = ("tree", "grid", "stage", "rank", "worker")


@dataclass(frozen=True)
class Known:
    """What the undisturbed run of a subject showed: its end, its seconds, and who calls what how often."""

    end: End
    seconds: float
    calls: dict[str, dict[str, int]]


@dataclass
class Life:
    """What became of one grid that was killed again and again."""

    subject: str
    kills: list[str] = field(default_factory=list)  # what was killed, in words
    stages: list[str] = field(default_factory=list)  # that ran then
    differs: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)  # stages that ran a second time though they were done
    double: list[str] = field(default_factory=list)
    by_hand: str = ""  # what the last start said, where it did not end well
    left: list[str] = field(default_factory=list)  # temporary files
    seed: int = 0  # that it was drawn by

    @property
    def equal(self) -> bool:
        """Whether nothing is wrong with it."""
        return not (self.differs or self.again or self.double or self.by_hand)


def words_of(out: Path, most: int = 400) -> str:
    """The end of what a start printed."""
    return out.read_text(errors="replace")[-most:].strip() if out.exists() else ""


def stage_at(out: Path) -> str:
    """The kind of the stage that a grid had come to."""
    lines = [line for line in words_of(out, 100_000).splitlines() if line.startswith("[") and "/" in line[:6]]
    return lines[-1].partition("] ")[2].partition(" ")[0] if lines else "planning"


class Campaign:
    """Subjects, their undisturbed ends, and lives, kept in a folder."""

    def __init__(self, work: Path, subjects: Sequence[Subject] = SUBJECTS) -> None:
        self.work, self.subjects = work, subjects
        self.data, self.state = work / "data", work / "lives.json"
        self.known: dict[str, Known] = {}
        work.mkdir(parents=True, exist_ok=True)
        self.lives = [Life(**one) for one in json.loads(self.state.read_text())] if self.state.exists() else []

    @property
    def kills(self) -> int:
        """How many there have been."""
        return sum(len(life.kills) for life in self.lives)

    def prepare(self) -> None:
        """Render the data, and import what stages need."""
        prepare()
        if not self.data.exists():
            from bench.synthetic.render import render

            render(self.data)

    def know(self, subject: Subject) -> Known:
        """Run a subject undisturbed, once."""
        if subject.name not in self.known:
            folder, counts = self._folder("undisturbed"), self.work / "counts.jsonl"
            counts.unlink(missing_ok=True)
            began = time.monotonic()
            code = self._start(subject, folder, None, counts)(None)
            seconds = time.monotonic() - began
            if code:
                raise SystemExit(f"{subject.name} does not run undisturbed: {words_of(folder / 'out.txt')}")
            calls: dict[str, dict[str, int]] = {}
            for line in counts.read_text().splitlines() if counts.exists() else []:
                one = json.loads(line)
                calls[one["role"]] = {name: count for name, count in one["calls"].items() if count}
            self.known[subject.name] = Known(end_of(folder), seconds, {role: c for role, c in calls.items() if c})
            shutil.rmtree(folder)
        return self.known[subject.name]

    def live(self, subject: Subject, draw: random.Random) -> Life:
        """Start, kill and start a subject again, and compare its end."""
        known, life, folder = self.know(subject), Life(subject.name), self._folder("life")
        done: dict[str, bytes] = {}
        for _ in range(draw.randint(1, MOST)):
            death = self._death(known, draw) if known.calls and draw.random() < 0.5 else None
            wait = self._start(subject, folder, death, None)
            if death is not None:
                wait(None)
                died = folder / "died"
                killed = death.words() if died.exists() else None
                died.unlink(missing_ok=True)
                stage = stage_at(folder / "out.txt") if death.role == "grid" else death.role
            else:
                # Later in a life less is left to do: half the time where it began, the other half anywhere.
                share = draw.random() * draw.choice((1.0, 0.4))
                killed, stage = wait((known.seconds * share, draw.choice(TARGETS))) or (None, "")
            if killed is None:
                break  # it came to its end first
            life.kills.append(killed)
            life.stages.append(stage)
            if killed.endswith(f"exit code {HUNG}"):
                life.by_hand = f"hung: {killed}"
            done |= {name: content for name, content in finished(folder).items() if name not in done}
        self._end(subject, folder, life, known, done)
        shutil.rmtree(folder, ignore_errors=True)
        return life

    def _end(self, subject: Subject, folder: Path, life: Life, known: Known, done: dict[str, bytes]) -> None:
        """Leave it to end, and judge it."""
        code = self._start(subject, folder, None, None)(None)
        self._reap()
        if code:
            life.by_hand = f"exit code {code}: {words_of(folder / 'out.txt')}"
            return
        end, after = end_of(folder), finished(folder)
        life.differs = known.end.differs_from(end)
        life.again = [name for name, content in done.items() if after.get(name) != content]
        life.double, life.left = list(end.twice), list(end.left)

    def _death(self, known: Known, draw: random.Random) -> Death:
        role = draw.choice(sorted(known.calls))
        call = draw.choice(sorted(known.calls[role]))
        return Death(role, call, draw.randint(1, known.calls[role][call]), draw.random() < 0.5)

    def _folder(self, name: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.work))
        (folder / "runs").mkdir()
        return folder

    def _start(
        self, subject: Subject, folder: Path, death: Death | None, counts: Path | None
    ) -> Callable[[tuple[float, str] | None], Any]:
        """Start a subject, and return what waits for it.

        That takes None, and returns the exit code at the end; or after how many seconds to kill what, and returns what
        it killed and the stage that ran then, or None where all had ended before.
        """
        words = subject.command(self.data)
        calls = Calls(death, counts, folder / "died")
        pid = start_fresh(words, folder) if subject.real else start(words, folder, calls)
        began = time.monotonic()

        def wait(kill: tuple[float, str] | None) -> Any:
            while True:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    return None if kill else os.waitstatus_to_exitcode(status)
                spent = time.monotonic() - began
                if kill and spent >= kill[0]:
                    stage = stage_at(folder / "out.txt")
                    killed = self._kill(pid, kill[1])
                    if killed in ("tree", "grid"):
                        os.waitpid(pid, 0)
                        return killed, stage
                    code = wait(None)
                    # Launchers start a killed rank again, and loaders say so: either way the grid has ended by itself.
                    return (killed if code in (0, 1, 130) else f"{killed}, exit code {code}"), stage
                if spent > PATIENCE:
                    self._kill(pid, "tree")
                    os.waitpid(pid, 0)
                    return HUNG
                time.sleep(LOOK)

        return wait

    def _kill(self, pid: int, target: str) -> str:
        """Kill what was drawn, or the whole tree where there is none of it. Returns what was killed."""
        found = tree(pid)
        of_role = [one for one in found if one.role == target]
        if not of_role:
            target, of_role = "tree", found
        if target in ("rank", "worker", "stage"):
            of_role = of_role[-1:]
        for one in of_role:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        if target == "tree":  # what was forked meanwhile
            self._reap(kill=True)
        return target

    def _reap(self, kill: bool = False) -> None:
        """Take up processes that were left without a parent; end them first where that is asked."""
        for one in tree(os.getpid())[1:] if kill else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while not kill and os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def run(self, kills: int, seed: int, minutes: float) -> None:
        """Go on until there were so many kills, or the time is over; what was done is kept after each life."""
        end, shares = time.monotonic() + 60 * minutes, [subject.share for subject in self.subjects]
        while self.kills < kills and time.monotonic() < end:
            draw = random.Random(f"{seed} {len(self.lives)}")
            life = self.live(draw.choices(self.subjects, shares)[0], draw)
            life.seed = seed
            self.lives.append(life)
            partial = self.state.with_suffix(".partial")
            partial.write_text(json.dumps([asdict(one) for one in self.lives], indent=1))
            partial.replace(self.state)
            verdict = "equal" if life.equal else f"NOT EQUAL: {asdict(life)}"
            print(f"{self.kills} kills; {life.subject}: {', '.join(life.kills) or 'none'}: {verdict}", flush=True)


def figures(lives: Sequence[Life]) -> dict[str, Any]:
    """What is published."""
    kills = [(life, kill, stage) for life in lives for kill, stage in zip(life.kills, life.stages, strict=True)]
    return {
        "benchmark": "faults",
        "title": "SIGKILL while grids run: what was lost, double, or needed a hand",
        "seeds": sorted({life.seed for life in lives}),
        "killed": len(kills),
        "lives": len(lives),
        "equal": sum(life.equal for life in lives),
        "lost": sum(bool(life.differs or life.again) for life in lives),
        "double": sum(bool(life.double) for life in lives),
        "manual_work": sum(bool(life.by_hand) for life in lives),
        "temporary_files_left": sum(len(life.left) for life in lives),
        "by_subject": dict(Counter(life.subject for life, _, _ in kills).most_common()),
        "by_stage": dict(Counter(stage for _, _, stage in kills).most_common()),
        "by_target": dict(Counter(kill for _, kill, _ in kills).most_common()),
        "not_equal": [asdict(life) for life in lives if not life.equal],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; 1 where an end is not as it should be."""
    parser = argparse.ArgumentParser(description="SIGKILL while grids run, and whether anything is lost.")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="kept, and continued by a later call")
    parser.add_argument(
        "--join", nargs="*", default=[], type=Path, metavar="DIR", help="count the lives of other folders, too"
    )
    parser.add_argument("--only", nargs="*", metavar="SUBJECT", help=", ".join(one.name for one in SUBJECTS))
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    subjects = [one for one in SUBJECTS if not options.only or one.name in options.only]
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        campaign = Campaign((options.work_dir or Path(scratch)).absolute(), subjects)
        campaign.prepare()
        campaign.run(options.kills, options.seed, options.minutes)
    more = [Life(**one) for work in options.join for one in json.loads((work / "lives.json").read_text())]
    came = figures([*campaign.lives, *more])
    print(json.dumps(came, indent=1))
    if options.write:
        sys.path.insert(0, str(ROOT / "benchmarks"))
        from measurements import taken

        FIGURES.write_text(json.dumps({**came, "taken": taken()}, indent=1) + "\n")
    return int(came["equal"] != came["lives"])


if __name__ == "__main__":
    sys.exit(main())
