"""Published tables from files: any CSV with a study file beside it, and what is said of broken ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from example_records import lines_of, make

from bench.config.studies import studies_of, tables_of
from bench.errors import BadInput
from bench.record import Record, write
from bench.results import frame
from bench.results.formats import render
from bench.results.published import read_published
from bench.results.tables import build_tables, study_sections

REFERENCE = Path(__file__).parents[2] / "results" / "reference"

STUDY = """
source = "a report on flowers, 2020"
[tables.flowers]
title = "Flowers"
file = "flowers.csv"
datasets = ["flowers"]
rows = [
  { column = "set", field = "dataset" },
  { column = "how", field = "method" },
  { column = "net", field = "backbone" },
]
columns = [
  { column = "hits", task = "{dataset}_linear", metric = "hits_percent", factor = 100, header = "hits" },
  { column = "bits", metric = "loss", header = "bits", decimals = 1 },
]
methods = [{ name = "plain", objective = { name = "simclr" } }]
usual = { temperature = 0.1 }
unusual = [{ setting = "temperature", words = "τ = {value:g}" }]
baseline = "plain"
"""
PUBLISHED = "# A comment.\nset,how,net,hits,bits\nflowers,plain,vgg,0.25,3.5\nflowers,other #2,vgg,,4\n"

TRANSFER = """
source = "a report on roads, 2019"
[tables.roads]
title = "Roads"
file = "roads.csv"
rows = [{ column = "weights", field = "pretrain" }]
columns = [{ column = "iou", task = "cityscapes_pspnet", metric = "miou_percent", header = "IoU" }]
gap_notes = ["Another protocol."]
"""


def reference(folder: Path, name: str, study: str, table: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(study, encoding="utf-8")
    (folder / f"{name}.csv").write_text(table, encoding="utf-8")
    return folder


def flower(seed: int, hits: float, objective: str = "simclr") -> Record:
    return make(
        f"flowers_{objective}",
        "flowers_linear",
        seed,
        dataset="flowers",
        pretrain_set="flowers",
        data={"flowers": "d" * 16},
        profile="full",
        metrics={"hits_percent": hits},
        pretrain_metrics={"loss": 4.0},
        settings={"pretrain": {"objective": {"name": objective}}, "downstream": {}},
        recipe=objective,
    )


def test_any_published_table_has_sections_and_measured_less_published(tmp_path: Path) -> None:
    records = [flower(0, 20.0), flower(1, 22.0), flower(0, 30.0, "byol")]
    sections = build_tables(records, reference(tmp_path, "flowers", STUDY, PUBLISHED))
    assert [section.key for section in sections] == ["flowers", "flowers_gap"]
    text = render(sections, "markdown")
    assert [line.replace(" ", "") for line in text.splitlines() if line.startswith("| ")] == [
        "|Dataset|Method|Backbone|hits|bits|",
        "|flowers|plain†|vgg|25.00|3.5|",
        "|flowers|plain|resnet50|21.00±1.41(2)|4.0±0.0(2)|",
        "|flowers|other#2†|vgg|–|4.0(+0.5)|",
        "|flowers|flowers_byol|resnet50|30.00(1)(+9.00?)|4.0(1)(0.0?)|",
        "|Dataset|Method|Backbone|hits|bits|",
        "|flowers|plain|resnet50lessvgg|−4.00±1.41(2)|+0.5±0.0(2)|",
    ]
    assert "By hits on flowers: no pair judged" in text
    assert "† Published in a report on flowers, 2020; not measured here." in text


def test_measured_less_published_marks_what_other_code_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "stages_of_other_code", lambda records: [("pretrain", "linear"), ("linear",)])
    _, gap = build_tables([flower(0, 20.0), flower(1, 22.0)], reference(tmp_path, "flowers", STUDY, PUBLISHED))
    assert "−4.00 ± 1.41 (2) §" in render([gap], "markdown")
    assert any("flowers plain, hits: pretrain of 1, linear of 2 of 2 runs" in note for note in gap.notes)


def test_a_published_transfer_table_joins_ours(tmp_path: Path) -> None:
    folder = reference(tmp_path, "roads", TRANSFER, "weights,iou\ncoco,60\nnone of ours,50\n")
    record = make("coco", "cityscapes_pspnet", 0, metrics={"miou_percent": 64.0}, profile="full")
    full, gap = build_tables([record], folder)
    assert [row.leading for row in full.rows] == [
        ("coco", "coco", "resnet50"),
        ("–", "coco", "–"),
        ("–", "none of ours", "–"),
    ]
    assert (gap.title, gap.key, gap.notes) == ("Roads: measured less published", "roads_gap", ("Another protocol.",))
    (row,) = gap.rows
    assert row.leading == ("coco", "coco", "resnet50")
    assert [cell.summary.mean for cell in row.cells if cell is not None] == [4.0]


def test_a_results_folder_brings_its_tables(tmp_path: Path) -> None:
    write(flower(0, 20.0), tmp_path / "records")
    reference(tmp_path / "reference", "flowers", STUDY, PUBLISHED)
    text = study_sections(tmp_path)
    assert text.startswith("# Results on flowers\n")
    assert "## Flowers: measured less published" in text


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("title = ", "titel = ", r"flowers\.toml .*tables\.flowers\.titel: Extra inputs are not permitted"),
        ('metric = "loss"', 'metrik = "loss"', r"tables\.flowers\.columns\.1\.metric: Field required"),
        ('"method"', '"run"', r"tables\.flowers\.rows\.1\.field: Input should be 'dataset'"),
        ('column = "net"', 'column = "how"', r"column 'how' is named twice"),
        ('"{dataset}_linear"', '"flowers_linear"', r"task 'flowers_linear' of column 'hits' .* begins with {dataset}_"),
        ("{value:g}", "{value:", r"tables\.flowers\.unusual\.0\.words: .* is no text with {value} in it"),
        ("decimals = 1", 'against = "los"', r"against = 'los' is no column of this table"),
        ('datasets = ["flowers"]', "", r"a table without datasets has the row fields pretrain_set, pretrain, backbone"),
        ('title = "Flowers"', "", r"needs a title"),
        ("[tables.flowers]", "[tables.flowers", r"flowers\.toml is not a readable study file .*line 3.*; correct it"),
        ('"flowers.csv"', '"other.csv"', r"names other\.csv, which is not beside it"),
        ("[tables.flowers]", "[tables.transfer]", r"flowers\.toml and .*deck\.toml both have a table 'transfer'"),
    ],
)
def test_a_broken_study_file_is_named_with_its_key(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in STUDY
    reference(tmp_path, "flowers", STUDY.replace(old, new), PUBLISHED)
    with pytest.raises(BadInput, match=sentence) as error:
        tables_of(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            "set,how,net\nflowers,plain,vgg\n",
            r"flowers\.csv has other columns than bits, hits, how, net, set; correct it",
        ),
        (PUBLISHED.replace("0.25", "a quarter"), r"flowers\.csv holds 'a quarter' where a number belongs"),
        (PUBLISHED.replace("0.25", "inf"), r"flowers\.csv holds 'inf' where a number belongs"),
        (PUBLISHED.replace("0.25", "-1e999"), r"flowers\.csv holds '-1e999' where a number belongs"),
        (PUBLISHED.replace("0.25", "nan"), r"flowers\.csv holds 'nan' where a number belongs"),
        (PUBLISHED + "flowers,plain,vgg,1,2,3\n", r"flowers\.csv is not a readable CSV file .*line 4"),
        ("# Nothing.\n", r"flowers\.csv is not a readable CSV file"),
    ],
)
def test_a_broken_csv_file_is_named(tmp_path: Path, table: str, sentence: str) -> None:
    reference(tmp_path, "flowers", STUDY, table)
    with pytest.raises(BadInput, match=sentence) as error:
        read_published(tables_of(tmp_path)["flowers"], tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("objective", "name"),
    [
        ({"name": "simclr"}, "plain"),
        ({"name": "simclr", "temperature": 0.25}, "plain (τ = 0.25)"),
        ({"name": "simclr", "temperature": "learned"}, "plain (temperature=learned)"),
        ({"name": "byol", "temperature": 0.25}, None),
    ],
)
def test_methods_are_named_by_their_settings(tmp_path: Path, objective: dict[str, Any], name: str | None) -> None:
    assert tables_of(reference(tmp_path, "flowers", STUDY, PUBLISHED))["flowers"].method(objective) == name


def test_the_study_file_in_the_readme_works_as_it_stands(tmp_path: Path) -> None:
    _, after = (REFERENCE / "README.md").read_text(encoding="utf-8").split("```toml\n")
    reference(tmp_path, "flowers", after.partition("```")[0], "set,how,net,accuracy\nflowers,plain,vgg,0.5\n")
    record = flower(0, 20.0).model_copy(update={"metrics": {"top1_percent": 51.0}})
    _, gap = build_tables([record], tmp_path)
    assert [line["top-1"] for line in lines_of([gap], "flowers_gap")] == ["+1.00 (1)"]


def test_what_only_a_table_with_datasets_has_is_refused(tmp_path: Path) -> None:
    reference(tmp_path, "roads", TRANSFER + 'baseline = "coco"\n', "weights,iou\n")
    with pytest.raises(BadInput, match=r"tables\.roads: baseline is for tables with datasets; leave it out"):
        tables_of(tmp_path)


def test_shipped_studies_have_their_names(tmp_path: Path) -> None:
    assert list(studies_of(tmp_path)) == [
        *("deck-small", "loss2-short"),
        *("positive-control", "positive-control-photographs", "positive-control-resnet50"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "cityscapes_pspnet",
            "cityscapes_pspent",
            "table roads names the unknown task 'cityscapes_pspent'; did",
        ),
        (
            "miou_percent",
            "miuo_percent",
            "table roads names the metric 'miuo_percent', which cityscapes_pspnet does not",
        ),
    ],
)
def test_a_column_of_a_mistyped_task_or_metric_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    record = make("coco", "cityscapes_pspnet", 0, metrics={"miou_percent": 60.0, "aacc_percent": 1.0}, profile="full")
    table = "weights,iou\ncoco,65\n"
    build_tables([record], reference(tmp_path, "roads", TRANSFER, table))
    with pytest.raises(BadInput, match=sentence):
        build_tables([record], reference(tmp_path, "roads", TRANSFER.replace(old, new), table))
    # A task of which nothing is known yet may be somebody's own.
    build_tables([record], reference(tmp_path, "roads", TRANSFER.replace("cityscapes_pspnet", "depth"), table))
