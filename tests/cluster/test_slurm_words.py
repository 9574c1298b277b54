"""What Slurm is asked for and what it answers, without a Slurm: options, arrays, states, the command of a job."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.config.load import load_recipe, load_task
from bench.errors import BadInput
from bench.execute.grid import Grid
from bench.execute.jobs import slurm_job, slurm_states
from bench.execute.jobs.executor import State
from bench.execute.jobs.slurm import SlurmExecutor
from bench.execute.jobs.slurm_job import StageJob
from bench.execute.jobs.slurm_options import Resources, SlurmOptions, extra_of, minutes_of
from bench.plan import Planner, Stage

# sbatch(1), --time: minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes and
# days-hours:minutes:seconds; submitit takes whole minutes.
LIMITS = {
    "90": 90,
    "1:30": 2,
    "2:00": 2,
    "1:00:00": 60,
    "0:00:01": 1,
    "1-0": 1440,
    "1-12": 36 * 60,
    "2-03:30": 2 * 1440 + 210,
    "7-00:00:30": 7 * 1440 + 1,
}


@pytest.mark.parametrize("text", LIMITS)
def test_time_limits_are_read_as_sbatch_reads_them(text: str) -> None:
    assert minutes_of(text) == LIMITS[text]


@pytest.mark.parametrize("text", ["soon", "1:2:3:4", "-5", "1-", "1.5", "1-2-3", "5m", "٣", "UNLIMITED", " 5"])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"is no time limit; give minutes, or D-HH:MM:SS\.$"):
        minutes_of(text)


def test_a_job_must_have_a_limit() -> None:
    with pytest.raises(BadInput, match="needs --time"):
        minutes_of("")
    with pytest.raises(BadInput, match="takes for no limit"):
        minutes_of("0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partition": "a b"}, "--partition 'a b' is no name"),
        ({"account": "--wrap=x"}, "--account '--wrap=x' is no name"),
        ({"qos": "a\n#SBATCH --x"}, "--qos"),
        ({"mem": "lots"}, "--mem 'lots' is no amount of memory"),
        ({"mem": "1.5G"}, "--mem '1.5G'"),
        ({"nodes": 0}, "--nodes 0 is too few"),
        ({"gpus_per_node": -1}, "--gpus-per-node -1 is too few"),
        ({"array_parallelism": 0}, "--array-parallelism 0"),
        (
            {"extra": {"dependency": "afterok:1"}},
            "--slurm-extra dependency cannot be set, since it comes from the plan",
        ),
        ({"extra": {"signal": "TERM"}}, "--slurm-extra signal cannot be set, since it comes from --time"),
        ({"extra": {"Nice!": "1"}}, "--slurm-extra Nice!=1 is no option of sbatch"),
        ({"extra": {"comment": "a\nrm"}}, "is no option of sbatch"),
    ],
)
def test_a_bad_value_is_refused_in_a_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as refused:
        SlurmOptions(**options)
    assert words in str(refused.value)
    assert str(refused.value).endswith(".")


def test_options_become_the_lines_of_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written by submitit itself, and read back as sbatch would."""
    from submitit import SlurmExecutor as Submitit

    monkeypatch.setattr(Submitit, "affinity", classmethod(lambda _: 2))
    options = SlurmOptions(
        time="1-00:00:00",
        partition="gpu",
        account="lab",
        qos="long",
        constraint="a100|h100",
        mem="64G",
        nodes=2,
        gpus_per_node=8,
        cpus_per_task=16,
        array_parallelism=3,
        extra=extra_of(["exclude=node7", "exclusive", "--nice=100"]),
    )
    executor = Submitit(tmp_path)
    executor.update_parameters(**options.parameters(Resources(2, 8, 8), "bench-pretrain", ("7", "9_1")))
    text = executor._make_submission_file_text("run", "0")
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH --")]
    told = {key: "".join(shlex.split(value)) for key, _, value in (line.partition("=") for line in lines)}
    folder = tmp_path.absolute()
    assert told == {
        "job-name": "bench-pretrain",
        "time": "1440",
        "partition": "gpu",
        "account": "lab",
        "qos": "long",
        "constraint": "a100|h100",
        "mem": "64G",
        "nodes": "2",
        "ntasks-per-node": "1",
        "gpus-per-node": "8",
        "cpus-per-task": "16",
        "signal": "USR2@180",
        "dependency": "afterok:7:9_1",
        "kill-on-invalid-dep": "yes",
        "requeue": "",
        "exclude": "node7",
        "exclusive": "",
        "nice": "100",
        "open-mode": "append",
        "output": f"{folder}/%j_0_log.out",
        "wckey": "submitit",
    }


