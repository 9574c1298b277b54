"""The options of Slurm: what they become in a script of sbatch, and what is refused at once."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import BadInput
from bench.execute.jobs.slurm_options import Resources, SlurmOptions, extra_of, minutes_of

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
    (step,) = [line for line in text.splitlines() if line.startswith("srun ")]
    assert "--cpus-per-task=16" in shlex.split(step)  # which a step has not from its job, since Slurm 22.05


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


def test_without_slurm_the_remedy_is_said(
    tmp_path: Path, commands: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "--smoke", "--pretrain", "coco", "--executor", "slurm", "--time", "60"]
    assert cli.run(words) == 2
    assert "needs Slurm's sbatch, which is not on this machine; give the command on a login" in capsys.readouterr().err
    refusal = "Invalid account or account/partition combination specified"
    commands(sbatch=f'echo "sbatch: error: {refusal}" >&2; exit 1')
    assert cli.run([*words, "--account", "lab"]) == 2
    assert f"Slurm does not take such jobs ({refusal}); correct the options for it." in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["bin"]


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
