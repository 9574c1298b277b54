"""Which records are of one trunk, and how tables show trunks that were measured by several seeds of the task."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from example_records import digest, linear, lines_of, make

from bench.record import Record
from bench.results.formats import render
from bench.results.frame import without_repeats
from bench.results.tables import build_tables
from bench.results.trunks import by_trunk, trunks_of

NONE = Path("no such folder")
FIXED: dict[str, Any] = {"pretrain": {"epochs": 0, "init": {"recipe": None, "checkpoint": "weights.pth"}}}


def run(seed: int, task_seed: int | None, top1: float, pretrain: str = "coco", **changes: Any) -> Record:
    """A result of the linear task by a seed of its own."""
    record = linear(pretrain, seed, top1, **changes)
    stage = digest(record.fingerprints.stage, task_seed)
    prints = record.fingerprints.model_copy(update={"stage": stage})
    return record.model_copy(update={"task_seed": task_seed, "fingerprints": prints})


def fixed(seed: int, top1: float, **changes: Any) -> Record:
    """A result of a checkpoint that is not trained, by an older version, which had one seed for both."""
    return run(seed, None, top1, "checkpoint", settings={**FIXED, "downstream": {}}, **changes)


NESTED = [
    *(run(0, t, v) for t, v in ((None, 50.0), (1, 51.0), (2, 52.0))),
    *(run(1, t, v) for t, v in ((0, 53.0), (None, 54.0), (2, 55.0))),
    *(run(seed, None, v, "random_init") for seed, v in enumerate((10.0, 11.0))),
]


def top1(records: list[Record]) -> dict[str, str]:
    """{row: text of its cell}."""
    return {line["Pretrain"]: line["ImageNet acc"] for line in lines_of(build_tables(records, NONE), "mini")}


def test_seeds_are_trunks_unless_their_weights_are_the_same() -> None:
    a, b = "a" * 64, "b" * 64
    trained = [run(seed, None, 1.0, trunk=trunk) for seed, trunk in ((0, a), (1, b), (2, None))]
    assert trunks_of(trained) == [0, 1, 2]
    assert trunks_of([run(seed, None, 1.0, trunk=trunk) for seed, trunk in ((0, a), (1, b), (2, a))]) == [0, 1, 0]


def test_a_checkpoint_that_is_not_trained_is_one_trunk_in_older_records_too() -> None:
    assert trunks_of([fixed(seed, 1.0) for seed in (4, 2, 3)]) == [2, 2, 2]
    settings = {"pretrain": {"epochs": 5, "init": {"checkpoint": "weights.pth"}}, "downstream": {}}
    assert trunks_of([run(seed, None, 1.0, settings=settings) for seed in (0, 1)]) == [0, 1]  # trained from one


@pytest.mark.parametrize(("subset", "kept"), [(500, 3), (None, 1)])
def test_norms_on_images_that_a_seed_draws_make_no_other_trunks_of_a_checkpoint(subset: int | None, kept: int) -> None:
    """Each draw is another measurement of the same weights, as by another seed of the task."""
    settings = {
        "pretrain": FIXED["pretrain"] | {"norm_statistics": "data", "subset": subset},
        "downstream": {"subset": None},
    }
    records = [
        make("checkpoint", "imagenet_knn", s, metrics={"top1_percent": 30.0 + s}, settings=settings, trunk=str(s) * 64)
        for s in range(3)
    ]
    assert trunks_of(records) == [0, 0, 0]
    assert len(without_repeats(records)) == kept
    (line,) = lines_of(build_tables(records, NONE), "mini")
    assert line["imagenet_knn top-1"] == ("31.00 ± 1.00 (1×3)" if kept == 3 else "30.00 (1)")  # of alike ages any one
    # Of random weights each seed draws others, whatever their norms are measured on.
    own = {"pretrain": settings["pretrain"] | {"init": None}, "downstream": {}}
    assert trunks_of([make("random_norms", "imagenet_knn", s, settings=own) for s in range(3)]) == [0, 1, 2]


def test_a_record_that_is_left_out_still_tells_that_others_are_of_one_trunk() -> None:
    """Three records from before hashes, and the same three seeds again, by one seed of the task: the same weights."""
    same = [run(seed, 7, 60.0, trunk="a" * 64) for seed in range(3)]
    records = [*(run(seed, None, 50.0 + seed) for seed in range(3)), *same]
    assert len(without_repeats(records)) == 4  # of `same` the newest alone
    assert top1(records)["coco"] == "53.25 ± 4.57 (1×4)"


def test_a_trunk_that_another_task_tells_is_one_in_all() -> None:
    told = [make("coco", "imagenet_knn", s, metrics={"top1_percent": 30.0}, trunk="a" * 64) for s in range(3)]
    assert top1([*(run(seed, None, 50.0 + seed) for seed in range(3)), *told])["coco"] == "51.00 ± 1.00 (1×3)"


def test_the_seed_of_a_task_of_another_kind_counts() -> None:
    """What a kind from outside draws is not known here, so that each seed may be another result."""
    assert len(without_repeats([run(0, t, 40.0 + t, kind="outside.py:Kind") for t in range(3)])) == 3


def test_what_two_records_tell_of_a_trunk_goes_together() -> None:
    """Seed 1 has the hash in one of its records, and so has seed 3; seed 2 joins them by another hash of seed 3."""
    a, b = "a" * 64, "b" * 64
    told = [(1, None), (1, a), (3, a), (3, b), (2, b), (4, None)]
    records = [run(seed, place, 1.0, trunk=trunk) for place, (seed, trunk) in enumerate(told)]
    assert trunks_of(records) == [1, 1, 1, 1, 1, 4]


def test_rows_do_not_share_trunks() -> None:
    same = "a" * 64
    assert trunks_of([run(3, None, 1.0, name, trunk=same) for name in ("coco", "coco_byol")]) == [3, 3]
    assert trunks_of([run(5, None, 1.0, trunk=same), run(2, None, 1.0, "coco_byol", trunk=same)]) == [5, 2]


def test_values_stand_together_by_trunk() -> None:
    assert by_trunk([3, 1, 3], [1.0, 2.0, 3.0]) == ((1.0, 3.0), (2.0,))


def test_a_cell_shows_trunks_and_task_seeds() -> None:
    # Means 51 and 54, so that sd 3 / sqrt 2 between; within each 1.
    texts = top1(NESTED)
    assert texts["coco"] == "**52.50** ± 2.12 (2×3, within 1.00) +42.00 ↑"
    assert texts["random_init"] == "10.50 ± 0.71 (2)"


def test_differently_many_task_seeds_are_counted() -> None:
    assert top1(NESTED[1:])["coco"].startswith("**52.75** ± 1.77 (2, 5 runs, within 0.91)")


def test_a_fixed_checkpoint_by_three_seeds_is_one_trunk_and_its_verdict_is_about_these_weights() -> None:
    records = [*(fixed(seed, 40.0 + seed) for seed in range(3)), *NESTED]
    texts = top1(records)
    # Bold, as two trunks of coco do not tell it apart; they are highest themselves, and so bold whatever it is.
    assert texts["checkpoint"] == "**41.00**¶ ± 1.00 (1×3) +30.50 ↑¶"
    assert texts["coco"].startswith("**52.50** ±")
    (section,) = build_tables(records, NONE)
    (note,) = [note for note in section.notes if note.startswith("¶")]
    assert "task: checkpoint. What is said of it there is about these weights, and not about the method" in note
    assert "Trunks a cell: 1 to 2, each measured by 1 to 3 seeds of the task." in section.notes
    assert any("checkpoint > random_init¶ (p = " in note for note in section.notes)
    assert r"\textbf{52.50} $\pm$ 2.12 (2$\times$3, within 1.00)" in render([section], "latex")
    assert r"\textbf{41.00}\P{} $\pm$ 1.00 (1$\times$3) +30.50 $\uparrow$\P{}" in render([section], "latex")
    assert "<strong>52.50</strong> ± 2.12 (2×3, within 1.00)" in render([section], "html")


def test_programs_get_both_spreads_and_both_numbers() -> None:
    records = [*(fixed(seed, 40.0 + seed) for seed in range(3)), *NESTED]
    lines = {row["Pretrain"]: row for row in csv.DictReader(io.StringIO(render(build_tables(records, NONE), "csv")))}
    names = ("between", "within", "n", "values", "verdict", "verdict about")
    got = {row: tuple(line[f"ImageNet acc {name}"] for name in names) for row, line in lines.items()}
    assert got["coco"] == ("2.12132", "1.0", "2", "6", "higher", "methods")
    assert got["checkpoint"] == ("", "1.0", "1", "3", "higher", "weights")
    assert got["random_init"] == ("0.707107", "", "2", "2", "", "")


@pytest.mark.parametrize(("subset", "kept"), [(None, 1), (500, 3)])
def test_a_seed_that_decides_nothing_gives_one_value_a_trunk(subset: int | None, kept: int) -> None:
    """Neighbours are looked up in the whole training set, or in images that the seed draws."""
    settings = {**FIXED, "downstream": {"subset": subset}}
    records = [
        make("checkpoint", "imagenet_knn", s, metrics={"top1_percent": 30.0}, settings=settings) for s in range(3)
    ]
    assert len(without_repeats(records)) == kept
    # Trained with each seed, they are three trunks whatever the task draws.
    assert (
        len(without_repeats([make("coco", "imagenet_knn", s, metrics={"top1_percent": 30.0}) for s in range(3)])) == 3
    )


def test_the_same_task_seed_on_the_same_weights_counts_once() -> None:
    """Asked for as seed 0 and as seed 1, a checkpoint gives the same number twice."""
    records = [
        run(seed, t, 40.0 + t, "checkpoint", settings={**FIXED, "downstream": {}}) for seed in (0, 1) for t in (0, 1, 2)
    ]
    assert len(without_repeats(records)) == 3


def test_a_record_is_named_by_both_seeds() -> None:
    record = run(0, 3, 50.0)
    assert record.file_name == f"coco__imagenet_linear__s0t3__{record.fingerprints.stage[:12]}.json"
    assert run(0, None, 50.0).file_name.startswith("coco__imagenet_linear__s0__")
    assert (record.own_seed, record.seeds) == (3, "seed 0 task seed 3")
    older = run(0, None, 50.0)
    assert not {"task_seed", "trunk"} & set(older.model_dump())
    assert Record.model_validate_json(record.model_copy(update={"trunk": "a" * 64}).model_dump_json()).task_seed == 3
