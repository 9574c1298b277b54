"""The Slurm for tests leaves nothing behind, and nobody else reaches it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from local_slurm import LocalSlurm

HOLDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from local_slurm import LocalSlurm
with LocalSlurm(Path(sys.argv[2])) as slurm:
    slurm("sbatch", "--output=/dev/null", "--wrap=exec sleep 600.125")
    while "RUNNING" not in slurm("squeue", "-h", "-o", "%T"):
        time.sleep(0.05)
    print(slurm._keeper.pid, flush=True)
    time.sleep(600)
"""
PATIENCE = 60.0  # seconds; a safety net


def of_folder(folder: Path) -> set[int]:
    """Processes whose words name a folder, and the job's own."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace")
            environ = (file.parent / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words or f"SLURM_CONF={folder}" in environ:
            found.add(int(file.parent.name))
    return found


def words_of(process: int) -> bytes:
    """The command of a process; b"" for one that has ended meanwhile."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
def test_whoever_is_killed_leaves_no_daemon_and_no_job(tmp_path: Path, slurm: LocalSlurm) -> None:
    words = [sys.executable, "-IS", "-c", HOLDER, str(Path(__file__).parent), str(tmp_path)]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        keeper = int(holder.stdout.readline())
        # The holder, the keeper, three daemons, a job's keeper at least and the job. A job is said to run before
        # its own process has begun.
        until = time.monotonic() + PATIENCE
        while len(processes := of_folder(tmp_path)) < 7 or b"sleep\x00600.125" not in b"".join(
            map(words_of, processes)
        ):
            assert time.monotonic() < until, list(map(words_of, processes))
            time.sleep(0.05)
        assert keeper in processes
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        until = time.monotonic() + PATIENCE
        while of_folder(tmp_path):
            assert time.monotonic() < until, list(map(words_of, of_folder(tmp_path)))
            time.sleep(0.05)
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.slow
def test_its_daemons_listen_on_this_machine_alone(slurm: LocalSlurm) -> None:
    config = (slurm.folder / "slurm.conf").read_text()
    ports = {int(word.partition("Port=")[2]) for word in config.split() if word.partition("=")[0].endswith("Port")}
    assert len(ports) == 3  # one controller, two nodes
    found = {}
    for line in [*Path("/proc/net/tcp").read_text().splitlines(), *Path("/proc/net/tcp6").read_text().splitlines()]:
        _, local, _, state, *_ = line.split()
        if state == "0A":  # listening
            address, _, port = local.partition(":")
            if int(port, 16) in ports:
                found[int(port, 16)] = address
    assert found == dict.fromkeys(ports, "0100007F")  # 127.0.0.1
