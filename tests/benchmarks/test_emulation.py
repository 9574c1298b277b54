"""On a machine that emulates bf16, everything is compared in float32, and the page says so."""

from __future__ import annotations

import importlib
import inspect
import json

import pytest
import run
from comparisons import COMPARISONS, TUNED, Comparison
from emulation import emulates_bf16, in_bf16, without_bf16
from engine import Contender

from bench.train import precision

NAMED = {one.name: one for one in COMPARISONS}


def test_the_machine_decides(monkeypatch):
    for native in (True, False):
        monkeypatch.setattr(precision, "native_bf16", lambda device, native=native: native)
        assert emulates_bf16("cpu") is not native


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda one: one.name)
def test_no_contender_is_left_in_bf16_and_all_take_their_arguments(comparison):
    there = without_bf16(comparison)
    assert not any(map(in_bf16, there.contenders))
    assert "bf16" not in "".join(one.name + one.about for one in there.contenders)
    assert len({one.name for one in there.contenders}) == len(there.contenders)
    keys = [json.dumps([one.target, one.threads, one.arguments], sort_keys=True) for one in there.contenders]
    assert len(set(keys)) == len(keys)
    assert there.contenders[0].target == comparison.contenders[0].target
    for one in there.contenders:
        module, _, function = one.target.partition(":")
        given = {**there.common, **one.arguments}
        inspect.signature(getattr(importlib.import_module(module), function)).bind(**given)
    rates = {one.name: 2.0 for one in there.contenders}
    for goal, before in zip(there.goals, comparison.goals, strict=True):
        assert goal.value(rates) == before.value({one.name: 2.0 for one in comparison.contenders})
    asked = [one.name for one in comparison.contenders if in_bf16(one)]
    assert there.notes[: len(comparison.notes)] == comparison.notes
    assert all(name in there.notes[-1] for name in asked)


def test_defaults_of_contenders_are_no_bf16_that_nobody_sees():
    """What computes in bf16 says so in its arguments, by which it is found; or it asks the machine."""
    for comparison in COMPARISONS:
        for one in comparison.contenders:
            module, _, function = one.target.partition(":")
            parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters
            defaults = {name: p.default for name, p in parameters.items() if p.default in ("bf16", True)}
            hidden = {"precision", "search", "bf16"} & defaults.keys() - one.arguments.keys()
            if one.arguments.get("form") in ("plain", "kept"):  # of torch in float32, and of features
                hidden -= {"precision"}
            assert not hidden, f"{comparison.name}: {one.name}"


def test_neighbours_and_frozen_trunks_keep_their_goals():
    knn = without_bf16(NAMED["knn"])
    assert [one.name for one in knn.contenders] == ["lightly knn_predict", "row by row", "ours", "the product alone"]
    ours = knn.contenders[2]
    assert (ours.arguments, ours.about, ours.goal) == ({"search": "float32"}, "chunks, running top-k", 3)
    assert knn.goals[0].value({"ours": 6.0, "row by row": 2.0}) == 3
    frozen = without_bf16(NAMED["frozen"])
    assert [one.name for one in frozen.contenders][:3] == ["float32 NCHW", "float32 autocast", "float32 folded"]
    step = without_bf16(NAMED["step"])
    tuned = next(one for one in step.contenders if one.name == "lightly at its best")
    assert (tuned.arguments, tuned.about) == (TUNED | {"bf16": False}, "float32, channels_last")
    assert next(one for one in step.contenders if one.name == "ours, default").about.startswith(
        "float32, channels_last"
    )


@pytest.mark.slow
def test_the_page_says_that_nothing_was_measured_in_bf16(tmp_path, monkeypatch, no_peers):
    monkeypatch.setattr(run, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setattr(run, "emulates_bf16", lambda device: True)
    wide = Contender("ours, bf16", "trivial:rounded", {"bf16": True}, "bf16")
    plain = Contender("other", "trivial:work", {"file": str(tmp_path / "taken"), "name": "a"})
    fields = {"question": "A title", "sample": "a line", "unit": "images", "seconds": 30, "rounds": 1}
    assert run.main(["--quick"], [Comparison("made_up", "all", contenders=(plain, wide), **fields)]) == 0
    page = (tmp_path / "scratch" / "quick" / "performance.md").read_text()
    assert "- Nothing was measured in bf16, which this machine emulates: ours, bf16 stands here in float32." in page
    assert "| ours, float32 |" in page
