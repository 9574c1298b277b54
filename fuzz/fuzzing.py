"""Fuzzing: inputs that are damaged, or made up, and whether each is refused in a sentence.

    make fuzz                                           # 100,000 cases, 20 minutes of one core
    make fuzz ARGS="--count 5000 --seed 3 --only record image"
    python fuzz/fuzzing.py --seed 3 --case 1234         # one case once more, with its traceback

A case is a function of (seed, number). Cases run in a fork of this process, with limits of time and memory, so that one
that ends its process is counted, too. With --write, counts go to results/benchmarks/fuzz.json.
"""

from __future__ import annotations

import argparse
import datetime
import faulthandler
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inputs import Input

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "benchmarks" / "fuzz.json"
CHUNK = 500  # cases of one fork
SECONDS = 10.0  # of the processor, for one case
MEMORY = 1 << 30  # bytes that a case may take besides what the process has
LONGEST = 1000  # characters of a refusal
FAILURES = ("traceback", "silent", "slow", "memory", "killed", "words")


class Outcome(NamedTuple):
    """What became of a case: `same`, `other`, `refused`, or one of FAILURES."""

    number: int
    kind: str
    outcome: str
    words: str = ""
    seconds: float = 0.0  # of the processor


def all_kinds() -> tuple[type[Input], ...]:
    """Return the kinds of input in the order that numbers go through them."""
    import of_checkpoints
    import of_configs
    import of_data
    import of_stages

    modules = (of_configs, of_stages, of_checkpoints, of_data)
    return tuple(kind for module in modules for kind in module.KINDS_OF_INPUT)


def prepared(kinds: Sequence[type[Input]], folder: Path, only: Collection[str] | None = None) -> list[Input]:
    """Return each kind, those of `only` (None: all) with their originals, in a folder each."""
    inputs = [kind(folder / kind.name) for kind in kinds]
    for each in inputs:
        if only is None or each.name in only:
            each.folder.mkdir(parents=True)
            each.prepare()
    return inputs


def kind_of(inputs: Sequence[Input], number: int) -> Input:
    """Return which kind a case is of."""
    order = [each for each in inputs for _ in range(each.share)]
    return order[number % len(order)]


def tried(each: Input, seed: int, number: int, *, show: bool = False) -> Outcome:
    """Read a case in this process, and return what became of it; `show` prints what was raised."""
    from bench.errors import BadInput

    try:
        case = each.case(random.Random(f"{seed} {number}"))
        return Outcome(number, each.name, each.read(case))
    except (BadInput, *each.refusals) as error:
        if show:
            print(error)
        words = str(error)
        poor = not words or "\n" in words or len(words) > LONGEST
        return Outcome(number, each.name, "words" if poor else "refused", words[:300] if poor else "")
    except MemoryError:
        return Outcome(number, each.name, "memory", traceback.format_exc(limit=-3))
    except (Exception, SystemExit) as error:
        if show:
            traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)
        ours = next((one for one in reversed(place) if f"{ROOT}/bench/" in one.filename), place[-1])
        where = f"{Path(ours.filename).name}:{ours.lineno}"
        return Outcome(number, each.name, "traceback", f"{type(error).__name__} at {where}: {str(error)[:200]}")


def run(inputs: Sequence[Input], seed: int, numbers: Sequence[int]) -> Iterator[Outcome]:
    """Yield what became of cases, in order, each in a fork of this process with limits."""
    left = list(numbers)
    while left:
        chunk, left = left[:CHUNK], left[CHUNK:]
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            _child(inputs, seed, chunk, writer)
        os.close(writer)
        begun: int | None = None
        with os.fdopen(reader, encoding="utf-8") as lines:
            for line in lines:
                told = json.loads(line)
                if isinstance(told, int):
                    begun = told
                else:
                    begun = None
                    yield Outcome(*told)
        _, status = os.waitpid(child, 0)
        if begun is not None:
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            ended = "slow" if number == signal.SIGPROF else "killed"
            words = signal.Signals(number).name if number else f"exit code {os.waitstatus_to_exitcode(status)}"
            yield Outcome(begun, kind_of(inputs, begun).name, ended, words)
            left = [*chunk[chunk.index(begun) + 1 :], *left]


