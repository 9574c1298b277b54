"""What torch raises when a process that another one needs is gone, in words for people.

torch has no class for it: gloo raises RuntimeError, and so does a loader whose worker was killed.
"""

from __future__ import annotations

import re
import signal

import torch.distributed as dist

from bench.errors import PeerLost, StageFailed, one_line
from bench.nn.collectives import COLLECTIVE_MINUTES, collective_minutes

_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\)")
_KILLED_BY = re.compile(r"is killed by signal: (.+?)\.(?: |$)")
_CONNECTION = re.compile(
    r"gloo/transport|connectFullMesh|Connection (?:closed|reset) by peer|Broken pipe|"
    r"ProcessGroupNCCL|NCCL (?:error|communicator)|^[Ww]ait timeout"  # the last of the store where ranks meet
)
_TIME_OUT = re.compile(r"Timed out waiting|operation timeout|[Ww]ait timeout")  # not one of connecting
_NETWORK = tuple(
    kind for name in ("DistNetworkError", "DistStoreError") if (kind := getattr(dist, name, None)) is not None
)


def in_words(error: BaseException, title: str) -> StageFailed | None:
    """Return what ends the stage where a process that reads images, or another rank, is gone; None for all else.

    It is a PeerLost for another rank. Call it before the process group is destroyed, or after it with one process.
    """
    text = str(error)
    if _WORKER.search(text):
        by = _KILLED_BY.search(text)
        how = f"was ended by {_signal_named(by.group(1))}" if by else "ended unexpectedly"
        return StageFailed(
            f"{title}: a process that reads data {how}; the machine may have run out of memory or of /dev/shm: lower "
            "workers (--set). Run it again to go on from the last checkpoint."
        )
    if not (isinstance(error, _NETWORK) or (isinstance(error, RuntimeError) and _CONNECTION.search(text))):
        return None
    if _TIME_OUT.search(text):
        minutes = collective_minutes()
        return PeerLost(f"{title}: another rank did not answer for {minutes:g} minutes ({COLLECTIVE_MINUTES})")
    return PeerLost(f"{title}: another rank has ended ({one_line(error)})")


def _signal_named(description: str) -> str:
    """Return the name of a signal by what strsignal says of it: "Killed" -> SIGKILL."""
    for number in signal.valid_signals():
        if (signal.strsignal(number) or "") == description:
            return signal.Signals(number).name
    return description
