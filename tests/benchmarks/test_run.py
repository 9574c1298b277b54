"""`make bench` goes on when something fails, says what was left out, and its table fits its contenders."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
from typing import Any

import pytest
import run
from comparisons import COMPARISONS, Comparison, Goal
from engine import Contender
from made_up import comparison

from bench.processor import features, limits, machine_class

HERE = machine_class(features(), limits()).name  # of the machine that these tests run on


def made_up(name: str, *contenders: Contender, **more: Any) -> Comparison:
    fields = {"question": f"Title of {name}", "sample": "a line", "unit": "images", "seconds": 300, "rounds": 2, **more}
    return Comparison(name, "all", contenders=contenders, **fields)


@pytest.fixture
def table(tmp_path, monkeypatch, no_peers):
    monkeypatch.setattr(run, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run.page, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(run.signal, "signal", lambda *_: None)
    work = Contender("other", "trivial:work", {"file": str(tmp_path / "taken"), "name": "a"})
    good = dataclasses.replace(work, name="good", goal=0.1)
    frail = Contender("frail", "trivial:breaks", {"after": 0})
    goals = (
        Goal("how fast", lambda rate: rate["good"], 1, "images/s", at_most=False),
        Goal("of what failed", lambda rate: rate["frail"], 1, "s"),
    )
    return [
        made_up("bad", frail),
        made_up("good", work, good, frail, Contender("lightly", "trivial:dies", peer=True), goals=goals),
        made_up("unprepared", work, prepare="trivial:nothing"),
        made_up("late", work, seconds=-3000),
        made_up("for_a_gpu", Contender("on", "trivial:on", quick=True), device="cuda"),
    ]


@pytest.mark.slow
def test_the_others_run_when_some_fail(table, tmp_path, capfd):
    assert run.main([], table) == 1
    said = capfd.readouterr()
    failed = said.err.splitlines()[-1]
    assert failed.startswith(
        "Failed: bad, frail: ValueError: the disk is full; good, frail: ValueError: the disk is full;"
    )
    assert "unprepared: AttributeError" in failed
    assert "lightly: the peers' environment is missing; run make peers" in said.out
    (late,) = (line for line in said.out.splitlines() if line.startswith("late  "))
    assert late.endswith("left out: other: no time was left")
    (file,) = (tmp_path / "results").glob("**/*.json")
    assert file == tmp_path / "results" / HERE / "good.json"
    content = json.loads(file.read_text())
    assert content["baseline"] == "other"
    assert content["goals"] == {"good": 0.1}
    assert [check["what"] for check in content["checks"]] == ["how fast"]  # the other's contender was left out
    assert len(content["contenders"]["good"]["samples"]) == 2
    assert content["taken"]["hardware"]["cores"] >= 1
    assert content["taken"]["versions"]["torch"]
    page = (tmp_path / "docs" / "performance.md").read_text()
    assert "### Title of good" in page
    assert "- A sample: a line." in page
    assert "- Left out: frail: it failed." in page
    assert "- Left out: lightly: the peers' environment is missing; run make peers." in page


def test_without_the_baseline_no_goal_is_judged_by_it(table, tmp_path):
    failing = dataclasses.replace(table[1], contenders=(table[1].contenders[2], *table[1].contenders[:2]))
    assert run.main(["--only", "good"], [failing]) == 1
    content = json.loads((tmp_path / "results" / HERE / "good.json").read_text())
    assert content["baseline"] == "other"
    assert content["goals"] == {}


def test_results_of_other_classes_stay_as_they_are(table, tmp_path, monkeypatch):
    other = tmp_path / "results" / "avx2" / "good.json"
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps(comparison("good")))
    before = other.read_bytes()
    for name, value in (("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("measurements.features", lambda: ("avx2", "avx512f"))
    goals = (Goal("of AVX2", lambda rate: rate["good"], {"avx2": 2}, "images/s"),)
    goals += (Goal("of AVX-512", lambda rate: rate["good"], {"avx512": 3}, "images/s"),)
    contenders = (table[1].contenders[0], dataclasses.replace(table[1].contenders[1], goal={"avx2": 0.2, "avx512": 9}))
    assert run.main(["--only", "good"], [dataclasses.replace(table[1], contenders=contenders, goals=goals)]) == 0
    here = tmp_path / "results" / "avx2-on-avx512" / "good.json"
    assert {*(tmp_path / "results").glob("**/*.json")} == {here, other}
    assert other.read_bytes() == before
    content = json.loads(here.read_text())
    assert content["taken"]["hardware"]["limits"] == {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    assert content["goals"] == {"good": 0.2}  # those of the class that is simulated
    assert [(check["what"], check["goal"]) for check in content["checks"]] == [("of AVX2", 2)]


def test_a_quick_run_has_its_sizes_and_overwrites_nothing(table, tmp_path):
    small = dataclasses.replace(table[1], contenders=table[1].contenders[:2], quick={"units": 3})
    assert run.main(["--quick", "--only", "good"], [small]) == 0
    content = json.loads((tmp_path / "scratch" / "quick" / HERE / "good.json").read_text())
    assert content["contenders"]["good"]["samples"][0]["units"] == 3
    assert content["goals"] == {}
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "docs").exists()


def test_what_is_for_a_gpu_gets_the_device(table, tmp_path):
    assert run.main(["--quick", "--only", "for_a_gpu"], table) == 0
    content = json.loads((tmp_path / "scratch" / "quick" / HERE / "for_a_gpu.json").read_text())
    assert content["contenders"]["on"]["arguments"] == {"device": "cpu"}
    assert content["device"] == {"device": "cpu"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--only", "x"], "there is no area or comparison 'x'; --only takes all, bad, good, unprepared, late"),
        (["--images", "/nowhere"], "there are no JPEG files below /nowhere; give --images a folder of photographs"),
        (["--device", "cuda"], "there is no GPU that torch can use; run it on a machine with one, or give --quick"),
    ],
)
def test_bad_arguments_give_one_sentence(table, words, sentence, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run.main(words, table) == 2
    assert capsys.readouterr().err == f"{sentence}\n"


@pytest.mark.parametrize("compared", COMPARISONS, ids=lambda one: one.name)
@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
def test_contenders_take_their_arguments(compared, quick):
    prepared = dict.fromkeys(("folder", "jpeg", "uint8", "trunk", "data", "place"), "a/b")
    contenders = run.ready(compared, prepared, "cpu", quick)
    assert contenders
    for one in contenders:
        module, _, function = one.target.partition(":")
        inspect.signature(getattr(importlib.import_module(module), function)).bind(**one.arguments)
        assert "{" not in str(one.arguments.values())
    for goal in compared.goals:
        assert goal.value({one.name: 1.0 for one in compared.contenders}) >= 0
    if compared.prepare is not None:
        module, _, function = compared.prepare.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


VIEWS = [one for one in COMPARISONS if one.area == "views"]


@pytest.mark.slow
@pytest.mark.parametrize("compared", VIEWS, ids=lambda one: one.name)
def test_contenders_do_their_work(compared, tmp_path):
    """In one process, where `make bench` has one for each, which imports everything."""
    module, _, function = compared.prepare.partition(":")
    prepared, _ = getattr(importlib.import_module(module), function)(True, None, tmp_path)
    ours = [one for one in run.ready(compared, prepared, "cpu", True) if not one.peer]
    assert len(ours) >= 5
    for one in ours:
        module, _, function = one.target.partition(":")
        sample = getattr(importlib.import_module(module), function)(**one.arguments)
        units = one.arguments["count"] * one.arguments.get("batches", 1)
        assert [sample(), sample()] == [units, units], one.name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("area", ["packs"])  # all of them take minutes: make bench ARGS=--quick
def test_an_area_runs_on_a_cpu_with_tiny_sizes(area, table, tmp_path):
    patient = [dataclasses.replace(one, seconds=3600) for one in COMPARISONS]
    assert run.main(["--quick", "--device", "cpu", "--only", area], patient) == 0
    files = {file.stem for file in (tmp_path / "scratch" / "quick" / HERE).glob("*.json")}
    assert files == {one.name for one in COMPARISONS if one.area == area}
