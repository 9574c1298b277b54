"""The page's list of what never ran on a GPU names code and tests that exist, and leaves out no file."""

from __future__ import annotations

import importlib
import re
from operator import attrgetter
from pathlib import Path

import pytest
from untried import UNTRIED, untried

ROOT = Path(__file__).resolve().parents[2]
# What makes a file one that is written for CUDA; a cell of a table or a word in a sentence does not.
WRITTEN_FOR = re.compile(r"torch\.cuda\.|== \"cuda\"|!= \"cuda\"|is_cuda|pin_memory|cudnn\.")


@pytest.mark.parametrize("one", UNTRIED, ids=lambda one: f"{one.module}:{one.name}")
def test_what_is_named_exists(one):
    module = importlib.import_module(f"bench.{one.module.replace('/', '.')}")
    assert callable(attrgetter(one.name)(module))
    if one.test:
        file, _, name = one.test.partition("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


def test_no_file_that_is_written_for_cuda_is_left_out():
    files = {
        str(file.relative_to(ROOT / "bench").with_suffix(""))
        for file in (ROOT / "bench").rglob("*.py")
        if WRITTEN_FOR.search(file.read_text(encoding="utf-8"))
    }
    listed = {one.module for one in UNTRIED}
    assert files - listed == set()


def test_the_list_is_a_table():
    lines = [line for line in untried().splitlines() if line.startswith("|")]
    assert len(lines) == len(UNTRIED) + 2
    assert {line.count("|") for line in lines} == {4}
