"""Contenders take turns, in an order that rotates, and what goes wrong in one is said in its name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import interleave
import pytest
from interleave import Contender, measure

HERE = {"PYTHONPATH": f"{Path(__file__).parent}"}


def worker(file: Path, name: str, **more) -> Contender:
    return Contender(name, "trivial:work", {"file": str(file), "name": name, **more}, environ=HERE)


def test_each_round_begins_with_another_contender(tmp_path):
    file = tmp_path / "taken"
    measured = measure([worker(file, "a"), worker(file, "b", units=7), worker(file, "c")], 3)
    assert file.read_text().split() == [*"abc", *"abc", *"bca", *"cab"]  # the first three are warm-ups
    assert list(measured) == ["a", "b", "c"]
    assert [sample.units for sample in measured["b"].samples] == [7, 7, 7]
    assert len(measured["a"].samples) == 3
    assert measured["a"].ready_seconds > 0
    assert measured["a"].peak_mib > 1


def test_a_contenders_memory_is_not_that_of_who_started_it(tmp_path):
    held = bytearray(300 * 2**20)
    assert 1 < measure([worker(tmp_path / "taken", "a")], 1)["a"].peak_mib < 100
    del held


def test_contenders_that_do_not_fit_together_start_anew_each_time(tmp_path):
    file = tmp_path / "taken"
    measured = measure([worker(file, "a"), worker(file, "b")], 2, resident=False)
    assert file.read_text().split() == [*"aabb", *"bbaa"]  # a warm-up before each sample
    assert [len(one.samples) for one in measured.values()] == [2, 2]


def test_samples_have_the_time_that_the_work_took(tmp_path):
    (sample,) = measure([worker(tmp_path / "taken", "a", seconds=0.05)], 1)["a"].samples
    assert 0.05 <= sample.seconds < 5


def test_an_error_is_told_in_the_name_of_the_contender(capfd):
    with pytest.raises(RuntimeError, match=r"^frail failed: ValueError: the disk is full$"):
        measure([Contender("frail", "trivial:breaks", {"after": 2}, environ=HERE)], 3)
    assert "Traceback" in capfd.readouterr().err


def test_a_process_that_dies_is_told_with_its_code():
    with pytest.raises(RuntimeError, match=r"^gone ended with code 9; "):
        measure([Contender("gone", "trivial:dies", environ=HERE)], 1)


def test_no_process_stays_when_another_fails(tmp_path, monkeypatch):
    begun = []
    start = interleave.Worker.__init__
    monkeypatch.setattr(interleave.Worker, "__init__", lambda self, one: (start(self, one), begun.append(self))[0])
    with pytest.raises(RuntimeError, match="frail"):
        measure([worker(tmp_path / "taken", "a"), Contender("frail", "trivial:breaks", {"after": 0}, environ=HERE)], 1)
    assert [one.contender.name for one in begun] == ["a", "frail"]
    assert all(one.process.poll() is not None for one in begun)


def test_missing_peers_give_one_sentence_with_the_remedy(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(interleave, "PEERS", tmp_path / "python")
    with pytest.raises(SystemExit) as end:
        measure([Contender("lightly", "trivial:dies", peer=True)], 1)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("lightly needs the peers' environment")
    assert said.endswith("run make peers.\n")


def test_two_contenders_of_one_name_are_an_error():
    with pytest.raises(ValueError, match="same name"):
        measure([Contender("a", "trivial:dies"), Contender("a", "trivial:breaks")], 1)


def test_peers_can_import_what_holds_their_contenders():
    # Their environment has torch, numpy and Pillow, and neither this project nor what it depends on.
    words = (
        "import sys; sys.modules.update(dict.fromkeys(['bench', 'cv2', 'pydantic'])); "
        "import interleave, report, photographs, sololearn, loader"
    )
    environ = {"PYTHONPATH": str(interleave.ROOT / "benchmarks")}
    subprocess.run([sys.executable, "-c", words], env=environ, check=True)


def test_results_name_no_machine():
    given = {"words": ["-m", str(interleave.ROOT / "runs" / "a"), "/data/imagenet"], "batch": 16, "name": "a/b"}
    assert interleave.without_machine(given) == {"words": ["-m", "runs/a", "imagenet"], "batch": 16, "name": "a/b"}
