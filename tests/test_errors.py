"""How messages word an error."""

from __future__ import annotations

import pytest

from bench import cli
from bench.errors import one_line


@pytest.mark.parametrize(
    ("error", "words", "with_kind"),
    [
        (ValueError("a matrix\n  is not square."), "a matrix is not square", "ValueError: a matrix is not square"),
        (KeyError(), "KeyError", "KeyError"),
        (RuntimeError("x" * 1000), "x" * 300, "RuntimeError: " + "x" * 300),
    ],
)
def test_an_error_is_one_line_and_never_empty(error: Exception, words: str, with_kind: str) -> None:
    assert one_line(error) == words
    assert one_line(error, kind=True) == with_kind


def test_ctrl_c_in_a_command_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.execute.grid.plan_grid", interrupted)
    assert cli.run(["plan", "--pretrain", "random_init"]) == 130
    assert capsys.readouterr().err.strip().endswith("Go on with: bench plan --pretrain random_init")
