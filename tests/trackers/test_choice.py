from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.execute.local import prepare
from bench.trackers import choice
from bench.trackers.choice import ADAPTERS, CHOICES, PROJECT, VARIABLE, check, choose, chosen, project_of

Bench = Callable[..., object]


def test_tensorboard_is_what_nobody_asked_for() -> None:
    assert chosen({}) == chosen({VARIABLE: " "}) == ("tensorboard",)
    assert chosen({VARIABLE: "none"}) == ()
    assert chosen({VARIABLE: "wandb,tensorboard, wandb"}) == ("wandb", "tensorboard")
    assert chosen({VARIABLE: "my.module:Class"}) == ("my.module:Class",)
    assert project_of({}) == project_of({PROJECT: ""}) == "bench"
    assert project_of({PROJECT: "mine"}) == "mine"


def test_the_environment_says_what_the_command_line_did() -> None:
    environ: dict[str, str] = {}
    choose([], None, environ)
    assert environ == {}
    choose(["tensorboard", "none"][:1], "mine", environ)
    assert environ == {VARIABLE: "tensorboard", PROJECT: "mine"}


def test_unknown_trackers_are_refused() -> None:
    with pytest.raises(BadInput, match=r"Unknown tracker 'wandbb' .*did you mean wandb"):
        choose(["wandbb"], None, {})
    with pytest.raises(BadInput, match="--tracker none is for no tracker at all; leave it out, or the others"):
        choose(["none", "wandb"], None, {})


@pytest.mark.parametrize("name", ADAPTERS)
def test_one_that_is_not_installed_is_refused_with_what_installs_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there: set[str] = set()
    monkeypatch.setattr(choice, "_is_there", there.__contains__)
    with pytest.raises(BadInput) as caught:
        check({VARIABLE: f"tensorboard {name}"})
    words = f"The tracker {name} is not installed; pip install {name}, or leave out --tracker {name}."
    assert str(caught.value) == words
    there.update(ADAPTERS[name].modules, ADAPTERS[name].local)
    check({VARIABLE: name})


def test_mlflow_without_a_server_needs_what_writes_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_is_there", {"mlflow", "sqlalchemy"}.__contains__)
    with pytest.raises(
        BadInput, match="mlflow is not installed with alembic, which a local store needs; pip install mlf"
    ):
        check({VARIABLE: "mlflow"})
    check({VARIABLE: "mlflow", "MLFLOW_TRACKING_URI": "http://localhost:5000"})


def test_a_tracker_of_somebody_else_must_be_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    check({VARIABLE: "broken:Keeps"})
    with pytest.raises(BadInput, match="put not_there where Python finds it, or leave out --tracker not_there:Keeps"):
        check({VARIABLE: "not_there:Keeps"})
    with pytest.raises(BadInput, match=r"put not_there\.at_all where Python finds it"):
        check({VARIABLE: "not_there.at_all:Keeps"})


@pytest.mark.parametrize("command", [["run", "--pretrain", "random_init", "--dry-run"], ["reproduce", "deck-small"]])
def test_commands_refuse_before_anything_starts(command: list[str], bench_here: Bench, tmp_path: Path) -> None:
    done = bench_here(*command, "--tracker", "tensorbord")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)  # type: ignore[attr-defined]
    assert "did you mean tensorboard" in done.stderr  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_what_the_environment_alone_asks_for_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, VARIABLE, "wandbb")
    with pytest.raises(BadInput, match="Unknown tracker 'wandbb'"):
        prepare(None, "fail")  # type: ignore[arg-type] # before it looks at the grid


def test_every_choice_is_in_the_help(bench_here: Bench) -> None:
    said = " ".join(bench_here("run", "--help").stdout.replace("│", " ").split())  # type: ignore[attr-defined]
    assert all(name in said for name in CHOICES)