def test_a_short_limit_keeps_three_quarters_of_its_time() -> None:
    assert [SlurmOptions(time=time).warning_seconds for time in ("1", "4", "12", "600")] == [15, 60, 180, 180]


@pytest.mark.parametrize(
    ("gpus", "several", "asked"),
    [
        (0, True, Resources(1, 0, 1)),  # it computes nothing on them
        (1, False, Resources(1, 1, 1)),  # one process alone
        (4, True, Resources(2, 4, 4)),
    ],
)
def test_a_stage_gets_what_its_kind_can_use(gpus: int, several: bool, asked: Resources) -> None:
    assert SlurmOptions(nodes=2, gpus_per_node=4).resources(gpus, several=several) == asked


def test_without_gpus_a_stage_is_one_process() -> None:
    assert SlurmOptions().resources(1, several=True) == Resources(1, 0, 1)


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


# The words of squeue(1), JOB STATE CODES, and of sacct(1), and what they mean for a stage.
STATES = {
    ("PENDING", "Dependency", ""): State("waiting", "for the jobs before it"),
    ("PENDING", "Resources", ""): State("waiting", "for free nodes"),
    ("PENDING", "AssocGrpGRES", ""): State("waiting", "Slurm says AssocGrpGRES"),
    ("PENDING", "None", ""): State("waiting"),
    ("RUNNING", "None", ""): State("running"),
    ("COMPLETING", "None", ""): State("running"),
    ("COMPLETED", "None", "0:0"): State("ended"),
    ("CANCELLED by 1000", "None", "0:15"): State("cancelled"),
    ("CANCELLED", "Dependency", "0:0"): State("cancelled", "a job before it failed"),
    ("CANCELLED+", "", ""): State("cancelled"),
    ("FAILED", "NonZeroExitCode", "2:0"): State("failed", "exit code 2"),
    ("FAILED", "RaisedSignal:9", "0:9"): State("failed", "ended by signal 9"),
    ("OUT_OF_MEMORY", "", "0:125"): State("failed", "it took more memory than --mem allowed"),
    ("TIMEOUT", "", "0:0"): State("failed", "its time was over before it could be requeued"),
    ("NODE_FAIL", "", "0:0"): State("failed", "its node failed, and it was not requeued"),
    ("SOMETHING_NEW", "", ""): State("unknown", "Slurm says SOMETHING_NEW"),
    ("", "", ""): State("unknown"),
}


@pytest.mark.parametrize("said", STATES)
def test_states_are_read(said: tuple[str, str, str]) -> None:
    assert slurm_states.state_of(*said) == STATES[said]


def test_jobs_are_looked_for_in_the_queue_then_in_the_accounts_then_in_what_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = {
        "squeue": "1|RUNNING|None\n7_0|PENDING|JobArrayTaskLimit\n7_1|RUNNING|None\n",
        "sacct": "2|COMPLETED|0:0|None\n2.batch|COMPLETED|0:0|\n3|PREEMPTED|0:0|None\n3|FAILED|1:0|None\n",
        "scontrol": "JobId=4 ArrayJobId=4 ArrayTaskId=0-1,3%2 JobName=a b JobState=CANCELLED Reason=Dependency "
        "ExitCode=0:0 Restarts=0\n",
    }
    asked = list[Sequence[str]]()

    def answer(command: Sequence[str]) -> str | None:
        asked.append(command)
        return answers.get(command[0])

    monkeypatch.setattr(slurm_states, "asked", answer)
    wanted = ["1", "7_0", "7_1", "2", "3", "4_0", "4_3", "9", "", "x", "--all"]
    assert slurm_states.states(wanted) == {
        "1": State("running"),
        "7_0": State("waiting", "for its place among --array-parallelism"),
        "7_1": State("running"),
        "2": State("ended"),
        "3": State("failed", "exit code 1"),
        "4_0": State("cancelled", "a job before it failed"),
        "4_3": State("cancelled", "a job before it failed"),
        "9": State("ended", "Slurm knows of it no more"),
    }
    assert [command[0] for command in asked] == ["squeue", "sacct", "scontrol", "scontrol"]
    assert asked[0][-1] == "--jobs=1,2,3,4,7,9"
    assert asked[1][-1] == "--jobs=2,3,4,9"  # each is asked only for what the one before did not know


