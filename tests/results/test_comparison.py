"""The comparison of two rows: numbers by hand, both kinds of intervals, what differs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_records import THREE, linear, make
from scipy.stats import binomtest

from bench import outcomes as files
from bench.cli import run
from bench.errors import BadInput
from bench.files import sha256_of
from bench.outcomes import TopOutcomes, names_digest
from bench.record import OutcomesFile, Record, write
from bench.results.comparison import Comparison, compare_rows
from bench.results.comparison_text import content, lines
from bench.results.power import smallest_difference


def kept(folder: Path, records: list[Record]) -> Path:
    for record in records:
        write(record, folder / "records")
    return folder


def with_outcomes(
    folder: Path, record: Record, right: np.ndarray, names: str = "abc", valid: np.ndarray | None = None
) -> Record:
    """A record of a classification beside the outcomes of its images, whose top-1 is theirs."""
    outcomes = TopOutcomes(names_digest(names), np.ones(len(right), bool) if valid is None else valid, right)
    file = folder / "outcomes.npz"
    folder.mkdir(parents=True, exist_ok=True)
    files.write(outcomes, file)
    said = OutcomesFile(sha256=sha256_of(file), bytes=file.stat().st_size, images=len(right))
    record = record.model_copy(update={"metrics": outcomes.metrics(), "outcomes": said})
    write(record, folder / "records", file)
    return record


def test_by_trunks_by_hand(tmp_path: Path) -> None:
    # coco: mean 65, deviation 1; random_init: 61 and 1: error sqrt(2/3), 4 degrees of freedom, t = 2.776.
    comparison = compare_rows("coco", "random_init", kept(tmp_path, THREE), metrics=["mIoU"])
    (compared,) = comparison.columns
    assert (comparison.ours, comparison.theirs, comparison.profile) == ("coco", "random_init", "mini")
    assert compared.effect == pytest.approx(4.0)
    assert compared.by_trunks is not None
    reach = 2.7764451 * (2 / 3) ** 0.5
    assert (compared.by_trunks.low, compared.by_trunks.high) == pytest.approx((4 - reach, 4 + reach))
    assert compared.by_trunks.p == pytest.approx(0.00805, rel=1e-2)
    assert compared.by_trunks.adjusted == compared.by_trunks.p
    assert compared.seen is not None
    assert compared.seen.smallest == pytest.approx(smallest_difference(1.0, 3, 3))
    assert compared.by_images is None
    assert "has no outcomes of images" in compared.images


def test_what_was_to_be_seen_is_of_the_trunks_that_there_are(tmp_path: Path) -> None:
    few = [linear("coco", seed, 60.0 + seed) for seed in range(2)]
    many = [linear("random_init", seed, 40.0 + seed % 3) for seed in range(12)]
    comparison = compare_rows("coco", "random_init", kept(tmp_path / "many", [*few, *many]))
    (compared,) = comparison.columns
    assert compared.seen is not None
    assert compared.seen.trunks == (2, 12)
    # Variances 1/2 on 1 degree of freedom and 8/11 on 11.
    assert compared.seen.spread == pytest.approx((8.5 / 12) ** 0.5)
    assert compared.seen.smallest == pytest.approx(smallest_difference((8.5 / 12) ** 0.5, 2, 12))
    assert "by 2 and 12 trunks" in "\n".join(lines(comparison))
    said = "with 2 trunks against 12 equal rows are called different in 10.8 % instead of 5.0 %"
    assert said in "\n".join(lines(comparison))
    assert compared.level == pytest.approx(0.108, abs=5e-4)
    alone = compare_rows("coco", "random_init", kept(tmp_path / "alone", [few[0], *many]))
    assert alone.columns[0].seen is None
    said = "\n".join(lines(alone))
    assert "to be seen   nothing about the methods: coco with a single trunk" in said
    assert "power" not in said


def test_all_common_columns_are_compared_and_p_corrected_over_them(tmp_path: Path) -> None:
    other = [
        linear(name, seed, value + seed, task="imagenet_knn", kind="knn")
        for name, value in (("coco", 40.0), ("random_init", 38.8))
        for seed in range(3)
    ]
    comparison = compare_rows("coco", "random_init", kept(tmp_path, [*THREE, *other]))
    found = {(each.column.task, each.column.header): each for each in comparison.columns}
    assert set(found) == {
        *(("cityscapes_pspnet", header) for header in ("aAcc", "mIoU", "mAcc")),
        ("imagenet_linear", "top-1"),
        ("imagenet_knn", "top-1"),
    }
    miou, knn = found["cityscapes_pspnet", "mIoU"].by_trunks, found["imagenet_knn", "top-1"].by_trunks
    assert miou is not None
    assert knn is not None
    assert (miou.adjusted, knn.adjusted) == (pytest.approx(2 * miou.p), pytest.approx(knn.p))
    assert found["imagenet_linear", "top-1"].by_trunks is None  # one seed
    one = compare_rows("coco", "random_init", tmp_path, tasks=["imagenet_knn"], metrics=["top1"])
    assert [each.column.header for each in one.columns] == ["top-1"]
    with pytest.raises(BadInput, match="'best_lr' is no metric"):  # a setting that the task chose
        compare_rows("coco", "random_init", tmp_path, tasks=["imagenet_knn"], metrics=["best_lr"])
    with pytest.raises(BadInput, match=r"No task of both .* that was asked for has mIoU"):
        compare_rows("coco", "random_init", tmp_path, tasks=["imagenet_knn"], metrics=["mIoU"])


def images(seed: int, share: float, like: np.ndarray | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    right = rng.random(400) < share
    return right if like is None else np.where(rng.random(400) < 0.9, like, right)


def test_by_images_even_with_one_seed(tmp_path: Path) -> None:
    first = images(0, 0.5)
    second = first.copy()
    second[np.flatnonzero(~first)[:30]] = True  # 30 more are right, and 4 others no longer
    second[np.flatnonzero(first)[:4]] = False
    with_outcomes(tmp_path, linear("coco", 0, 0.0), second)
    with_outcomes(tmp_path, linear("random_init", 0, 0.0), first)
    (compared,) = compare_rows("coco", "random_init", tmp_path).columns
    assert compared.effect == pytest.approx(100 * 26 / 400)
    assert compared.by_trunks is None
    assert compared.by_images is not None
    assert 0 < compared.by_images.low < 6.5 < compared.by_images.high
    assert compared.by_images.p < 1e-4
    assert "these very trunks" in compared.by_images.covers
    assert "400 images" in compared.images
    text = "\n".join(lines(compare_rows("coco", "random_init", tmp_path)))
    assert "by trunks    no interval" in text
    assert "higher; covers other images" in text
    # One value a side: nothing that is said here is about a method.
    assert (compared.about, compared.level) == ("weights", None)
    for alone, right in ((compared.ours_by_images, second), (compared.theirs_by_images, first)):
        assert alone is not None
        ends = binomtest(int(right.sum()), 400).proportion_ci(method="wilson")
        assert (alone.low, alone.high) == pytest.approx((100 * ends.low, 100 * ends.high))
    assert f"coco         {100 * second.mean():.2f} (1 trunk); by images [" in text


def test_a_word_by_images_is_about_the_images_that_both_could_read(tmp_path: Path) -> None:
    """Ours read the easier half, on which it is worse; over all that each could read it looks better."""
    ours, theirs, easy = np.zeros(400, bool), np.zeros(400, bool), np.arange(400) < 200
    ours[:150] = True
    theirs[:190], theirs[200:220] = True, True
    with_outcomes(tmp_path, linear("coco", 0, 0.0), ours, valid=easy)
    with_outcomes(tmp_path, linear("random_init", 0, 0.0), theirs)
    comparison = compare_rows("coco", "random_init", tmp_path)
    (compared,) = comparison.columns
    assert compared.effect == pytest.approx(75 - 52.5)
    assert compared.by_images is not None
    assert compared.by_images.effect == pytest.approx(75 - 95)
    text = "\n".join(lines(comparison))
    assert "difference   +22.50" in text
    assert "by images    -20.00 [-" in text
    assert ": lower; covers other images" in text
    assert "200 of 400 images, which all could read" in text


def test_one_row_with_outcomes_has_its_own_interval(tmp_path: Path) -> None:
    with_outcomes(tmp_path, linear("coco", 0, 0.0), images(0, 0.5))
    (compared,) = compare_rows("coco", "random_init", kept(tmp_path, [linear("random_init", 0, 10.0)])).columns
    assert compared.by_images is None
    assert compared.ours_by_images is not None
    assert compared.theirs_by_images is None


def test_fractions_have_four_digits(tmp_path: Path) -> None:
    outside = {"kind": "outside.py:Kind", "columns": {"score": "score"}, "task": "imagenet_score"}
    records = [
        linear(name, seed, 0.0, **outside).model_copy(update={"metrics": {"score": value + seed / 1000}})
        for name, value in (("coco", 0.611), ("random_init", 0.615))
        for seed in range(3)
    ]
    text = "\n".join(lines(compare_rows("coco", "random_init", kept(tmp_path, records))))
    assert "coco         0.6120 ± 0.0010 (3 trunks)" in text
    assert "difference   -0.0040" in text
    assert "by trunks    [-0.0063, -0.0017] (95 %)" in text


def test_what_was_measured_again_counts_once_and_by_its_newest_record(tmp_path: Path) -> None:
    again = linear("coco", 0, 50.0, created="2026-01-01T00:00:00+00:00")
    again = again.model_copy(update={"fingerprints": again.fingerprints.model_copy(update={"stage": "e" * 64})})
    rows = [
        linear(name, seed, value + seed) for name, value in (("coco", 40.0), ("random_init", 10.0)) for seed in (0, 1)
    ]
    (compared,) = compare_rows("coco", "random_init", kept(tmp_path, [*rows, again])).columns
    assert (compared.ours.n, compared.ours.count, compared.ours.mean) == (2, 2, pytest.approx(45.5))


def test_a_trunk_that_another_task_tells_is_one_here(tmp_path: Path) -> None:
    told = [make("coco", "imagenet_knn", s, metrics={"top1_percent": 30.0}, trunk="a" * 64) for s in range(3)]
    rows = [linear(name, seed, 40.0 + seed) for name in ("coco", "random_init") for seed in range(3)]
    (compared,) = compare_rows("coco", "random_init", kept(tmp_path, [*rows, *told])).columns
    assert (compared.ours.n, compared.theirs.n, compared.about) == (1, 3, "weights")


def test_p_of_images_is_corrected_over_the_columns_and_trunks_count_alike(tmp_path: Path) -> None:
    """The second task has two trunks of ours, of which one was measured by two seeds of the task."""
    rng = np.random.default_rng(4)
    base, knn = rng.random(400) < 0.5, {"task": "imagenet_knn", "kind": "outside.py:Kind"}
    base[:50] = False
    with_outcomes(tmp_path, linear("coco", 0, 0.0), np.where(np.arange(400) < 16, True, base))
    with_outcomes(tmp_path, linear("random_init", 0, 0.0), base)
    for number, (seed, task_seed, more) in enumerate([(0, None, 40), (0, 7, 40), (1, None, 16)]):
        stage = {"fingerprints": linear("coco", number, 0.0, **knn).fingerprints, "task_seed": task_seed}
        with_outcomes(tmp_path, linear("coco", seed, 0.0, **knn, **stage), np.where(np.arange(400) < more, True, base))
    with_outcomes(tmp_path, linear("random_init", 0, 0.0, **knn), base)
    found = {each.column.task: each for each in compare_rows("coco", "random_init", tmp_path).columns}
    one, several = (found[task].by_images for task in ("imagenet_linear", "imagenet_knn"))
    assert one is not None
    assert several is not None
    low, high = sorted((one, several), key=lambda each: each.p)
    assert (low.adjusted, high.adjusted) == (pytest.approx(2 * low.p), pytest.approx(max(2 * low.p, high.p)))
    # (40 + 16) / 2 of 400 images, and not (40 + 40 + 16) / 3; Bonett and Price's interval is about nearly that.
    assert found["imagenet_knn"].effect == pytest.approx(100 * 28 / 400)
    assert (several.low + several.high) / 2 == pytest.approx(100 * 28 / 402)


def test_images_of_another_list_are_not_paired(tmp_path: Path) -> None:
    with_outcomes(tmp_path, linear("coco", 0, 0.0), images(0, 0.5))
    with_outcomes(tmp_path, linear("random_init", 0, 0.0), images(1, 0.5), names="abd")
    (compared,) = compare_rows("coco", "random_init", tmp_path).columns
    assert compared.by_images is None
    assert "different images" in compared.images


def test_damaged_outcomes_are_refused(tmp_path: Path) -> None:
    record = with_outcomes(tmp_path, linear("coco", 0, 0.0), images(0, 0.5))
    with_outcomes(tmp_path, linear("random_init", 0, 0.0), images(1, 0.5))
    (tmp_path / "records" / record.outcomes_name).write_bytes(b"no archive")
    with pytest.raises(BadInput, match="is not what was written with its record"):
        compare_rows("coco", "random_init", tmp_path)


def test_a_single_trunk_is_compared_as_these_weights(tmp_path: Path) -> None:
    fixed: dict[str, Any] = {"settings": {"pretrain": {"epochs": 0, "init": {"checkpoint": "x.pth"}}, "downstream": {}}}
    records = [linear("downloaded", seed, 60.0 + seed, **fixed) for seed in range(3)]
    records += [linear("coco", seed, 50.0 + seed) for seed in range(3)]
    (compared,) = compare_rows("downloaded", "coco", kept(tmp_path, records)).columns
    assert (compared.ours.n, compared.ours.count, compared.theirs.n) == (1, 3, 3)
    assert compared.about == "weights"
    assert compared.by_trunks is not None
    assert "these very weights" in compared.by_trunks.covers


# ------------------------------------------------------------------------------------- what differs


def recipe(**settings: Any) -> dict[str, Any]:
    objective = settings.pop("objective", {"name": "byol", "momentum": 0.99})
    return {"settings": {"pretrain": {"objective": objective, "lr": 0.2} | settings, "downstream": {}}}


def compared(tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any]) -> Comparison:
    return compare_rows("a", "b", kept(tmp_path, [linear("a", 0, 60.0, **ours), linear("b", 0, 50.0, **theirs)]))


def test_settings_that_differ(tmp_path: Path) -> None:
    comparison = compared(
        tmp_path, recipe(epochs=100, summary="x"), recipe(epochs=200, objective={"name": "byol", "momentum": 0.9})
    )
    assert {each.key: (each.ours, each.theirs) for each in comparison.settings} == {
        "objective.momentum": ("0.99", "0.9"),
        "epochs": ("100", "200"),
    }
    text = lines(comparison)
    assert any(line.split() == ["epochs", "100", "|", "200"] for line in text)


def test_a_setting_that_an_older_record_lacks_is_at_its_default(tmp_path: Path) -> None:
    assert compared(tmp_path, recipe(stem="imagenet"), recipe()).settings == ()
    other = compared(tmp_path / "other", recipe(stem="cifar"), recipe())
    assert [(each.key, each.ours, each.theirs) for each in other.settings] == [("stem", "cifar", "imagenet")]


def test_what_mars_a_comparison_is_said(tmp_path: Path) -> None:
    ours = recipe() | {"precision": {"pretrain": "bf16", "linear": "bf16"}, "versions": {"torch": "2.14.0"}}
    theirs = recipe() | {"precision": {"pretrain": "float32", "linear": "bf16"}, "versions": {"torch": "2.15.0"}}
    said = compared(tmp_path, ours, theirs | {"images_skipped": 2}).marred_by
    assert "Pretrained in different precisions: a: bf16; b: float32." in said
    assert "Different torch versions: a: 2.14.0; b: 2.15.0." in said
    assert "b: 2 unreadable images were skipped." in said
    assert not any(sentence.startswith("Measured in") for sentence in said)
    assert compared(tmp_path / "same", recipe(), recipe()).marred_by == ()


def test_an_older_definition_and_other_code_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.results import definitions

    monkeypatch.setattr(definitions, "definition_of", {"byol": 2}.__getitem__)
    code = [{"linear": ({"digest": digit * 64},)} for digit in "ef"]
    said = compared(tmp_path, recipe() | {"code": code[0]}, recipe() | {"code": code[1], "definitions": {"byol": 2}})
    assert "a was pretrained by an older definition of its objective (byol: as of definition 1, today's is 2)." in (
        said.marred_by
    )
    assert "The two rows ran different code in: linear." in said.marred_by


# ------------------------------------------------------------------------------------- what is refused


def test_ways_that_differ_are_not_compared_and_said(tmp_path: Path) -> None:
    records = [*THREE, linear("coco", 0, 1.0, task="imagenet_knn", kind="knn")]
    records += [linear("random_init", 0, 1.0, task="imagenet_knn", kind="knn", protocol="q")]
    comparison = compare_rows("coco", "random_init", kept(tmp_path, records))
    (left,) = comparison.left_out
    assert left.startswith("imagenet_knn: protocols ")
    assert all(each.column.task != "imagenet_knn" for each in comparison.columns)
    with pytest.raises(BadInput, match=r"no column in common.*imagenet_knn: protocols"):
        compare_rows("coco", "random_init", tmp_path, tasks=["imagenet_knn"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["coco_twoloss", "coco"], "no measured row 'coco_twoloss'; did you mean coco_two_loss"),
        (["coco", "nothing"], "no measured row 'nothing'"),
        (["coco", "coco"], "are the same row; bench aa"),
        (
            ["coco", "random_init", "--task", "imagenet_lin"],
            "no task that both rows have; did you mean imagenet_linear",
        ),
        (["coco", "random_init", "--metric", "miu"], "no metric that both rows have; did you mean"),
        (["coco", "random_init", "--profile", "full"], "no measured row 'coco' in profile full"),
        (["coco_two_loss", "random_init", "--task", "imagenet_linear"], "known: cityscapes_pspnet"),
    ],
)
def test_refused(tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, THREE)
    assert run(["compare", *words, "--results-dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_an_ambiguous_name_lists_the_labels_and_a_label_is_taken(tmp_path: Path) -> None:
    records = [linear("coco", 0, 40.0), linear("coco", 0, 60.0, recipe="other"), linear("random_init", 0, 10.0)]
    kept(tmp_path, records)
    labels = [f"coco @{record.fingerprints.recipe[:8]}" for record in records[:2]]
    quoted = [f"'{label}' \\(resnet50\\)" for label in sorted(labels)]
    with pytest.raises(BadInput, match=f"ambiguous.*{quoted[0]}, {quoted[1]}"):
        compare_rows("coco", "random_init", tmp_path)
    (first,) = compare_rows(labels[0], labels[1], tmp_path).columns
    assert first.effect == pytest.approx(-20.0)
    assert compare_rows(labels[0], labels[1], tmp_path).ours == labels[0]


def test_of_rows_of_one_name_the_one_that_was_measured_as_the_other_is_meant(tmp_path: Path) -> None:
    there = make("random_init", "imagenet_linear", 0, recipe="there", protocol="other", metrics={"top1_percent": 9.0})
    kept(tmp_path, [linear("coco", 0, 40.0), linear("random_init", 0, 10.0, recipe="here"), there])
    (compared,) = compare_rows("coco", "random_init", tmp_path).columns
    assert compared.effect == pytest.approx(30.0)


def test_of_a_row_that_trains_nothing_only_what_its_weights_depend_on_is_a_difference(tmp_path: Path) -> None:
    trained = {"epochs": 4, "batch_size": 64, "arch": "resnet50", "objective": {"name": "simclr", "temperature": 0.3}}
    untrained = {
        "epochs": 0,
        "batch_size": 256,
        "arch": "resnet50",
        "stem": "stl",
        "objective": {"name": "random_init"},
    }
    settings = {"coco": trained, "random_init": untrained}
    records = [linear(name, 0, 9.0, settings={"pretrain": told, "downstream": {}}) for name, told in settings.items()]
    apart = compare_rows("coco", "random_init", kept(tmp_path, records)).settings
    assert [(each.key, each.ours, each.theirs) for each in apart] == [
        ("stem", "imagenet", "stl"),
        ("objective.name", "simclr", "random_init"),
    ]


def test_rows_of_different_profiles_are_no_pair(tmp_path: Path) -> None:
    kept(tmp_path, [linear("coco", 0, 40.0), linear("random_init", 0, 60.0, profile="full")])
    with pytest.raises(BadInput, match="different profiles"):
        compare_rows("coco", "random_init", tmp_path)


def test_the_command_prints_text_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, [*THREE, make("coco_two_loss", "imagenet_linear", 0, metrics={"top1_percent": 30.0})])
    words = ["compare", "coco_two_loss", "random_init", "--results-dir", str(tmp_path)]
    assert run(words) == 0
    text = capsys.readouterr().out
    assert "coco_two_loss less random_init, profile mini" in text
    assert "Holm: p corrected over the" in text
    assert run([*words, "--json", "--metric", "miou_percent"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [each["column"]["metric"] for each in values["columns"]] == ["miou_percent"]
    assert values["columns"][0]["effect"] == pytest.approx(4.2)
    assert values == json.loads(json.dumps(content(compare_rows(*words[1:3], tmp_path, metrics=["mIoU"]))))
