"""Contenders take turns, in an order that rotates, and what goes wrong in one is reported under its name."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import engine
import pytest
from engine import Contender, measure
from measurements import ROOT, without_machine

pytestmark = pytest.mark.usefixtures("no_peers")


def worker(file: Path, name: str, **more) -> Contender:
    return Contender(name, "trivial:work", {"file": str(file), "name": name, **more}, warmup=1)


def test_each_round_begins_with_another_contender(tmp_path):
    file = tmp_path / "taken"
    measured, left_out = measure([worker(file, "a"), worker(file, "b", units=7), worker(file, "c")], 3)
    assert file.read_text().split() == [*"abc", *"abc", *"bca", *"cab"]  # the first three are warm-ups
    assert list(measured) == ["a", "b", "c"]
    assert [sample.units for sample in measured["b"].samples] == [7, 7, 7]
    assert measured["a"].ready_seconds > 0
    assert not left_out


def test_a_contenders_memory_is_not_that_of_the_process_that_started_it(tmp_path):
    held = bytearray(300 * 2**20)
    assert 1 < measure([worker(tmp_path / "taken", "a")], 1)[0]["a"].peak_mib < 100
    del held


def test_contenders_that_do_not_fit_together_start_anew_each_time(tmp_path):
    file = tmp_path / "taken"
    measured, _ = measure([worker(file, "a"), worker(file, "b")], 2, resident=False)
    assert file.read_text().split() == [*"aabb", *"bbaa"]  # a warm-up before each sample
    assert [len(one.samples) for one in measured.values()] == [2, 2]


@pytest.mark.parametrize(
    ("target", "arguments", "reason"),
    [
        ("trivial:breaks", {"after": 0}, "ValueError: the disk is full"),
        ("trivial:dies", {}, "its process ended with code 9; its errors are above"),
    ],
)
def test_what_fails_is_left_out_and_the_others_go_on(target, arguments, reason, tmp_path, capfd):
    measured, left_out = measure([Contender("frail", target, arguments), worker(tmp_path / "taken", "a")], 2)
    assert {name: str(error) for name, error in left_out.items()} == {"frail": reason}
    assert left_out["frail"].fault
    assert list(measured) == ["a"]
    assert len(measured["a"].samples) == 2
    assert ("Traceback" in capfd.readouterr().err) == (target == "trivial:breaks")


def test_a_failure_in_a_later_round_leaves_whole_rounds(tmp_path):
    measured, left_out = measure(
        [worker(tmp_path / "taken", "a"), Contender("frail", "trivial:breaks", {"after": 2})], 5
    )
    assert [len(one.samples) for one in measured.values()] == [2, 2]
    assert left_out["frail"].fault


@pytest.mark.slow
def test_a_contender_that_is_too_slow_is_ended_and_left_out(tmp_path):
    contenders = [Contender("slow", "trivial:slow", {"seconds": 600}), worker(tmp_path / "taken", "a")]
    measured, left_out = measure(contenders, 2, deadline=time.monotonic() + 10)
    assert list(measured) == ["a"]
    assert str(left_out["slow"]).startswith("too slow: no answer after ")
    assert not left_out["slow"].fault


def test_no_round_begins_that_would_end_after_the_deadline(tmp_path, monkeypatch):
    # Every look at the clock is 10 s later: ready at 0, the first round from 10 to 30, the next would end at 60.
    clock = SimpleNamespace(monotonic=itertools.count(0, 10).__next__, sleep=time.sleep)
    monkeypatch.setattr(engine, "time", clock)
    measured, left_out = measure([worker(tmp_path / "taken", "a")], 5, deadline=55)
    assert len(measured["a"].samples) == 1
    assert not left_out


@pytest.mark.slow
def test_what_a_contender_starts_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "CLOSING_SECONDS", 0.5)
    file = tmp_path / "pid"
    measure([Contender("parent", "trivial:starts_another", {"file": str(file)})], 1)
    state = Path(f"/proc/{file.read_text()}/stat")  # a zombie where no process waits for orphans
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_missing_peers_are_left_out_with_the_remedy(tmp_path):
    _, left_out = measure([worker(tmp_path / "taken", "a"), Contender("lightly", "trivial:dies", peer=True)], 1)
    assert str(left_out["lightly"]) == "the peers' environment is missing; run make peers"
    assert not left_out["lightly"].fault


def test_two_contenders_of_one_name_are_an_error():
    with pytest.raises(ValueError, match="same name"):
        measure([Contender("a", "trivial:dies"), Contender("a", "trivial:breaks")], 1)


@pytest.mark.slow
def test_peers_can_import_what_holds_their_contenders():
    # Their environment has torch, numpy and Pillow, and neither this project nor what it depends on.
    words = (
        "import sys; sys.modules.update(dict.fromkeys(['bench', 'cv2', 'pydantic', 'pandas'])); "
        "import peers, view_peers, sololearn, features"
    )
    subprocess.run([sys.executable, "-c", words], env=os.environ | {"PYTHONPATH": str(ROOT / "benchmarks")}, check=True)


def test_results_name_no_machine():
    given = {"words": ["-m", str(ROOT / "runs" / "a"), "/data/imagenet"], "batch": 16, "name": "a/b"}
    assert without_machine(given) == {"words": ["-m", "runs/a", "imagenet"], "batch": 16, "name": "a/b"}
