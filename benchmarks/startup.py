"""How long the command line takes to answer, against an empty Python, interleaved.

    python benchmarks/startup.py [REPEATS]

Prints the median seconds of each command and its ratio to `python -c pass`, run in turn so that a drifting
machine drifts for all alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "bench --help": ["-m", "bench", "--help"],
    "bench list": ["-m", "bench", "list"],
    "bench show coco": ["-m", "bench", "show", "coco"],
    "bench table --check": ["-m", "bench", "table", "--check"],
}


def main(repeats: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, words in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - start)
    empty = statistics.median(seconds["python -c pass"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:<20} {median:.3f} s   {median / empty:5.1f} x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
