"""Ratios within rounds, growth exponents, and the files that they come from."""

from __future__ import annotations

import json
import math

import pytest
import report
from interleave import Contender, Measured, Sample
from made_up import comparison, contender


def test_ratios_are_taken_within_rounds():
    content = comparison()
    assert report.ratios(content, "shipped")["ours"] == [6, 4, 3]
    assert report.ratios(content, "ours")["tuned"] == [4 / 12, 6 / 12, 6 / 12]
    # The median of the rounds' ratios (4), not the ratio of the medians (12 by 3), which here is the same ...
    assert report.summary(content)["ours"] == (12, 12, 12, 4)
    # ... and here is not: rates 2, 4, 3 and 6, 8, 12 have the ratios 3, 2, 4 and the medians 3 and 8.
    content["contenders"] = {"shipped": contender(6, 3, 4), "ours": contender(2, 1.5, 1)}
    assert report.summary(content)["ours"] == (8, 6, 12, 3)


def test_the_best_peer_is_the_fastest_one():
    content = comparison()
    assert report.best_peer(content) == "tuned"
    content["peers"] = ["ours"]  # run here, but a peer all the same
    assert report.best_peer(content) == "ours"
    for one in content["contenders"].values():
        one["peer"] = False
    del content["peers"]
    assert report.best_peer(content) is None


def test_a_library_is_a_peer_by_its_name_wherever_it_runs():
    contenders = {"mmseg as shipped": contender(2), "mmseg, bf16": contender(1), "ours": contender(0.5)}
    assert report.best_peer(comparison(contenders=contenders)) == "mmseg, bf16"


def test_exponent_of_exact_powers():
    fit = report.exponent([(x, 3 * x**1.5) for x in (1, 10, 100)])
    assert fit.b == pytest.approx(1.5)
    assert fit.a == pytest.approx(3)
    assert fit.error == pytest.approx(0, abs=1e-9)


def test_exponent_and_its_error_by_hand():
    # Logarithms (base e) at 0, 1, 2: heights 0, 1, 1. Slope 1/2, residuals -1/6, 1/3, -1/6, their squares' sum 1/6,
    # one degree of freedom, sum of squares of x 2: error √(1/12).
    fit = report.exponent([(1, 1), (math.e, math.e), (math.e**2, math.e)])
    assert fit.b == pytest.approx(0.5)
    assert fit.error == pytest.approx(math.sqrt(1 / 12))
    assert str(fit) == "0.50 ± 0.29"


def test_exponent_needs_two_sizes_above_nothing():
    assert report.exponent([(0, 5), (1, 2)]) is None
    assert report.exponent([(2, 5), (2, 6)]) is None
    two = report.exponent([(0, 9), (1, 2), (2, 4)])
    assert two.b == pytest.approx(1)
    assert two.error is None  # a line through two points says nothing of its error


@pytest.mark.parametrize(
    ("axis", "expected"), [("seconds", 2), ("images/s", 5), ("seconds per image", 0.2)], ids=["time", "rate", "inverse"]
)
def test_what_an_axis_says(axis, expected):
    samples = [{"seconds": s, "units": 10} for s in (1, 2, 9)]
    assert report.height(samples, axis) == expected


def test_a_file_holds_all_samples(tmp_path, capsys):
    measured = {
        name: Measured(Contender(name, "a:b", peer=name == "peer"), [Sample(s, 6), Sample(s, 6)], 0.5, 10.0)
        for name, s in {"peer": 3.0, "ours": 1.0}.items()
    }
    file = report.write(
        "made_up", "Made up", measured, unit="images", baseline="peer", goals={"ours": 2}, folder=tmp_path
    )
    content = json.loads(file.read_text())
    assert file == tmp_path / "made_up.json"
    assert content["contenders"]["ours"]["samples"] == [{"seconds": 1.0, "units": 6}] * 2
    assert content["taken"]["hardware"]["cores"] >= 1
    assert content["taken"]["versions"]["torch"]
    assert "x3.00" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["made_up.json"]
