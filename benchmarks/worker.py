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
import traceback
from typing import Any

STARTED = time.perf_counter()


def main(order: dict[str, Any]) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    module, _, function = order["target"].partition(":")
    sample: Any = None
    for line in sys.stdin:
        word, *count = line.split()
        start = time.perf_counter()
        units: float = 0
        try:
            if word == "ready":
                start = STARTED
                sample = getattr(importlib.import_module(module), function)(**order["arguments"])
                if order["threads"] is not None and "torch" in sys.modules:
                    sys.modules["torch"].set_num_threads(order["threads"])
                for _ in range(int(count[0])):
                    sample()
            else:
                units = sample()
            if (cuda := gpu()) is not None:
                cuda.synchronize()  # kernels are queued: a sample ends when the GPU has done its work
        except Exception as error:
            traceback.print_exc()
            last = traceback.format_exception_only(error)[-1].strip()
            print(json.dumps({"error": last}), file=answers, flush=True)
            raise SystemExit(1) from None
        answer = {"seconds": time.perf_counter() - start, "units": units, "peak_mib": peak_mib()}
        answer["peak_device_mib"] = 0.0 if cuda is None else cuda.max_memory_allocated() / 2**20
        print(json.dumps(answer), file=answers, flush=True)


def gpu() -> Any:
    """Return torch.cuda if this process has used a GPU, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def peak_mib() -> float:
    """The most memory that this process has held, in MiB.

    By Linux's count for this program: ru_maxrss begins with what the process held that started it.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
