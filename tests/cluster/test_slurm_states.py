"""What Slurm answers about jobs, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from bench.execute.jobs import slurm_states
from bench.execute.jobs.executor import State

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


def test_a_job_that_slurm_has_forgotten_has_ended(commands: Callable[..., None]) -> None:
    unknown = 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1'
    commands(squeue=unknown, scontrol=unknown)
    assert slurm_states.states(["7"]) == {"7": State("ended", "Slurm knows of it no more")}