def _child(inputs: Sequence[Input], seed: int, numbers: Sequence[int], writer: int) -> None:
    """Try cases, tell what became of each, and end this process."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)  # libraries print what they think of a file
    os.dup2(nothing, 2)
    faulthandler.disable()  # pytest's would be said where it is not looked for
    code = 1
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with os.fdopen(writer, "w", encoding="utf-8", buffering=1) as told:
            for number in numbers:
                told.write(f"{number}\n")
                signal.setitimer(signal.ITIMER_PROF, SECONDS)  # whose signal ends the process
                begun = time.process_time()
                outcome = tried(kind_of(inputs, number), seed, number)
                signal.setitimer(signal.ITIMER_PROF, 0)
                told.write(json.dumps(outcome._replace(seconds=round(time.process_time() - begun, 4))) + "\n")
        code = 0
    finally:
        os._exit(code)


def summary(outcomes: Counter[tuple[str, str]], seed: int, seconds: float) -> dict[str, Any]:
    """Return the content of the results' file."""
    from bench.record import environment

    kinds = sorted({kind for kind, _ in outcomes})
    counts = {kind: {what: n for (k, what), n in sorted(outcomes.items()) if k == kind} for kind in kinds}
    return {
        "benchmark": "fuzz",
        "title": "Damaged and made-up inputs",
        "taken": {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **_plain(environment())},
        "seed": seed,
        "cases": sum(outcomes.values()),
        "failures": sum(n for (_, what), n in outcomes.items() if what in FAILURES),
        "limits": {"cpu_seconds": SECONDS, "memory_mib": MEMORY >> 20},
        "seconds": round(seconds, 1),
        "kinds": counts,
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value.model_dump() if hasattr(value, "model_dump") else value for key, value in values.items()}


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, try cases, and say what failed; 1 where any did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="cases, of which --only leaves some out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="KIND", help="kinds of input; all by default")
    parser.add_argument("--case", type=int, metavar="NUMBER", help="this one alone, here, with its traceback")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    given = parser.parse_args(words)
    import torch

    torch.set_num_threads(1)  # none is left running where this process forks
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        kinds = all_kinds()
        if unknown := {*(given.only or ())} - {kind.name for kind in kinds}:
            parser.error(f"no kind {', '.join(unknown)}; there are {', '.join(kind.name for kind in kinds)}")
        inputs = prepared(kinds, Path(folder), given.only)
        if given.case is not None:
            print(tried(kind_of(inputs, given.case), given.seed, given.case, show=True))
            return 0
        numbers = [n for n in range(given.count) if not given.only or kind_of(inputs, n).name in given.only]
        counts: Counter[tuple[str, str]] = Counter()
        seconds: Counter[str] = Counter()
        for done, one in enumerate(run(inputs, given.seed, numbers), 1):
            counts[one.kind, one.outcome] += 1
            seconds[one.kind] += one.seconds  # type: ignore[assignment]
            if one.outcome in FAILURES:
                again = f"python fuzz/fuzzing.py --seed {given.seed} --case {one.number}"
                print(f"{one.outcome}: {one.kind}: {one.words.strip()}\n    {again}", flush=True)
            if done % 5000 == 0:
                print(f"{done} of {len(numbers)} cases, {time.monotonic() - started:.0f} s", flush=True)
    result = summary(counts, given.seed, time.monotonic() - started)
    for kind, row in result["kinds"].items():
        row_seconds = f"{1000 * seconds[kind] / sum(row.values()):.1f} ms each"
        print(f"{kind:<14} " + ", ".join(f"{n} {what}" for what, n in row.items()) + f", {row_seconds}")
    print(f"{result['cases']} cases, {result['failures']} failures, {result['seconds']} s")
    if given.write:
        RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
