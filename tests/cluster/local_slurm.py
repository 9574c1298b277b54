"""A real Slurm on this machine alone, for tests: munged, slurmctld and slurmd in one folder, as root, without systemd.

    with LocalSlurm(folder) as slurm:
        subprocess.run(["squeue"], env=slurm.environ)

Nodes are made up: each is a slurmd of its own on this machine. All listen on 127.0.0.1, on ports that were free. A
keeper process (this file, run as a script) starts the daemons and ends them, and every process that descends from them,
as soon as its standard input is closed: by the end of the block, or because whoever holds the other side was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"  # where Debian keeps the daemons
START_SECONDS = 60.0  # for the nodes to be idle; a safety net
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h

CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
CredType=cred/munge
# cred_expire: a requeued job waits that long and a second more before it starts again; usually two minutes.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
DefMemPerCPU=500
JobRequeue=1
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
KillWait=10
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=8000 Gres=gpu:2 State=UNKNOWN"
)
GPUS = "NodeName={name} Name=gpu File=/dev/{device} Flags=nvidia_gpu_env"  # any device file stands for one

# Where there is no accounting, sacct says so and nothing else, and submitit waits for ever: the same from scontrol.
SACCT = """\
#!{python} -IS
# sacct for a Slurm without accounting: -o JobID,State,NodeList --parsable2 -j ID [-j ID ...], from scontrol.
import subprocess, sys
print("JobID|State|NodeList")
for job in (word for before, word in zip(sys.argv, sys.argv[1:]) if before == "-j"):
    shown = subprocess.run(["scontrol", "show", "job", "-o", job], capture_output=True, text=True).stdout
    for line in shown.splitlines():
        told = dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        array = f"{{told.get('ArrayJobId')}}_{{told.get('ArrayTaskId')}}"
        name = array if "ArrayJobId" in told else told.get("JobId", job)
        print(f"{{name}}|{{told.get('JobState', '')}}|{{told.get('NodeList', '')}}")
"""


def lacking() -> str:
    """Say what this machine lacks to run it; "" for nothing."""
    if sys.platform != "linux":
        return "it runs on Linux alone"
    path = f"{os.environ.get('PATH', '')}:{SYSTEM}"
    absent = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if absent:
        return f"{', '.join(absent)} not found; apt-get install --no-install-recommends slurm-wlm munge"
    return "" if os.geteuid() == 0 else "its daemons run as root"


class LocalSlurm:
    """Such a Slurm. A context manager; `environ` is what its clients are started with."""

    def __init__(self, folder: Path, nodes: int = 1) -> None:
        self.folder = folder
        self.nodes = [f"node{number}" for number in range(nodes)]
        path = f"{folder / 'bin'}:{os.environ.get('PATH', '')}:{SYSTEM}"
        self.environ = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}

    def __enter__(self) -> Self:
        self._configure()
        words = [sys.executable, "-IS", __file__, str(self.folder), *self.nodes]
        self._keeper = subprocess.Popen(words, stdin=subprocess.PIPE, env=self.environ, start_new_session=True)
        try:
            until = time.monotonic() + START_SECONDS
            while self("sinfo", "-hN", "-p", "main", "-o", "%t", check=False).split() != ["idle"] * len(self.nodes):
                assert self._keeper.poll() is None, self.logs()
                assert time.monotonic() < until, self.logs()
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.communicate()  # closes its input, at which it ends all

    def __call__(self, *words: object, check: bool = True) -> str:
        """Run one of Slurm's commands and return what it printed."""
        command = [str(word) for word in words]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def logs(self) -> str:
        """Return the ends of the daemons' logs."""
        return "\n".join(f"{file.name}:\n{file.read_text()[-3000:]}" for file in sorted(self.folder.glob("*.log")))

    def _configure(self) -> None:
        folder, host = self.folder, socket.gethostname().partition(".")[0]
        folder.chmod(0o755)  # munged's clients must reach its socket
        for name in ("state", "bin", "munge"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "munge").chmod(0o700)
        key = folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        port, *ports = _free_ports(1 + len(self.nodes))
        nodes = [NODE.format(name=name, host=host, port=at) for name, at in zip(self.nodes, ports, strict=True)]
        told = {"host": host, "port": port, "user": getpass.getuser(), "folder": folder, "nodes": "\n".join(nodes)}
        (folder / "slurm.conf").write_text(CONFIG.format_map(told))
        (folder / "gres.conf").write_text(
            "".join(GPUS.format(name=name, device=each) + "\n" for name in self.nodes for each in ("null", "zero"))
        )
        (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        sacct = folder / "bin" / "sacct"
        sacct.write_text(SACCT.format(python=sys.executable))
        sacct.chmod(0o755)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def keep(folder: Path, nodes: list[str]) -> None:
    """Run the daemons until the standard input is closed, or one of them ends."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what a daemon starts and leaves becomes a child of this process

    def end_with_keeper() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

    def start(*words: object) -> subprocess.Popen[bytes]:
        with (folder / "daemons.log").open("ab") as log:
            return subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_keeper,
            )

    munge = folder / "munge"
    files = {"key-file": munge / "key", "pid-file": munge / "pid", "seed-file": munge / "seed"}
    files |= {"socket": folder / "munge.socket", "log-file": folder / "munged.log"}
    munged = start("munged", "--foreground", "--force", *(f"--{name}={file}" for name, file in files.items()))
    try:
        while not (folder / "munge.socket").exists() and munged.poll() is None:
            time.sleep(0.02)
        daemons = [munged, start("slurmctld", "-D"), *(start("slurmd", "-D", "-N", node) for node in nodes)]
        while all(daemon.poll() is None for daemon in daemons):
            if select.select([0], [], [], 0.5)[0] and not os.read(0, 64):
                break
    finally:
        end_all()


def end_all() -> None:
    """Kill all that descends from this process, and wait for it."""
    while processes := descendants(os.getpid()):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def descendants(of: int) -> list[int]:
    """Return the processes that descend from one, those that have ended and were not waited for included."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    found, new = set[int](), {of}
    while new := {process for process, parent in parents.items() if parent in new} - found:
        found |= new
    return sorted(found)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2:])
