"""The deck's table of small images: which record becomes which row, and differences worked out by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import example_records
import pytest
from example_records import lines_of

from bench.record import Record, write
from bench.results import definitions
from bench.results.formats import render
from bench.results.sections import Section
from bench.results.tables import build_tables, check_tables, write_tables

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
NONE = Path("no such folder")

LOSS1 = {"name": "byol", "crops": 0}
TWO = {"name": "two_loss", "loss2": "logistic", "loss1_weight": 1.0, "crops": 0}
ALONE = TWO | {"loss1_weight": 0.0}


def make(
    objective: dict[str, Any],
    task: str,
    seed: int,
    metrics: dict[str, float],
    losses: dict[str, float] | None = None,
    *,
    dataset: str = "cifar10",
    pretrain: str = "",
    protocol: str = "p",
    profile: str = "full",
    **settings: Any,
) -> Record:
    values = {"objective": objective, "view_size": 32, "epochs": 1000, "batch_size": 512, "subset": None, "init": None}
    values |= {"stem": "cifar"} | settings
    pretrain = pretrain or f"{dataset}_{objective['name']}_{objective.get('loss1_weight')}"
    return example_records.make(
        pretrain,
        f"{dataset}_{task}",
        seed,
        recipe=repr((objective, settings)),
        protocol=protocol,
        pretrain_set="none" if pretrain == "random_init" else dataset,
        arch="resnet18",
        dataset=dataset,
        profile=profile,
        metrics=metrics,
        pretrain_metrics=losses or {},
        settings={"pretrain": values, "downstream": {"epochs": 500, "size": 32}},
    )


def cell(
    objective: dict[str, Any], seed: int, acc: float, knn: float, losses: dict[str, float], **more: Any
) -> list[Record]:
    return [
        make(objective, "linear_adam", seed, {"top1_percent": acc, "top5_percent": 99.0 + seed / 10}, losses, **more),
        make(objective, "knn5", seed, {"top1_percent": knn, "k": 5}, losses, **more),
    ]


THREE = [
    *(r for s, v in enumerate((90.0, 91.0, 92.0)) for r in cell(LOSS1, s, v, 88.0, {"loss": 0.25})),
    *(
        r
        for s, v in enumerate((94.0, 95.0, 96.0))
        for r in cell(TWO, s, v, 88.5, {"loss": 0.78, "loss1": 0.27, "loss2": 0.51})
    ),
    *(
        r
        for s, v in enumerate((90.5, 91.0, 92.5))
        for r in cell(ALONE, s, v, 85.0, {"loss": 0.52, "loss1": 2.0, "loss2": 0.52})
    ),
]


def table(sections: list[Section], key: str = "small_images") -> dict[tuple[str, str, str], dict[str, str]]:
    """{(data set, method, epochs): {column: text}} of a section."""
    return {(line["Dataset"], line["Method"], line["Epochs"]): line for line in lines_of(sections, key)}


def test_the_decks_table_by_hand() -> None:
    # loss1 alone: mean 91, deviation 1; both: 95 and 1, so t = 4 / sqrt(2/3) = 4.9 at 4 degrees of freedom, p = .008.
    rows = table(build_tables(THREE, NONE))
    assert list(rows) == [("cifar10", name, "1000") for name in ("byol+loss1", "byol+two-loss", "byol+loss2")]
    loss1, both, alone = rows.values()
    assert list(loss1) == [
        *("Dataset", "Image size", "Method", "Epochs", "Backbone", "Batch size"),
        *("acc", "acc 5", "acc kNN", "loss", "loss1", "loss2"),
    ]
    assert [loss1[head] for head in ("Image size", "Backbone", "Batch size")] == ["32", "resnet18 (cifar stem)", "512"]
    assert loss1["acc"] == "91.00 ± 1.00 (3)"
    assert both["acc"] == "**95.00** ± 1.00 (3) (+4.00 ↑)"
    assert alone["acc"] == "91.33 ± 1.04 (3) (+0.33 ≈)"
    assert both["acc kNN"] == "88.50 ± 0.00 (3) (+0.50 ?)"
    assert both["acc 5"] == "**99.10** ± 0.10 (3) (0.00 ≈)"
    # BYOL logs one loss; loss1 of two losses is compared with it, sums are not.
    assert (loss1["loss"], loss1["loss1"]) == ("0.2500 ± 0.0000 (3)", "–")
    assert both["loss"] == "0.7800 ± 0.0000 (3)"
    assert both["loss1"] == "0.2700 ± 0.0000 (3) (+0.0200 ?)"
    assert alone["loss2"] == "0.5200 ± 0.0000 (3)"


def test_the_notes_say_which_rows_differ() -> None:
    (section,) = build_tables(THREE, NONE)
    line = next(note for note in section.notes if note.startswith("By acc on cifar10, 1000 epochs"))
    assert "byol+two-loss > byol+loss1 (p = 0.024)" in line  # .0080, the lowest of three pairs
    assert "not distinguishable: byol+loss1 ≈ byol+loss2" in line
    assert any("cifar10 byol+two-loss: cifar10_two_loss_1.0" in note for note in section.notes)
    assert any(note.startswith("cifar10_knn5: protocol ") for note in section.notes)


def test_published_rows_have_the_decks_own_differences() -> None:
    rows = table(build_tables([], REFERENCE))
    assert rows["stl10", "byol+two-loss †", "2000"]["acc"] == "91.08 (−0.66)"
    assert rows["cifar100", "byol+loss2 †", "1000"]["acc kNN"] == "47.24 (−14.40)"
    assert rows["cifar100", "byol+two-loss †", "1000"]["loss1"] == "0.3831 (−0.0084)"
    assert rows["cifar10", "byol+two-loss †", "1000"]["loss"] == "0.7711"


def test_measured_rows_stand_below_the_published_ones_and_have_a_table_less_those() -> None:
    sections = build_tables(THREE, REFERENCE)
    assert [section.key for section in sections] == ["full", "small_images", "small_images_gap"]
    rows = list(table(sections))
    assert rows[5:] == [
        (*("cifar10", f"{name}{mark}"), "1000")
        for name in ("byol+loss1", "byol+two-loss", "byol+loss2")
        for mark in (" †", "")
    ]
    gap = table(sections, "small_images_gap")
    assert list(gap) == [("cifar10", name, "1000") for name in ("byol+loss1", "byol+two-loss", "byol+loss2")]
    both = gap["cifar10", "byol+two-loss", "1000"]
    assert both["acc"] == "+3.08 ± 1.00 (3)"  # 95.00 − 91.92
    assert both["acc kNN"] == "−1.36 ± 0.00 (3)"  # 88.50 − 89.86
    assert both["loss"] == "+0.0089 ± 0.0000 (3)"  # .7800 − .7711
    assert both["loss1"] == "–"  # the deck gives none
    assert any("the deck states neither its evaluation protocol" in note for note in sections[-1].notes)


def test_other_schedules_are_never_compared() -> None:
    records = [*cell(LOSS1, 0, 90.0, 88.0, {}, epochs=200), *cell(TWO, 0, 91.0, 88.0, {}, epochs=1000)]
    rows = table(build_tables(records, NONE))
    assert rows["cifar10", "byol+two-loss", "1000"]["acc"] == "91.00 (1)"
    sections = build_tables(records, REFERENCE)
    assert [key for key in table(sections, "small_images_gap") if "less" in key[2]] == [
        ("cifar10", "byol+loss1", "200 less 1000")
    ]
    # Of two loss1 rows alike in the table, the one that differs in the objective alone.
    records = [
        *cell(LOSS1, 0, 90.0, 88.0, {}, lr=1),
        *cell(LOSS1, 0, 80.0, 88.0, {}, lr=2),
        *cell(TWO, 0, 91.0, 88.0, {}, lr=2),
    ]
    rows = table(build_tables(records, NONE))
    assert rows["cifar10", "byol+two-loss", "1000"]["acc"] == "91.00 (1) (+11.00 ?)"
    assert sum(" @" in method for _, method, _ in rows) == 2


def test_profiles_and_subsets_are_kept_apart() -> None:
    mini = cell(TWO, 0, 40.0, 30.0, {}, profile="mini", subset=512, epochs=5)
    sections = build_tables([*THREE, *mini], REFERENCE)
    assert [s.key for s in sections] == ["full", "small_images", "small_images_gap", "small_images_mini"]
    row = table(sections, "small_images_mini")["cifar10", "byol+two-loss", "5"]
    assert (row["Subset"], row["acc"]) == ("512", "40.00 (1)")
    assert "Subset" not in next(iter(table(sections).values()))


@pytest.mark.parametrize(
    ("objective", "more", "method"),
    [
        (TWO | {"loss2": "dense_byol"}, {}, "byol+two-loss (dense_byol)"),
        (ALONE | {"loss2": "align_uniform"}, {}, "byol+loss2 (align_uniform)"),
        (TWO | {"loss1_weight": 0.5}, {}, "byol+two-loss (loss1 × 0.5)"),
        (TWO | {"loss2_weight": 2.0}, {}, "byol+two-loss (loss2 × 2)"),
        (TWO | {"loss2_weight": 0.0}, {}, "byol+loss1 (loss2 logged)"),
        (TWO | {"loss2_weight": 0.0, "loss2": "least_squares"}, {}, "byol+loss1 (least_squares, loss2 logged)"),
        (LOSS1 | {"crops": 2}, {"pretrain": "mine"}, "mine"),
        (LOSS1, {"pretrain": "continued", "init": {"recipe": "coco"}}, "continued"),
        ({"name": "simclr"}, {"pretrain": "cifar10_simclr"}, "cifar10_simclr"),
        ({"name": "random_init"}, {"pretrain": "random_init", "epochs": 0}, "random_init"),
        (LOSS1, {"pretrain": "norms", "epochs": 0, "norm_statistics": "start"}, "byol+loss1"),
        (LOSS1, {"pretrain": "norms", "epochs": 0, "norm_statistics": "data"}, "norms"),
    ],
)
def test_rows_are_named_by_what_was_trained(objective: dict[str, Any], more: dict[str, Any], method: str) -> None:
    (row,) = table(build_tables(cell(objective, 0, 50.0, 40.0, {}, **more), NONE)).values()
    assert row["Method"] == method


def test_a_controls_size_is_that_of_the_task() -> None:
    records = cell({"name": "random_init"}, 0, 50.0, 40.0, {}, pretrain="random_init", epochs=0, view_size=224)
    (row,) = table(build_tables(records, NONE)).values()
    assert (row["Image size"], row["Batch size"]) == ("32", "–")
    measured = [r.model_copy(update={"pretrain_set": "cifar10"}) for r in records]  # its norms were, on images
    (row,) = table(build_tables(measured, NONE)).values()
    assert (row["Image size"], row["Batch size"]) == ("32", "–")


def test_two_protocols_of_a_data_set_have_a_column_each() -> None:
    other = make(TWO, "linear_adam", 0, {"top1_percent": 50.0, "top5_percent": 60.0}, protocol="q")
    far = make(LOSS1, "linear_adam", 0, {"top1_percent": 70.0, "top5_percent": 80.0}, dataset="stl10")
    sections = build_tables([*THREE, other, far], NONE)
    rows = table(sections)
    row = rows["cifar10", "byol+two-loss", "1000"]
    heads = [head for head in row if head.startswith("acc ") and "[" in head and " 5" not in head[:6]]
    assert len(heads) == 2
    assert sorted(row[head].split(" ± ")[0].split(" (")[0].strip("*") for head in heads) == ["50.00", "95.00"]
    assert row["acc"] == "–"
    # Published values stand in the column without a protocol, and in no other.
    published = table(build_tables([*THREE, other], REFERENCE))["cifar10", "byol+two-loss †", "1000"]
    assert published["acc"] == "91.92 (+0.33)"
    assert [published[head] for head in heads] == ["–", "–"]
    assert rows["stl10", "byol+loss1", "1000"]["acc"] == "70.00 (1)"  # its only protocol needs no hash


def test_further_tasks_get_columns_and_transfer_keeps_to_its_own() -> None:
    records = [*THREE, make(TWO, "knn", 0, {"top1_percent": 89.0}), make(LOSS1, "knn", 0, {"top1_percent": 87.0})]
    (section,) = build_tables(records, NONE)
    assert section.key == "small_images"
    assert table([section])["cifar10", "byol+two-loss", "1000"]["knn top-1"] == "89.00 (1) (+2.00 ?)"


def test_csv_has_differences_and_protocols() -> None:
    lines = list(csv.DictReader(io.StringIO(render(build_tables(THREE, REFERENCE), "csv"))))
    small = [line for line in lines if line["section"] == "small_images" and line["Dataset"] == "cifar10"]
    published, measured = small[2:4]
    assert (published["published"], published["acc difference"], published["acc verdict"]) == ("yes", "0.33", "")
    assert (measured["acc difference"], measured["acc verdict"], measured["acc n"]) == ("4.0", "higher", "3")
    assert measured["acc protocol"] == THREE[0].fingerprints.protocol
    assert measured["loss1 difference"] == "0.02"


def test_all_formats_are_written_and_check(tmp_path: Path) -> None:
    for record in THREE:
        write(record, tmp_path / "records")
    files = write_tables(tmp_path)
    assert check_tables(tmp_path) == []
    assert all("byol+two-loss" in file.read_text() for file in files if file.stem == "transfer")
    assert "measured less published" in (tmp_path / "tables" / "transfer.tex").read_text()


def test_what_is_worse_than_random_weights_is_not_bold() -> None:
    more: dict[str, Any] = {"pretrain": "random_init", "epochs": 0, "view_size": 224}
    records = []
    for seed, noise in enumerate((-0.5, 0.1, 0.4)):
        records += cell({"name": "random_init"}, seed, 60.0 + noise, 20.0 + noise, {}, **more)
        records += [*cell(LOSS1, seed, 50.0 - noise, 40.0 - noise, {}), *cell(TWO, seed, 55.0 + noise, 30.0, {})]
    rows = table(build_tables(records, NONE))
    bold = {(row["Method"], column) for row in rows.values() for column in ("acc", "acc kNN") if "**" in row[column]}
    assert bold == {("random_init", "acc"), ("byol+loss1", "acc kNN")}


def test_differences_are_to_the_baseline_of_todays_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "definition_of", {"byol": 2, "two_loss": 1}.__getitem__)
    older, two = cell(LOSS1, 0, 80.0, 70.0, {}), cell(TWO, 0, 91.0, 88.0, {})
    assert table(build_tables([*older, *two], NONE))["cifar10", "byol+two-loss", "1000"]["acc"].endswith("(+11.00 ?)")
    recipe = {"recipe": example_records.digest("today")}
    today = [
        record.model_copy(
            update={
                "definitions": {"byol": 2},
                "metrics": {"top1_percent": 90.0},
                "fingerprints": record.fingerprints.model_copy(update=recipe),
            }
        )
        for record in older
    ]
    sections = build_tables([*older, *today, *two], REFERENCE)
    rows = table(sections)
    assert rows["cifar10", "byol+two-loss", "1000"]["acc"] == "91.00 (1) (+1.00 ?)"
    (marked,) = [method for _, method, _ in rows if method.endswith("‡")]
    assert rows["cifar10", marked, "1000"]["acc"].startswith("80.00 (1)")
    said = f"‡ Pretrained by an older definition of the objective: cifar10 {marked[:-2]} (byol: as of definition 1, "
    assert all(section.notes[0 if "gap" in section.key else 3].startswith(said) for section in sections[1:])
    assert "‡" in " ".join(method for _, method, _ in table(sections, "small_images_gap"))


# ------------------------------------------------------------------------------- a table of certain networks alone


def control(method: str, seed: int, top1: float, arch: str = "resnet18w16") -> Record:
    """A record of the positive control, or the same by another network."""
    name = "random_init" if method == "random_init" else f"control_{method}"
    epochs = {"epochs": 0} if name == "random_init" else {}
    settings = {"pretrain": name, "stem": "stl", "arch": arch, **epochs}
    record = make({"name": method}, "knn", seed, {"top1_percent": top1}, **settings)
    return record.model_copy(update={"arch": arch})


def test_results_of_a_tables_networks_stand_there_alone_with_differences_to_random_weights() -> None:
    values = {"random_init": (30.0, 30.2, 30.4), "simclr": (54.8, 55.0, 55.2)}
    records = [control(method, seed, v) for method, several in values.items() for seed, v in enumerate(several)]
    records.append(control("simclr", 0, 70.0, arch="resnet18"))
    sections = {section.key: section for section in build_tables(records, REFERENCE)}
    rows = {row.leading[1]: row for row in sections["positive_control"].rows}
    assert list(rows) == ["SimCLR", "random_init"]
    knn, linear = rows["SimCLR"].cells
    assert linear is None
    assert knn is not None
    assert knn.verdict is not None
    assert (round(knn.difference or 0, 6), knn.verdict.word) == (24.8, "higher")
    small = [row for row in sections["small_images"].rows if not row.published]
    assert [row.name for row in small] == ["control_simclr"]


@pytest.mark.parametrize(("other", "sign"), [("cifar10", "≈"), ("cifar100", "↑")])
def test_verdicts_are_corrected_over_the_methods_of_one_data_set(other: str, sign: str) -> None:
    # By Welch's test p is .0080 for two losses, .029 for loss2 alone and .29 for the other method. Where that is a
    # third test, loss2's p counts twice; on another data set, once.
    rows = [
        ("cifar10", LOSS1, (60.0, 61.0, 62.0)),
        ("cifar10", TWO, (64.0, 65.0, 66.0)),
        ("cifar10", ALONE, (62.9, 63.5, 64.1)),
        *([("cifar100", LOSS1, (60.0, 61.0, 62.0))] if other == "cifar100" else []),
        (other, {"name": "simclr"}, (61.0, 62.0, 63.1)),
    ]
    made = table(
        build_tables(
            [
                make(objective, "linear_adam", seed, {"top1_percent": value}, dataset=dataset)
                for dataset, objective, values in rows
                for seed, value in enumerate(values)
            ],
            NONE,
        )
    )
    assert made["cifar10", "byol+loss2", "1000"]["acc"].endswith(f"(+2.50 {sign})")
    assert made["cifar10", "byol+two-loss", "1000"]["acc"].endswith("(+4.00 ↑)")
    (of_other,) = [line for (dataset, *_), line in made.items() if dataset == other and "(+1.03" in line["acc"]]
    assert of_other["acc"].endswith("(+1.03 ≈)")
