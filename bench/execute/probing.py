"""Times stages one after another, each in a process of its own: `python -m bench.execute.probing STARTED UNTIL FOLDER…`

STARTED and UNTIL are seconds of the machine's monotonic clock, which nobody sets. A stage's process is forked from this
one, which has imported what they share, so that their time is not spent on imports; it leaves `costs.json`, or
`problem.txt`, in the stage's folder. The last line that this process prints says since when it does nothing but end,
which takes a process with torch some time, too.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.errors import BadInput, StageFailed
from bench.execute.parent import end_with_parent
from bench.execute.stage_file import StageFile, read_stage
from bench.files import write_text
from bench.import_path import working_directory_last
from bench.peak_memory import peak_memory_mib

COSTS, PROBLEM = "costs.json", "problem.txt"
ENDING = "ending at"
WEIGHTS = {"convert": 1.5, "pretrain": 2.0, "segmentation": 2.0}  # shares of the time that is left; 1 for others
LEAST = 12.0  # s, that a stage has if there are so many
MARGIN = 0.5  # s, that a process has for ending
POLL = 0.02  # s


def main(arguments: Sequence[str]) -> int:
    """Time the stages in these folders."""
    working_directory_last()
    end_with_parent(signal.SIGKILL)  # what it times for has gone
    started, until, folders = float(arguments[0]), float(arguments[1]), [Path(word) for word in arguments[2:]]
    # What every stage imports, and no more: a process's memory would count it.
    import torch  # noqa: F401

    import bench.stages.timing  # noqa: F401

    imported = time.monotonic() - started
    stages = [(folder, read_stage(folder)) for folder in folders]
    for number, (folder, stage) in enumerate(stages):
        weights = [WEIGHTS.get(each.kind, 1.0) for _, each in stages[number:]]
        left = until - time.monotonic()
        # Too little for each would time nothing: later ones wait for the next call.
        seconds = min(left, max(LEAST, left * weights[0] / sum(weights)))
        if seconds > 2 * MARGIN:
            _apart(folder, stage, imported, seconds)
    print(f"{ENDING} {time.monotonic():.3f}", flush=True)
    return 0


def _apart(folder: Path, stage: StageFile, imported: float, seconds: float) -> None:
    """Time one stage in a child, which is ended after so many seconds."""
    end, libraries = time.monotonic() + seconds, _file_mib()
    child = os.fork()
    if child == 0:
        end_with_parent(signal.SIGKILL)
        code = 1
        try:
            _time(folder, stage, imported, seconds - MARGIN, libraries)
            code = 0
        except BaseException as error:
            words = " ".join(str(error).split())[:200]
            known = isinstance(error, BadInput | StageFailed)
            write_text(folder / PROBLEM, words if known else f"{type(error).__name__}: {words}")
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    try:
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                write_text(
                    folder / PROBLEM,
                    f"its parts took more than {seconds:.0f} s, and the next call has more time for them",
                )
                return
            time.sleep(POLL)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise


def _file_mib() -> float:
    """The memory of this process that files back, which is libraries', in MiB; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile:")) / 1024
    except (OSError, StopIteration, ValueError):
        return 0.0


def _memory(libraries: float) -> dict[str, float]:
    """The most memory that this process has held, with the libraries that it would have loaded itself.

    A forked process has of its parent's libraries only what it has used since.
    """
    peak = peak_memory_mib()
    return {**peak, "process": peak["process"] + max(0.0, libraries - _file_mib())}


def _time(folder: Path, stage: StageFile, imported: float, seconds: float, libraries: float) -> None:
    from bench.execute.stage import job_of, settled
    from bench.stages import timing
    from bench.stages.stopwatch import Stopwatch
    from bench.train.precision import this_device

    work_dir = folder.parent.parent
    watch = Stopwatch(seconds, this_device(), partial(_memory, libraries))
    inputs = {role: work_dir / name for role, name in stage.inputs.items()}
    if stage.kind == "convert":
        timing.prepare(stage.recipe, inputs["pretrain"])
    elif "convert" in inputs:
        inputs["convert"] = folder / "trunk"
        timing.prepare_trunk(stage.recipe, inputs["convert"])
    job = job_of(stage, settled(stage, folder), folder, inputs)
    found = timing.costs(stage.kind, job, watch)
    write_text(folder / COSTS, found.model_copy(update={"process": imported}).model_dump_json(indent=1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
