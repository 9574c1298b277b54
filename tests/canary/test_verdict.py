"""What a canary's song is held against, without training anything."""

from __future__ import annotations

import pytest

from bench.canary.cases import canaries, canary
from bench.canary.verdict import complaints, digest, expect, read_expected, write_expected
from bench.config.objective_source import objectives

MOVED = {"encoder": 0.02, "target_encoder": 0.005}


def song(losses=(4.0, 3.0, 2.0, 1.0), knn=50.0, std=0.6, rank=40.0, moved=MOVED):
    return {"losses": losses, "knn_percent": knn, "knn_random_percent": 35.0, "std": std, "rank": rank, "moved": moved}


@pytest.fixture
def expected():
    shaken = [song(), song((4.01, 3.02, 2.03, 1.04)), song((3.99, 2.98, 1.97, 0.96), knn=48.0, std=0.5, rank=44.0)]
    return expect(canary("byol"), shaken)


def test_every_objective_that_trains_was_recorded_as_it_is_trained_now():
    recorded = read_expected()
    assert set(recorded) == set(canaries()) == set(objectives()) - {"random_init"}
    stale = [name for name, case in canaries().items() if recorded[name].case != digest(case)]
    assert not stale, f"run bench canary {' '.join(stale)} --record"


def test_the_corridor_is_four_deviations_and_two_hundredths_of_the_scale(expected):
    scale = 0.02 * 4.01
    for low, high, middle, away in zip(
        expected.low, expected.high, (4, 3, 2, 1), (0.01, 0.02, 0.03, 0.04), strict=True
    ):
        assert low == pytest.approx(middle - 4 * away - scale, abs=1e-4)
        assert high == pytest.approx(middle + 4 * away + scale, abs=1e-4)


def test_how_far_a_network_may_move_is_four_deviations_and_a_tenth():
    expected = expect(canary("byol"), [song(moved={"encoder": moved}) for moved in (0.02, 0.021, 0.019)])
    low, high = expected.moved["encoder"]
    assert (low, high) == (pytest.approx(0.02 - 0.004 - 0.0021), pytest.approx(0.02 + 0.004 + 0.0021))


def test_half_of_what_was_gained_is_due(expected):
    assert (expected.gain, expected.std, expected.rank) == (6.5, 0.25, 20.0)
    assert expect(canary("byol"), [song(knn=38.9)]).gain is None  # less than the noise of so few images


def test_a_song_as_recorded_has_no_complaint(expected):
    assert complaints(song(), expected) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"losses": (2.0, 1.5, 1.0, 0.5)}, "loss 2 in part 1 of 4, recorded 3.88 to 4.12"),
        ({"losses": (4.0, 3.0, 2.0, 1.5)}, "loss 1.5 in part 4"),
        ({"losses": (4.0, float("nan"), 2.0, 1.0)}, "loss nan in part 2"),
        ({"knn": 41.0}, "neighbours gained 6.0 points on random weights, at least 6.5 were due"),
        ({"std": 0.1}, "features spread by 0.1 of a sphere's"),
        ({"rank": 3.0}, "effective rank 3.0, at least 20.0 was due"),
        ({"rank": float("nan")}, "effective rank nan"),
        ({"moved": MOVED | {"target_encoder": 0.0}}, "target_encoder moved by 0, recorded 0.0045 to 0.0055"),
        ({"moved": MOVED | {"encoder": float("nan")}}, "encoder moved by nan"),
        ({"moved": {"encoder": 0.02}}, "target_encoder has no weights of its own"),
        ({"moved": MOVED | {"predictor": 0.01}}, "predictor is there, and was not when recorded"),
    ],
)
def test_each_complaint(expected, changed, words):
    (found,) = complaints(song(**changed), expected)
    assert words in found


def test_of_a_song_that_was_stopped_early_only_the_losses_count(expected):
    assert complaints(song((4.0, 3.0), knn=0.0, std=0.0, rank=0.0, moved={}), expected) == []
    assert complaints(song((4.0, 1.0)), expected)


def test_what_was_recorded_is_read_back(tmp_path, expected):
    file = tmp_path / "expected.json"
    assert read_expected(file) == {}
    write_expected({"byol": expected, "a": expected}, file)
    assert read_expected(file) == {"byol": expected, "a": expected}
    assert file.read_text().index('"a"') < file.read_text().index('"byol"')
    file.write_text(file.read_text().replace('"moved"', '"went"', 1))
    assert read_expected(file) == {"byol": expected}  # the other has a form that is not ours


def test_the_digest_is_of_how_it_is_trained():
    assert digest(canary("byol")) == digest(canary("byol"))
    assert digest(canary("byol")) != digest(canary("two_loss"))
