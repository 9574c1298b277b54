"""What a canary's run is held against, without training anything."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from bench.canary.cases import CONDITIONS, canaries, canary
from bench.canary.verdict import (
    FILE,
    LOSS_SHARE,
    MOVED_SHARE,
    SPREAD,
    Measurements,
    complaints,
    digest,
    expect,
    read_expected,
    write_expected,
)
from bench.config.objective_source import objectives

MOVED = {"encoder": 0.02, "target_encoder": 0.005}
RUN = Measurements((4.0, 3.0, 2.0, 1.0), 50.0, 35.0, std=0.6, rank=40.0, moved=MOVED)


@pytest.fixture
def expected():
    other = replace(RUN, losses=(3.99, 2.96, 1.97, 0.98), knn_percent=48.0, std=0.5, rank=44.0)
    return expect(canary("byol"), [RUN, replace(RUN, losses=(4.01, 3.04, 2.03, 1.02)), other])


def test_every_objective_that_trains_was_recorded_as_it_is_trained_now():
    recorded = read_expected()
    assert set(recorded) == set(canaries()) == set(objectives()) - {"random_init"}
    stale = [name for name, case in canaries().items() if recorded[name].case != digest(case)]
    assert not stale, f"run bench canary {' '.join(stale)} --record"
    assert json.loads(FILE.read_text())["conditions"] == [asdict(conditions) for conditions in CONDITIONS]


def test_the_range_of_the_loss_is_as_wide_as_runs_have_differed_until_then(expected):
    halves = [SPREAD * deviation + LOSS_SHARE * 4.01 for deviation in (0.01, 0.04, 0.04, 0.04)]
    assert expected.low == pytest.approx([mean - half for mean, half in zip((4, 3, 2, 1), halves, strict=True)])
    assert expected.high == pytest.approx([mean + half for mean, half in zip((4, 3, 2, 1), halves, strict=True)])


def test_the_range_of_how_far_a_network_moved(expected):
    moved = expect(canary("byol"), [replace(RUN, moved={"encoder": moved}) for moved in (0.02, 0.021, 0.019)]).moved
    half = SPREAD * 0.001 + MOVED_SHARE * 0.021
    assert moved["encoder"] == (pytest.approx(0.02 - half), pytest.approx(0.02 + half))


def test_half_of_the_least_recorded_gain_rank_and_spread_is_due(expected):
    assert (expected.gain, expected.std, expected.rank) == (6.5, 0.25, 20.0)
    assert expect(canary("byol"), [replace(RUN, knn_percent=40.9)]).gain is None  # within the noise of so few images


def test_half_of_what_a_task_of_its_own_gained_is_due():
    """Points above random weights; of an objective without such a task nothing is."""
    some = [replace(RUN, told_random_percent=33.0, told_percent=told) for told in (73.0, 69.0)]
    recorded = expect(canary("byol"), some)
    assert recorded.told == 18.0
    (wrong,) = complaints(replace(some[0], told_percent=50.0), recorded)
    assert wrong == "its own task was solved 17.0 points more often than with random weights, at least 18.0 were due"
    assert complaints(replace(some[0], told_percent=52.0), recorded) == []
    assert expect(canary("byol"), [replace(some[0], told_percent=38.0)]).told is None
    assert expect(canary("byol"), [RUN]).told is None


def test_a_run_as_recorded_has_no_complaint(expected):
    assert complaints(RUN, expected) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"losses": (2.0, 1.5, 1.0, 0.5)}, "loss 2 in part 1 of 4, recorded 3.88 to 4.12"),
        ({"losses": (4.0, 3.0, 2.0, 1.5)}, "loss 1.5 in part 4"),
        ({"losses": (4.0, float("nan"), 2.0, 1.0)}, "loss nan in part 2"),
        ({"knn_percent": 41.0}, "neighbours gained 6.0 points on random weights, at least 6.5 were due"),
        ({"std": 0.1}, "features spread by 0.1 of a sphere's"),
        ({"rank": 3.0}, "effective rank 3.0, at least 20.0 was due"),
        ({"rank": float("nan")}, "effective rank nan"),
        ({"moved": MOVED | {"target_encoder": 0.0}}, "target_encoder moved by 0, recorded 0.0045 to 0.0055"),
        ({"moved": MOVED | {"encoder": float("nan")}}, "encoder moved by nan"),
        ({"moved": {"encoder": 0.02}}, "target_encoder has no weights"),
        ({"moved": MOVED | {"predictor": 0.01}}, "predictor is there, and was not when recorded"),
        ({"raised": "RuntimeError: shapes"}, "raises RuntimeError: shapes"),
    ],
)
def test_each_complaint(expected, changed, words):
    (complaint,) = complaints(replace(RUN, **changed), expected)
    assert words in complaint


def test_only_the_losses_of_a_run_that_was_stopped_early_are_checked(expected):
    assert complaints(Measurements((4.0, 3.0)), expected) == []
    assert complaints(Measurements((4.0, 1.0)), expected)


def test_what_was_recorded_is_read_back(tmp_path, expected):
    file = tmp_path / "expected.json"
    assert read_expected(file) == {}
    write_expected({"byol": expected, "a": expected}, file)
    assert read_expected(file) == {"byol": expected, "a": expected}
    assert file.read_text().index('"a"') < file.read_text().index('"byol"')
    file.write_text(file.read_text().replace('"moved"', '"went"', 1))
    assert read_expected(file) == {"byol": expected}  # the other has a form of another version


def test_the_digest_is_of_how_it_is_trained():
    assert digest(canary("byol")) == digest(canary("byol"))
    assert digest(canary("byol")) != digest(canary("two_loss"))
