"""Which stages are submitted together, after which, and which not again; what a job does without a Slurm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.config.load import load_recipe, load_task
from bench.errors import BadInput
from bench.execute.grid import Grid
from bench.execute.jobs import slurm_job, slurm_states
from bench.execute.jobs.executor import State
from bench.execute.jobs.slurm import SlurmExecutor
from bench.execute.jobs.slurm_job import StageJob
from bench.execute.jobs.slurm_options import Resources, SlurmOptions
from bench.plan import Planner, Stage


class Recorded(SlurmExecutor):
    """Notes the batches instead of submitting them."""

    def __init__(self, options: SlurmOptions, known: dict[str, State]) -> None:
        super().__init__(options)
        self.known, self.batches = known, list[tuple[list[str], Resources, tuple[str, ...]]]()

    def states(self, submissions: Sequence[Any]) -> dict[str, State]:
        return {each.id: self.known[each.id] for each in submissions if each.id in self.known}

    def _submitted(self, batch: Any, folders: Any, work_dir: Path) -> list[str]:
        self.batches.append(([stage.title for stage in batch.stages], batch.resources, batch.after))
        number = 100 * len(self.batches)
        many = len(batch.stages) > 1
        return [f"{number}_{task}" if many else str(number) for task in range(len(batch.stages))]


@pytest.fixture
def planned(tmp_path: Path) -> tuple[Grid, dict[str, Path]]:
    """Two pretrainings, one of them random weights, with two tasks."""
    planner = Planner(lambda name: f"fingerprint of {name}")
    recipes = [load_recipe(name, "smoke") for name in ("random_init", "coco", "coco_two_loss")]
    tasks = [load_task(name, "smoke") for name in ("imagenet_linear", "diagnostics", "imagenet_knn")]
    stages = planner.grid(recipes, tasks, [0])
    grid = Grid(
        stages=stages,
        states=dict.fromkeys((stage.fingerprint for stage in stages), "to do"),
        roots={},
        problems={},
        work_dir=tmp_path,
        results_dir=tmp_path / "results",
    )
    folders = {stage.fingerprint: tmp_path / stage.folder for stage in stages}
    for folder in folders.values():
        folder.mkdir(parents=True)
    return grid, folders


def parents_of(stage: Stage) -> set[str]:
    return {parent.fingerprint for parent in stage.parents.values()}


def test_equal_stages_that_wait_for_the_same_jobs_are_an_array(planned: tuple[Grid, dict[str, Path]]) -> None:
    grid, folders = planned
    executor = Recorded(SlurmOptions(nodes=2, gpus_per_node=4), {})
    jobs = executor.submit(grid, folders, grid.stages)
    ids = {stage.fingerprint: job.id for stage, job in zip(grid.stages, jobs, strict=True)}
    assert len(set(ids.values())) == len(grid.stages) == 15
    for stage, job in zip(grid.stages, jobs, strict=True):
        assert set(job.after) == {ids[parent] for parent in parents_of(stage)}
    batches = {tuple(titles): (resources, after) for titles, resources, after in executor.batches}
    trained = ("pretrain coco-s0", "pretrain coco_two_loss-s0")
    assert batches[trained] == (Resources(2, 4, 4), ())
    assert batches[("pretrain random_init-s0",)] == (Resources(1, 0, 1), ())
    convert = next(job.id for stage, job in zip(grid.stages, jobs, strict=True) if stage.title == "convert coco-s0")
    tasks = tuple(f"{kind} coco--{name}-s0" for kind, name in (("linear", "imagenet_linear"), ("knn", "imagenet_knn")))
    assert batches[tasks] == (Resources(2, 4, 4), (convert,))  # each can be shared by processes
    training = ids[next(stage.fingerprint for stage in grid.stages if stage.title == trained[0])]
    assert batches["diagnostics coco--diagnostics-s0",] == (Resources(1, 1, 1), (convert, training))  # one process


def test_a_work_folder_that_slurm_would_read_otherwise_is_refused(planned: tuple[Grid, dict[str, Path]]) -> None:
    grid, folders = planned
    with pytest.raises(BadInput, match=r"in the place of % in .*; give another --work-dir"):
        Recorded(SlurmOptions(), {}).submit(replace(grid, work_dir=Path("50%/runs")), folders, grid.stages)


def test_what_waits_or_runs_is_not_submitted_again_and_what_has_ended_is(
    planned: tuple[Grid, dict[str, Path]],
) -> None:
    grid, folders = planned
    first = Recorded(SlurmOptions(), {})
    jobs = {
        stage.title: job.id for stage, job in zip(grid.stages, first.submit(grid, folders, grid.stages), strict=True)
    }
    known = dict.fromkeys(jobs.values(), State("waiting"))
    known[jobs["pretrain coco-s0"]] = State("running")
    lost = [title for title in jobs if "two_loss" in title]
    for title, word in zip(lost, ("failed", "cancelled", "cancelled", "unknown", "ended"), strict=True):
        known[jobs[title]] = State(word)  # type: ignore[arg-type]
    second = Recorded(SlurmOptions(), known)
    again = {
        stage.title: job.id for stage, job in zip(grid.stages, second.submit(grid, folders, grid.stages), strict=True)
    }
    assert sorted(title for titles, *_ in second.batches for title in titles) == sorted(lost)
    assert {title: job for title, job in again.items() if title not in lost} == {
        title: job for title, job in jobs.items() if title not in lost
    }
    third = Recorded(SlurmOptions(), dict.fromkeys(again.values(), State("waiting")))
    third.submit(grid, folders, grid.stages)
    assert third.batches == []


def test_what_still_waits_for_a_job_that_failed_is_submitted_again(planned: tuple[Grid, dict[str, Path]]) -> None:
    """Slurm takes some time to cancel it, and would do so after it had been passed over."""
    grid, folders = planned
    first = Recorded(SlurmOptions(), {}).submit(grid, folders, grid.stages)
    jobs = {stage.title: job.id for stage, job in zip(grid.stages, first, strict=True)}
    known = dict.fromkeys(jobs.values(), State("waiting"))
    known[jobs["pretrain coco-s0"]] = State("failed")
    again = Recorded(SlurmOptions(), known)
    submitted = again.submit(grid, folders, grid.stages)
    below = {title for title in jobs if title.split()[1].startswith(("coco-s0", "coco--"))}
    assert {title for titles, *_ in again.batches for title in titles} == below
    ids = {stage.fingerprint: job.id for stage, job in zip(grid.stages, submitted, strict=True)}
    assert all(
        set(job.after) == {ids[parent] for parent in parents_of(stage)}
        for stage, job in zip(grid.stages, submitted, strict=True)
    )


@pytest.mark.parametrize("answer", ["", "exit 1", 'echo "slurm_load_jobs error: Unable to contact" >&2; exit 1'])
def test_nothing_is_submitted_where_slurm_does_not_say_what_runs(
    answer: str, planned: tuple[Grid, dict[str, Path]], commands: Callable[..., None]
) -> None:
    grid, folders = planned
    Recorded(SlurmOptions(), {}).submit(grid, folders, grid.stages)
    if answer:
        commands(squeue=answer)
    assert slurm_states.states(["1", "2_3"]) == dict.fromkeys(("1", "2_3"), State("unknown", "Slurm does not answer"))
    with pytest.raises(BadInput, match="Slurm does not answer, so that it is not known which stages run already; try"):
        SlurmExecutor(SlurmOptions(time="5")).submit(grid, folders, grid.stages)


def test_nodes_meet_at_the_first_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SUBMITIT_EXECUTOR": "slurm",
        "SLURM_JOB_ID": "20000",
        "SLURM_JOB_NODELIST": "gpu[07-08]",
        "SLURM_PROCID": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_LAUNCH_NODE_IPADDR", raising=False)
    monkeypatch.chdir(tmp_path)
    command = StageJob(Path("/runs/pretrain/a"), processes=8, nodes=2).command()
    assert " ".join(command[1:]) == "-P -m bench stage /runs/pretrain/a --gpus 8 --nodes 2 --rendezvous gpu07:20000"
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.7")
    assert StageJob(Path("a"), 8, 2).command()[-1] == "10.0.0.7:20000"
    assert "--nodes" not in StageJob(Path("a"), 8).command()


@pytest.mark.parametrize(
    ("said", "is_so"),
    [
        ("JobId=5 JobState=RUNNING Reason=None PreemptTime=2026-01-01T10:00:00 Command=x", True),
        ("JobId=5 JobState=RUNNING Reason=None PreemptTime=None", False),
        ("JobId=5 JobState=CANCELLED Reason=None PreemptTime=2026-01-01T10:00:00", False),
        (None, None),
    ],
)
def test_only_a_job_that_is_pre_empted_is_requeued(
    said: str | None, is_so: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_job, "asked", lambda _: said)
    assert slurm_job.preempted("5") is is_so
