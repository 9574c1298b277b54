"""Rows and columns of tables that are chosen on the command line: which, in what order, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_records import THREE, linear, pspnet

from bench.errors import BadInput
from bench.record import Record
from bench.results.parts import build_parts
from bench.results.resources import build_resources
from bench.results.sections import Section
from bench.results.selection import Selection, in_given_order, selected_parts, selected_sections

NONE = Path("no such folder")
# One of another network, and one of another profile.
RECORDS = [
    *THREE,
    linear("coco_small", 0, 33.0, arch="resnet18"),
    pspnet("coco", 0, 70.0, profile="smoke"),
]


def shown(selection: Selection, records: list[Record] = RECORDS) -> list[Section]:
    parts = selected_parts(build_parts(records, NONE), selection)
    return [section for part in parts for section in in_given_order(part.sections(), selection)]


def names(section: Section) -> list[str]:
    return [row.name for row in section.rows]


def headers(section: Section) -> list[str]:
    return [column.header for column in section.columns]


def test_rows_and_columns_stand_in_the_order_in_which_they_are_named() -> None:
    (section,) = shown(Selection(rows=("coco_two_loss", "random_init"), columns=("mAcc", "mIoU"), profiles=("mini",)))
    assert names(section) == ["coco_two_loss", "random_init"]
    assert headers(section) == ["mAcc", "mIoU"]
    assert [cell.summary.mean for row in section.rows if (cell := row.cells[1])] == [pytest.approx(65.2), 61.0]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("mIoU", ["mIoU"]),
        ("miou_percent", ["mIoU"]),
        ("miou", ["mIoU"]),
        ("cityscapes_pspnet", ["aAcc", "mIoU", "mAcc"]),
        ("cityscapes_pspnet mIoU", ["mIoU"]),
        ("m[IA]*", ["mIoU", "mAcc"]),
        ("*linear", ["ImageNet acc"]),
        ("ImageNet acc", ["ImageNet acc"]),
    ],
)
def test_a_column_is_named_by_header_metric_task_or_pattern(word: str, meant: list[str]) -> None:
    assert headers(shown(Selection(columns=(word,), profiles=("mini",)))[0]) == meant


def test_patterns_of_rows_and_a_name_that_looks_like_one() -> None:
    odd = "coco[t=0.1]"
    records = [*THREE, *(pspnet(odd, seed, 50.0 + seed) for seed in (0, 1)), pspnet("cocot", 0, 1.0)]
    assert names(shown(Selection(rows=("*two*", "rand*")), records)[0]) == ["coco_two_loss", "random_init"]
    assert names(shown(Selection(rows=(odd,)), records)[0]) == [odd]  # as a pattern it would mean cocot


def test_a_recipe_is_named_by_its_hash_where_several_share_a_name() -> None:
    records = [linear("coco", 0, 40.0), linear("coco", 0, 60.0, recipe="other")]
    label = f"coco @{records[1].fingerprints.recipe[:8]}"
    (row,) = shown(Selection(rows=(label,)), records)[0].rows
    assert row.label == label
    assert len(shown(Selection(rows=("coco",)), records)[0].rows) == 2


def test_architectures_and_profiles() -> None:
    small, *others = shown(Selection(archs=("resnet18",)))
    assert names(small) == ["coco_small"]
    assert not others
    assert [section.key for section in shown(Selection(profiles=("smoke", "mini")))] == ["mini", "smoke"]
    assert names(shown(Selection(archs=("resnet5*",), profiles=("mini",)))[0]) == [
        "random_init", "coco", "coco_two_loss"
    ]  # fmt: skip


def test_what_has_no_value_is_left_out_unless_asked_for() -> None:
    rows = ("coco_two_loss", "coco_small")
    (section,) = shown(Selection(rows=rows, columns=("mIoU", "aAcc")))
    assert names(section) == ["coco_two_loss"]
    (section,) = shown(Selection(rows=("coco_two_loss",)))
    assert headers(section) == ["aAcc", "mIoU", "mAcc"]
    (section,) = shown(Selection(rows=rows, columns=("mIoU", "ImageNet acc"), profiles=("mini",), empty=True))
    assert names(section) == list(rows)
    assert [[cell is None for cell in row.cells] for row in section.rows] == [[False, True], [True, False]]


def test_bold_is_of_the_rows_that_are_shown_and_verdicts_are_those_of_the_whole_table() -> None:
    # near: 61.5 ± 1, which is not told from random_init's 61 ± 1; both lie far below coco's 65.
    records = [*THREE, *(pspnet("near", seed, 60.5 + seed) for seed in (0, 1, 2))]
    whole = {row.name: row.cells[1] for row in shown(Selection(), records)[0].rows}
    assert {name for name, cell in whole.items() if cell and cell.best} == {"coco", "coco_two_loss"}
    few = {row.name: row.cells[0] for row in shown(Selection(("near", "random_init"), ("mIoU",)), records)[0].rows}
    assert {name for name, cell in few.items() if cell and cell.best} == {"near", "random_init"}
    one = shown(Selection(("coco",), ("mIoU",)), records)[0].rows[0].cells[0]
    assert one is not None
    assert whole["coco"] is not None
    assert one.verdict == whole["coco"].verdict  # Holm's correction is over all rows still
    assert one.verdict is not None
    assert one.verdict.adjusted is not None
    assert one.verdict.p is not None
    assert one.verdict.adjusted > one.verdict.p
    assert not one.best  # alone there is nothing to be better than


def test_notes_are_about_what_is_shown() -> None:
    (section,) = shown(Selection(("coco", "random_init"), ("mIoU",), profiles=("mini",)))
    said = " ".join(section.notes)
    assert "coco > random_init" in said
    assert "two_loss" not in said
    assert "imagenet_linear" not in said
    assert "Differences are to random_init." in shown(Selection(("coco",), ("mIoU",), profiles=("mini",)))[0].notes


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(rows=("coco_towloss",)), "There is no row 'coco_towloss'; did you mean coco_two_loss"),
        (Selection(rows=("xyz",)), "There is no row 'xyz'; bench table shows all"),
        (Selection(columns=("mIou",)), "There is no column 'mIou'; did you mean "),
        (
            Selection(rows=("coco_small",), profiles=("smoke",)),
            "no row 'coco_small' in profile smoke; there is one in profile mini of resnet18.",
        ),
        (
            Selection(rows=("coco_two_loss",), archs=("resnet18",)),
            "no row 'coco_two_loss' of resnet18; there is one in profile mini of resnet50.",
        ),
        (Selection(profiles=("full",)), "Nothing was measured in profile full; there is mini and smoke"),
        (Selection(archs=("resnet34",)), "There is no row of architecture 'resnet34'; did you mean resnet50, resnet18"),
        (Selection(rows=("coco_small",), columns=("mIoU",)), "that fits --rows, --columns together; leave one out"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest_names(selection: Selection, said: str) -> None:
    with pytest.raises(BadInput) as refusal:
        shown(selection)
    assert said in str(refusal.value)
    assert str(refusal.value).count(". ") == 0  # one sentence


def test_without_a_choice_nothing_is_lost() -> None:
    whole = [section for part in build_parts(RECORDS, NONE) for section in part.sections()]
    assert shown(Selection()) == whole


def test_time_and_memory_are_chosen_from_too() -> None:
    seconds = {"pretrain": 5.0, "convert": 1.0, "segmentation": 7.0}
    records = [pspnet(name, 0, 1.0, wall_seconds=seconds) for name in ("coco", "random_init")]
    (section,) = selected_sections(build_resources(records), Selection(rows=("coco",), columns=("cityscapes*", "pre*")))
    assert names(section) == ["coco"]
    assert [cell.summary.mean for cell in section.rows[0].cells if cell] == [7.0, 5.0]
    with pytest.raises(BadInput, match="There is no column 'mIoU'"):
        selected_sections(build_resources(records), Selection(columns=("mIoU",)))