def commands(folder: Path, **scripts: str) -> None:
    """Put shell scripts into a folder in the place of Slurm's commands."""
    for name in ("sbatch", "squeue", "scontrol", "scancel", "srun"):
        (folder / name).write_text(f"#!/bin/sh\n{scripts.get(name, 'exit 0')}\n")
        (folder / name).chmod(0o700 | stat.S_IXUSR)


@pytest.mark.parametrize("answer", ["", "exit 1", 'echo "slurm_load_jobs error: Unable to contact" >&2; exit 1'])
def test_nothing_is_submitted_where_slurm_does_not_say_what_runs(
    answer: str, planned: tuple[Grid, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, folders = planned
    Recorded(SlurmOptions(), {}).submit(grid, folders, grid.stages)
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    if answer:
        commands(place, squeue=answer)
    assert slurm_states.states(["1", "2_3"]) == dict.fromkeys(("1", "2_3"), State("unknown", "Slurm does not answer"))
    with pytest.raises(BadInput, match="Slurm does not answer, so that it is not known which stages run already; try"):
        SlurmExecutor(SlurmOptions(time="5")).submit(grid, folders, grid.stages)


def test_a_job_that_slurm_has_forgotten_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1'
    commands(tmp_path, squeue=unknown, scontrol=unknown)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm_states.states(["7"]) == {"7": State("ended", "Slurm knows of it no more")}


def test_without_slurm_the_remedy_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = ["run", "--smoke", "--pretrain", "coco", "--executor", "slurm", "--time", "60"]
    assert cli.run(words) == 2
    assert "needs Slurm's sbatch, which is not on this machine; give the command on a login" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    commands(
        tmp_path, sbatch='echo "sbatch: error: Invalid account or account/partition combination specified" >&2; exit 1'
    )
    assert cli.run([*words, "--account", "lab"]) == 2
    assert "Slurm does not take such jobs (Invalid account or account/partition comb" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--partition", "gpu"], "--partition is an option of --executor slurm; give that, or leave it out"),
        (["--executor", "slurm"], "--executor slurm needs --time"),
        (["--executor", "slurm", "--time", "5", "--gpus", "2"], "give --gpus-per-node for a cluster"),
        (["--executor", "slurm", "--time", "5", "--mem", "x"], "--mem 'x' is no amount of memory"),
        (["--executor", "slurm", "--time", "5", "--slurm-extra", "array=1"], "--slurm-extra array cannot be set"),
        (["--executor", "slrum"], "There is no executor 'slrum'; did you mean slurm"),
    ],
)
def test_options_that_do_not_fit_are_refused_at_once(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["run", "--smoke", "--pretrain", "coco", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nodes_meet_at_the_first_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SUBMITIT_EXECUTOR": "slurm",
        "SLURM_JOB_ID": "20000",
        "SLURM_JOB_NODELIST": "gpu[07-08]",
        "SLURM_PROCID": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_LAUNCH_NODE_IPADDR", raising=False)
    command = StageJob(Path("/runs/pretrain/a"), processes=8, nodes=2).command()
    assert " ".join(command[1:]) == "-m bench stage /runs/pretrain/a --gpus 8 --nodes 2 --rendezvous gpu07:20000"
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
