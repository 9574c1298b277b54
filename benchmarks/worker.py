"""One contender's process: makes itself ready, then takes a sample whenever it is told to.

    python benchmarks/worker.py '{"target": "module:function", "arguments": {…}, "threads": 2}'

It reads `ready N` or `sample` from its standard input and answers each with one line of JSON. Runs in the peers'
environment too, so it imports nothing beyond what the target imports.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from typing import Any

STARTED = time.perf_counter()


def main(order: dict[str, Any]) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    module, _, function = order["target"].partition(":")
    sample = None
    for line in sys.stdin:
        word, *rest = line.split()
        start = time.perf_counter()
        units: float = 0
        if word == "ready":
            start = STARTED
            sample = getattr(importlib.import_module(module), function)(**order["arguments"])
            if order["threads"] is not None and "torch" in sys.modules:
                sys.modules["torch"].set_num_threads(order["threads"])
            for _ in range(int(rest[0])):
                sample()
        else:
            assert sample is not None
            units = sample()
        answer = {"seconds": time.perf_counter() - start, "units": units, "peak_mib": peak_mib()}
        print(json.dumps(answer), file=answers, flush=True)


def peak_mib() -> float:
    """The most memory that this process has held, in MiB (Linux reports KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
