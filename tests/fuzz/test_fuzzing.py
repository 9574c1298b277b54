"""Some cases of the fuzzing, and whether it notices what it looks for."""

from __future__ import annotations

import ctypes
import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fuzzing
import pytest
from fuzzing import FAILURES, all_kinds, kind_of, prepared, run
from inputs import Input, Read

from bench.errors import BadInput

CASES = 1500
SHARES = sum(kind.share for kind in all_kinds())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Input]:
    return prepared(all_kinds(), tmp_path_factory.mktemp("fuzz") / "inputs")


@pytest.mark.slow
def test_no_case_gives_a_traceback_or_other_content(inputs: list[Input]) -> None:
    outcomes = list(run(inputs, 20, range(CASES)))
    assert [one.number for one in outcomes] == list(range(CASES))
    failed = [f"{one} (python fuzz/fuzzing.py --seed 20 --case {one.number})" for one in outcomes if
              one.outcome in FAILURES]  # fmt: skip
    assert not failed, "\n".join(failed)
    refused = Counter(one.kind for one in outcomes if one.outcome == "refused")
    assert {*refused} == {each.name for each in inputs} - {"log"}  # which refuses nothing, and drops lines
    assert {one.outcome for one in outcomes if one.kind == "log"} == {"same", "other"}


def test_a_case_is_a_function_of_its_number(inputs: list[Input]) -> None:
    for number in range(SHARES):
        each = kind_of(inputs, number)
        assert each.case(random.Random(f"7 {number}")) == each.case(random.Random(f"7 {number}"))
        others = [each.case(random.Random(f"{seed} {number}")) for seed in range(8, 16)]
        assert any(other != others[0] for other in others)


class Wrong(Input):
    """Reads as badly as it can, each case in another way."""

    name = "wrong"

    def prepare(self) -> None:
        pass

    def case(self, draw: random.Random) -> int:
        return draw.randrange(10**6)

    def read(self, case: int) -> Read:
        return WAYS[self.way]()

    way = ""


def _raise(error: BaseException) -> Any:
    raise error


def _forever() -> Any:
    while True:
        time.process_time()


WAYS: dict[str, Any] = {
    "traceback": lambda: _raise(KeyError("a")),
    "silent": lambda: "silent",
    "slow": _forever,
    "memory": lambda: bytearray(2 << 30),
    "killed": lambda: ctypes.string_at(0),
    "words": lambda: _raise(BadInput("two\nlines")),
    "refused": lambda: _raise(BadInput("It is damaged; write it again.")),
    "same": lambda: "same",
}


@pytest.mark.slow
def test_it_notices_what_it_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {*FAILURES} == {*WAYS} - {"refused", "same"}
    monkeypatch.setattr(fuzzing, "SECONDS", 0.3)
    (wrong,) = prepared([Wrong], tmp_path)
    names = [*WAYS]
    monkeypatch.setattr(wrong, "case", lambda draw: 0)
    for way in names:
        monkeypatch.setattr(wrong, "way", way, raising=False)
        outcomes = list(run([wrong], 0, range(2)))  # it goes on after one that ends its process
        assert [one.outcome for one in outcomes] == [way] * 2, outcomes


def test_counts_are_written_with_what_they_are_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzzing, "RESULTS", fuzzing.ROOT / "results" / f"fuzz-{os.getpid()}.json")
    try:
        assert fuzzing.main(["--count", str(2 * SHARES), "--only", "list", "log", "--write"]) == 0
        content = json.loads(fuzzing.RESULTS.read_text(encoding="utf-8"))
    finally:
        fuzzing.RESULTS.unlink(missing_ok=True)
    assert {kind: sum(row.values()) for kind, row in content["kinds"].items()} == {"list": 2, "log": 2}
    assert (content["cases"], content["failures"], content["seed"]) == (4, 0, 0)
    assert content["taken"]["versions"]["torch"]
    assert content["taken"]["hardware"]["cpu"]
    assert "4 cases, 0 failures" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        fuzzing.main(["--only", "nothing"])
