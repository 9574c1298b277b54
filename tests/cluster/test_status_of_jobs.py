"""What `bench status` says of stages that were jobs, where only the executor saw how they ended."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from bench.config.load import load_recipe, load_task
from bench.execute.jobs.executor import State
from bench.execute.jobs.status import any_failed, rows
from bench.execute.jobs.submission import Submission, write_submission
from bench.execute.stage_file import write_stage
from bench.plan import Planner

PRETRAIN, CONVERT, KNN = "pretrain coco-s0", "convert coco-s0", "knn coco--imagenet_knn-s0"
CANCELLED = State("cancelled", "a job before it failed")  # as Slurm says of what waited for a failed job
FORGOTTEN = State("ended", "Slurm knows of it no more")


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """A pretraining and its task, each a job: 1, 2 and 3."""
    planner = Planner(lambda name: f"fingerprint of {name}")
    stages = planner.grid([load_recipe("coco", "smoke")], [load_task("imagenet_knn", "smoke")], [0])
    for number, stage in enumerate(stages, 1):
        folder = write_stage(stage, tmp_path, {}, tmp_path / "results", "fail")
        write_submission(
            folder, Submission(executor="slurm", id=str(number), host="login", submitted="2020-01-01", log="log.txt")
        )
    return tmp_path


def shown(work_dir: Path, *states: State) -> dict[str, tuple[str, str]]:
    def ask(jobs: Iterable[Submission]) -> dict[Submission, State]:
        return {job: states[int(job.id) - 1] for job in jobs}

    return {row.title: (row.state, row.reason) for row in rows(work_dir, ask)}


@pytest.mark.parametrize("others", [CANCELLED, FORGOTTEN])
def test_what_waited_for_a_job_that_failed_is_not_run(work_dir: Path, others: State) -> None:
    failed = State("failed", "it took more memory than --mem allowed")
    assert shown(work_dir, failed, others, others) == {
        PRETRAIN: ("failed", "it took more memory than --mem allowed"),
        CONVERT: ("not run", f"{PRETRAIN} failed"),
        KNN: ("not run", f"{PRETRAIN} failed"),
    }
    assert any_failed(rows(work_dir, lambda jobs: dict.fromkeys(jobs, failed)))


def test_what_was_cancelled_is_no_failure(work_dir: Path) -> None:
    found = shown(work_dir, State("cancelled"), CANCELLED, CANCELLED)
    assert found[PRETRAIN] == ("stopped", "its job was cancelled")
    assert {state for state, _ in found.values()} == {"stopped"}


def test_jobs_wait_for_those_before_them(work_dir: Path) -> None:
    waiting = State("waiting", "for the jobs before it")
    assert shown(work_dir, State("waiting", "for free nodes"), waiting, waiting) == {
        PRETRAIN: ("waiting", "for free nodes"),
        CONVERT: ("waiting", f"for {PRETRAIN}"),
        KNN: ("waiting", f"for {CONVERT}"),
    }


def test_jobs_that_nobody_knows_of_are_given_again(work_dir: Path) -> None:
    found = shown(work_dir, FORGOTTEN, FORGOTTEN, FORGOTTEN)
    assert {state for state, _ in found.values()} == {"stopped"}
    assert found[PRETRAIN][1].endswith("give the command again")
