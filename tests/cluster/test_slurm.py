"""Stages as jobs of a real Slurm on this machine: a grid to its record, pre-emption, time limits, failures, ends.

Nothing is timed. An objective waits at chosen steps until its process is asked to stop, so that each job is met in the
middle of its training, wherever a machine is slow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from torch import Tensor

from bench.train.checkpoint import read

if TYPE_CHECKING:
    from local_slurm import LocalSlurm
    from places import Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JOB = ("--executor", "slurm", "--partition", "main", "--time", "10", "--mem", "1500M")


@pytest.fixture
def taken(slurm: LocalSlurm, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Take all nodes for a job of the partition with the higher priority; it ends when the file that is returned is."""
    over = tmp_path / "over"

    def take() -> Path:
        wait = f"while [ ! -e {over} ]; do sleep 0.1; done"
        slurm("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", f"--wrap={wait}")
        return over

    yield take
    over.touch()


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((folder / "results" / "records").glob("*.json"))]


def test_a_grid_that_is_stopped_in_every_way_ends_as_if_it_had_not_been(
    place: Place, other: Place, slurm: LocalSlurm, taken: Callable[[], Path]
) -> None:
    grid = ("--pretrain", "mine.py", "--downstream", "imagenet_knn")
    at_two, at_four, at_six = place.stop_at(2), place.stop_at(4), place.stop_at(6)
    said = place.run(*grid, *JOB).stdout
    titles = ["pretrain mine-s0", "convert mine-s0", "knn mine--imagenet_knn-s0"]
    pretrain, convert, knn = (place.job(title) for title in titles)
    assert [f"{title}: slurm {job['id']}" in said for title, job in zip(titles, (pretrain, convert, knn), strict=True)]
    assert (convert["after"], knn["after"]) == ([pretrain["id"]], [convert["id"]])
    assert other.run(*grid).returncode == 0  # meanwhile

    # Where it runs, nothing is submitted a second time, and status knows of it.
    place.until(at_two.exists, "at step 2")
    again = place.run(*grid, *JOB).stdout
    assert again.count(", submitted before") == 3
    assert sorted(slurm("squeue", "-h", "-o", "%i").split()) == sorted(job["id"] for job in (pretrain, convert, knn))
    shown = place.status()
    assert shown[titles[0]][0] == "running"
    assert shown[titles[2]] == ("waiting", f"for {titles[1]}")

    # Pre-empted: it writes its checkpoint, waits for the nodes, and goes on.
    over = taken()
    place.until(lambda: place.state(pretrain["id"]) == "waiting", "waiting for the nodes that were taken")
    assert place.status()[titles[0]][0] == "waiting"
    over.touch()
    place.until(at_four.exists, "at step 4")
    assert "mine-s0: going on after step 3 of 8" in place.logs()
    assert place.logs().count("pre-empted: the stage was stopped, and the job is requeued") == 1

    # The signal before the time limit.
    slurm("scancel", "--signal=USR2", pretrain["id"])
    place.until(at_six.exists, "at step 6")
    assert "mine-s0: going on after step 5 of 8" in place.logs()
    assert place.logs().count("the stage was stopped; it goes on from its last checkpoint") == 1

    # A node is lost: Slurm starts the job on the other one. Drained, the lost one does not come back by itself.
    (node,) = slurm("squeue", "-h", "-o", "%N", f"--jobs={pretrain['id']}").split()
    for state in ("drain", "down"):
        slurm("scontrol", "update", f"nodename={node}", f"state={state}", "reason=lost")
    try:
        place.until(lambda: len(records(place.folder)) == 1, "recorded")
    finally:
        slurm("scontrol", "update", f"nodename={node}", "state=resume")
    assert "Restarts=3 " in slurm("scontrol", "--oneliner", "show", "job", pretrain["id"])
    place.until(lambda: place.state(knn["id"]) == "ended", "ended")
    assert {state for state, _ in place.status().values()} == {"done"}

    (ours,), (undisturbed,) = records(place.folder), records(other.folder)
    assert ours["trunk"] == undisturbed["trunk"]
    assert ours["metrics"] == undisturbed["metrics"]
    assert place.run(*grid, *JOB).stdout.count("recorded already") == 1


