"""Ours against lightly's: which records are compared, the interval, and the words about it."""

from __future__ import annotations

import json

import peer_agreement
import pytest
from example_records import make
from peer_agreement import Difference, by_seed, differences, interval, keep, section
from peer_pairs import PAIRS
from scipy import stats

from bench.errors import BadInput
from bench.record import write

HEADS = {"hidden_dim": 512, "projection_dim": 128, "tau0": 0.98}
OURS = {"name": "byol", **HEADS, "crops": 0, "crop_size": 96}
THEIRS = {"name": "peer_objectives.py:LightlyBYOL", "source": "0123456789abcdef", **HEADS}


def result(name, seed, top1, objective, task="cifar10_knn", pretrain=None, **changes):
    settings = {"arch": "resnet18w16", "dataset": "cifar10", "epochs": 6, "batch_size": 256, **(pretrain or {})}
    return make(
        name,
        task,
        seed,
        recipe=json.dumps([settings, objective]),
        metrics={"top1_percent": top1},
        settings={"pretrain": {**settings, "objective": objective}, "downstream": {}},
        **changes,
    )


def both(ours=(60.0, 61.0, 63.0), theirs=(60.5, 60.0, 61.0), **of_ours):
    return (
        [result("control_byol", seed, value, OURS, **of_ours) for seed, value in enumerate(ours)],
        [result("control_lightly_byol", seed, value, THEIRS) for seed, value in enumerate(theirs)],
    )


def test_the_interval_is_that_of_scipy():
    ours, theirs = (60.0, 61.0, 63.0, 62.5), (60.5, 60.0, 61.0)
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert interval(ours, theirs) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("ours", "theirs"), [((1.0,), (2.0, 3.0)), ((1.0, 2.0), (3.0,)), ((1.0, 1.0), (2.0, 2.0))])
def test_there_is_no_interval_without_spread(ours, theirs):
    assert interval(ours, theirs) == (None, None)


def test_rows_with_the_same_settings_are_compared_whatever_their_names():
    [found], alone = differences(*both())
    assert alone == []
    assert found.difference == pytest.approx(184 / 3 - 181.5 / 3)
    assert found.ours_by_seed == {"0": 60.0, "1": 61.0, "2": 63.0}
    assert found.rows == ("control_byol", "control_lightly_byol")
    assert (found.low, found.high) == interval((60.0, 61.0, 63.0), (60.5, 60.0, 61.0))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pretrain": {"epochs": 7}}, "epochs"),
        ({"pretrain": {"optimizer": {"lr": 0.1}}}, "optimizer"),
        ({"protocol": "another"}, "protocol"),
        ({"data": {"cifar10": "e" * 16}}, "data"),
        ({"profile": "full"}, "profile"),
        ({"precision": {"pretrain": "bf16"}}, "precision"),
    ],
)
def test_a_row_with_another_setting_is_no_partner_and_what_differs_is_named(changes, named):
    ours, theirs = both(**changes)
    found, [line] = differences(ours, theirs)
    assert found == []
    assert line == (
        f"control_lightly_byol on cifar10_knn: no row of byol with these settings; the nearest has other {named}"
    )


@pytest.mark.parametrize("changed", [{"tau0": 0.99}, {"crops": 2}])
def test_objectives_agree_in_common_settings_and_in_what_lightly_lacks(changed):
    _, theirs = both()
    ours = [result("control_byol", 0, 60.0, OURS | changed)]
    found, [line] = differences(ours, theirs)
    assert found == []
    assert line.endswith(f"has other objective.{next(iter(changed))}")


def test_another_objective_is_no_partner():
    _, theirs = both()
    found, [line] = differences([result("control_simclr", 0, 60.0, OURS | {"name": "simclr"})], theirs)
    assert found == []
    assert line.endswith("no row of byol with these settings; none")


def test_two_runs_of_theirs_with_other_settings_are_refused():
    _, theirs = both()
    theirs.append(result("control_lightly_byol", 0, 50.0, THEIRS, pretrain={"epochs": 7}))
    with pytest.raises(BadInput, match="LightlyBYOL on cifar10_knn with different settings"):
        differences([], theirs)


def test_several_results_of_one_pretraining_count_once():
    assert by_seed([result("a", 0, 60.0, OURS), result("a", 0, 62.0, OURS), result("a", 1, 70.0, OURS)]) == {
        "0": 61.0,
        "1": 70.0,
    }


@pytest.mark.parametrize(
    ("difference", "low", "high", "words"),
    [
        (0.2, -0.9, 1.3, "within 1.5, and so is the interval"),
        (0.2, -1.4, 1.8, "within 1.5; the interval reaches beyond"),
        (-0.2, -1.8, 1.4, "within 1.5; the interval reaches beyond"),
        (1.6, 1.0, 2.2, "more than 1.5 apart"),
        (-1.6, -2.2, -1.0, "more than 1.5 apart"),
        (0.2, None, None, "within 1.5; no interval with so few seeds"),
    ],
)
def test_the_words_about_a_difference(difference, low, high, words):
    one = Difference("byol", "LightlyBYOL", "cifar10_knn", ("a", "b"), {}, {}, difference, low, high)
    assert one.verdict == words


def test_the_script_prints_keeps_and_a_page_shows(tmp_path, monkeypatch, capsys):
    ours, theirs = both()
    theirs.append(result("control_lightly_vicreg", 0, 50.0, {"name": "peer_objectives.py:LightlyVICReg"}))
    for folder, records in (("ours", ours), ("theirs", theirs)):
        for record in records:
            write(record, tmp_path / folder / "records")
    file = tmp_path / "peers.json"
    monkeypatch.setattr(peer_agreement.keep, "__defaults__", (file,))
    arguments = ["--ours", str(tmp_path / "ours"), "--theirs", str(tmp_path / "theirs"), "--write"]
    assert peer_agreement.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "byol on cifar10_knn: ours 61.33 ± 1.53 (3), lightly's 60.50 ± 0.50 (3), difference +0.83"
    )
    assert lines[1].startswith("control_lightly_vicreg on cifar10_knn: no row of vicreg")
    keep(
        "steps", {"LightlyBYOL": {"ours": "byol", "steps": 5, "loss": 2e-15, "gradient": 1e-14, "weights": 1e-15}}, file
    )
    text = section(file)
    low, high = interval((60.0, 61.0, 63.0), (60.5, 60.0, 61.0))
    cells = f"| 61.33 ± 1.53 (3) | 60.50 ± 0.50 (3) | +0.83 | {low:+.2f} to {high:+.2f} |"
    assert f"| byol | cifar10_knn {cells} within 1.5; the interval reaches beyond |" in text
    assert "1 of 1 differences, of 1 objectives, are at most 1.5 points" in text
    assert f"- `LightlyBYOL`: {PAIRS['LightlyBYOL'].differs}." in text
    assert "- control_lightly_vicreg on cifar10_knn: no row" in text
    assert "| `LightlyBYOL` | `byol` | 2e-15 | 1e-14 | 1e-15 |" in text


def test_a_page_without_results_says_so(tmp_path):
    assert "No such run has been recorded yet." in section(tmp_path / "none.json")


def test_a_folder_without_such_runs_is_an_error(tmp_path, capsys):
    assert peer_agreement.main(["--theirs", str(tmp_path)]) == 2
    assert "There are no runs of lightly's objectives" in capsys.readouterr().err
