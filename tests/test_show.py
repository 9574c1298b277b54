"""What the command line says of objectives, of itself, and of a folder without records."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __version__
from bench.cli import run
from bench.config.objective_source import objectives
from bench.execute.inventory import described


def test_show_knows_objectives(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "byol"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "BYOL: predict the other view's projection by a slowly moving copy of the network."
    assert [line.split() for line in lines if line.startswith("  tau0")] == [
        ["tau0", "0.99", "float,", "within", "0", "and", "1"]
    ]
    users = lines[-1].removeprefix("Configs: ").split(", ")
    assert {"coco", "imagenet_0"} <= set(users)
    assert "coco_two_loss" not in users
    assert run(["show", "two_loss"]) == 0
    assert "'logistic' | 'logistic_centred' | " in capsys.readouterr().out


def test_every_objective_can_be_shown_and_a_config_of_its_name_comes_first() -> None:
    for name in objectives():
        lines = described(name)
        assert (lines is None) == (name == "random_init")
    assert described("coco") is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["byo"], "No config or objective 'byo'; did you mean byol"),
        (["byol", "--set", "tau0=1"], "byol is an objective; --set and --profile are for configs"),
        (["byol", "--profile", "mini"], "byol is an objective"),
    ],
)
def test_what_cannot_be_shown_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", *words]) == 2
    assert said in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"bench {__version__}\n"


def test_a_table_without_records_is_a_sentence_and_no_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--resources"], ["--format", "csv"]):
        assert run(["table", "--results-dir", str(tmp_path), *words]) == 0
        said = capsys.readouterr().out
        assert said == f"There are no records in {tmp_path / 'records'} yet; bench run with --downstream makes them.\n"
    assert not list(tmp_path.iterdir())
    assert run(["table", "--check", "--results-dir", str(tmp_path)]) == 1  # the tables are missing, as before
