"""What a rank is told when the other one is gone; a script: lost_ranks.py FOLDER.

For each case two gloo ranks are forked of this process; the second ends or stops itself while the first waits for it in
a collective operation. FOLDER/CASE has the class and the words of what the first then raises.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["BENCH_COLLECTIVE_MINUTES"] = "0.25"

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bench.nn.collectives import collective_timeout
from bench.train.lost_processes import in_words

CASES = ("killed in a sum", "killed in a backward pass", "stopped in a sum", "ended before the start")


def rank_of(rank: int, case: str, folder: Path) -> None:
    place = f"file://{folder}/rendezvous-{case.replace(' ', '-')}"
    if case == "ended before the start" and rank == 1:
        return
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=2, timeout=collective_timeout())
    model, x = DistributedDataParallel(nn.Linear(2, 2)), torch.ones(1, 2)
    model(x).sum().backward()
    if rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP if case.startswith("stopped") else signal.SIGKILL)
    for _ in range(3):  # what was sent before the end may still arrive
        if "backward" in case:
            model(x).sum().backward()
        else:
            dist.all_reduce(x)


def main() -> None:
    folder = Path(sys.argv[1])
    for case in CASES:
        pids = []
        for rank in (0, 1):
            pid = os.fork()
            if pid == 0:
                torch.set_num_threads(1)
                try:
                    rank_of(rank, case, folder)
                except Exception as error:
                    said = in_words(error, "pretrain x")
                    (folder / case).write_text(f"{type(said).__name__}: {said}" if said else f"unknown: {error!r}")
                os._exit(0)
            pids.append(pid)
        os.waitpid(pids[0], 0)
        os.kill(pids[1], signal.SIGKILL)
        os.waitpid(pids[1], 0)


if __name__ == "__main__":
    main()
