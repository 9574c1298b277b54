"""How messages word an error."""

from __future__ import annotations

import pytest

from bench.errors import one_line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("a matrix\n  is not square."), "a matrix is not square"),
        (KeyError(), "KeyError"),
        (RuntimeError("x" * 1000), "x" * 300),
    ],
)
def test_an_error_is_one_line_and_never_empty(error: Exception, words: str) -> None:
    assert one_line(error) == words