def test_a_cancelled_stage_keeps_its_checkpoint_and_can_be_submitted_again(place: Place, slurm: LocalSlurm) -> None:
    title = "pretrain mine-s0"
    reached = place.stop_at(2)
    place.run("--pretrain", "mine.py", *JOB)
    first = place.job(title)["id"]
    place.until(reached.exists, "at step 2")
    place.bench("cancel", title)
    place.until(lambda: place.state(first) == "cancelled", "cancelled")
    place.until(lambda: place.status()[title][0] == "stopped", "stopped")
    (folder,) = place.folder.glob("runs/pretrain/mine-*")
    assert (folder / "last.ckpt").is_file()
    assert "Stopped after step 3 of 8" in place.bench("logs", title).stdout
    place.run("--pretrain", "mine.py", *JOB, "--slurm-extra", "hold")
    second = place.job(title)["id"]
    assert second != first
    assert place.status()[title] == ("waiting", "held; scontrol release lets it run")
    place.bench("cancel", "--all")
    place.until(lambda: place.state(second) == "cancelled", "cancelled")


def test_what_needs_a_stage_that_failed_is_not_run(place: Place, slurm: LocalSlurm) -> None:
    grid = ("--pretrain", "mine.py", "--downstream", "imagenet_knn", "--seeds", "0", "1")
    place.run(*grid, *JOB, "--slurm-extra", "hold", "--array-parallelism", "1")
    (first, second) = (place.job(f"pretrain mine-s{seed}")["id"] for seed in (0, 1))
    array = first.partition("_")[0]
    assert (first, second) == (f"{array}_0", f"{array}_1")
    assert "ArrayTaskThrottle=1 " in slurm("scontrol", "--oneliner", "show", "job", array)
    held = slurm("squeue", "-rh", "-o", "%i").split()
    assert place.run(*grid, *JOB).stdout.count(", submitted before") == 6
    assert slurm("squeue", "-rh", "-o", "%i").split() == held

    source = place.folder / "pausing.py"
    source.write_text(source.read_text() + "\n# edited after it was planned\n")
    slurm("scontrol", "release", array, *(job for job in held if not job.startswith(f"{array}_")))
    place.until(lambda: not slurm("squeue", "-h", "-o", "%i").split(), "over")
    shown = place.status()
    for seed in (0, 1):
        state, reason = shown[f"pretrain mine-s{seed}"]
        assert state == "failed"
        assert "pausing.py" in reason
        for title in (f"convert mine-s{seed}", f"knn mine--imagenet_knn-s{seed}"):
            assert shown[title] == ("not run", f"pretrain mine-s{seed} failed")
    assert place.bench("status", code=1).stdout.count("not run") == 5  # and in the last line
    found = place.states(first, *(place.job(f"convert mine-s{seed}")["id"] for seed in (0, 1)))
    assert sorted(state.word for state in found.values()) == ["cancelled", "cancelled", "failed"]


def test_two_nodes_train_as_two_processes_of_one(place: Place, other: Place, slurm: LocalSlurm) -> None:
    reached = place.stop_at(4)
    place.run("--pretrain", "mine.py", *JOB, "--nodes", "2", "--gpus-per-node", "1")
    job = place.job("pretrain mine-s0")["id"]
    other.run("--pretrain", "mine.py", "--gpus", "2")  # meanwhile
    place.until(reached.exists, "at step 4")
    assert slurm("squeue", "-h", "-o", "%N", f"--jobs={job}").split() == ["node[0-1]"]
    slurm("scancel", "--signal=USR2", job)
    place.until(lambda: place.state(job) == "ended", "ended")
    assert "going on after step 5 of 8" in place.logs()
    ours, undisturbed = trained(place.folder), trained(other.folder)
    assert ours.keys() == undisturbed.keys()
    assert all(tensor.equal(undisturbed[name]) for name, tensor in ours.items())


def trained(folder: Path) -> dict[str, Tensor]:
    """The weights that the one pretraining of a place ended with."""
    (stage,) = folder.glob("runs/pretrain/mine-*")
    content = read(stage / "last.ckpt")
    assert content["step"] == 8
    tensors: dict[str, Tensor] = content["objective"]
    return tensors


def test_what_slurm_refuses_is_said_before_anything_is_written(place: Place) -> None:
    refused = place.run("--pretrain", "mine.py", *JOB, "--partition", "mane", code=2)
    assert "invalid partition specified: mane" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (place.folder / "runs").exists()
