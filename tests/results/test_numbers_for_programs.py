"""CSV and JSON for programs: long, one line a number; wide, one line a row; formulas that stay text."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from example_records import THREE, linear, pspnet

from bench.made import Hardware
from bench.record import Git
from bench.results.escapes import guarded
from bench.results.formats import render
from bench.results.long_csv import long_csv
from bench.results.parts import build_parts
from bench.results.record_lines import RECORD_COLUMNS as COLUMNS
from bench.results.selection import Selection, selected_parts
from bench.results.tables import build_tables

NONE = Path("no such folder")
REFERENCE = Path(__file__).parents[2] / "results" / "reference"
PROTOCOL = THREE[0].fingerprints.protocol


def long(records: list[Any], *, columns: tuple[str, ...] = (), rows: tuple[str, ...] = ()) -> list[dict[str, str]]:
    parts = selected_parts(build_parts(records, NONE), Selection(rows, columns))
    return list(csv.DictReader(io.StringIO(long_csv(parts, all_metrics=not columns))))


def test_a_long_line_by_hand() -> None:
    record = pspnet(
        "coco",
        1,
        65.25,
        task_seed=4,
        trunk="ab" * 32,
        git=Git(commit="c" * 40, dirty=True),
        hardware=Hardware(cpu="Some CPU", cores=2, memory_gib=8, gpus=["GPU X"]),
        images_skipped=2,
        precision={"segmentation": "bf16"},
    )
    (line,) = long([record], columns=("mIoU",))
    assert tuple(line) == tuple(COLUMNS)
    wanted = {
        "row": "coco", "pretrain_set": "coco", "arch": "resnet50", "profile": "mini", "task": "cityscapes_pspnet",
        "kind": "segmentation", "dataset": "cityscapes", "seed": "1", "task_seed": "4", "metric": "miou", "class": "",
        "value": "65.25", "unit": "percent", "recipe": record.fingerprints.recipe,
        "protocol": record.fingerprints.protocol, "stage": record.fingerprints.stage, "data": "d" * 16,
        "weights": "ab" * 32, "precision": "bf16", "commit": "c" * 40, "changed_code": "yes", "other_code": "",
        "older_definition": "", "interventions": "", "images_skipped": "2", "created": record.created,
        "record": record.file_name,
    }  # fmt: skip
    assert {key: line[key] for key in wanted} == wanted
    assert "GPU X" in line["machine"]
    assert set(line) == {*wanted, "machine"}


def test_the_long_form_has_the_numbers_that_the_table_is_made_of() -> None:
    values: dict[str, list[float]] = {}
    for line in long(THREE, columns=("mIoU",)):
        values.setdefault(line["row"], []).append(float(line["value"]))
    (section,) = build_tables(THREE, NONE)
    place = next(i for i, column in enumerate(section.columns) if column.header == "mIoU")
    for row in section.rows:
        cell = row.cells[place]
        assert cell is not None
        assert fmean(values[row.name]) == pytest.approx(cell.summary.mean, abs=0)
        assert stdev(values[row.name]) == pytest.approx(cell.summary.between)


def test_without_chosen_columns_all_numbers_are_there() -> None:
    lines = long([linear("coco", 0, 40.0), pspnet("coco", 0, 60.0)])
    found = {(line["task"], line["metric"], line["class"]): (line["value"], line["unit"]) for line in lines}
    assert found["imagenet_linear", "best_lr", ""] == ("30.0", "")
    assert found["cityscapes_pspnet", "iou", "road"] == ("1.0", "percent")
    assert ("cityscapes_pspnet", "iou", "bus") not in found  # it never occurred
    assert len(found) == len(lines) == 3 + 4


def test_rows_are_chosen_and_repeats_do_not_count() -> None:
    newer = linear("coco", 0, 50.0, recipe="", created="2025-02-01T00:00:00+00:00", fingerprints=linear(
        "coco", 0, 0.0).fingerprints.model_copy(update={"stage": "f" * 64}))  # fmt: skip
    lines = long([linear("coco", 0, 40.0), newer, linear("byol", 0, 1.0)], columns=("top1",), rows=("coco",))
    assert [(line["row"], line["value"]) for line in lines] == [("coco", "50.0")]


def test_a_wide_line_by_hand() -> None:
    text = render(build_tables(THREE, REFERENCE), "csv-wide")
    lines = list(csv.DictReader(io.StringIO(text)))
    row = next(line for line in lines if line["section"] == "mini" and line["Pretrain"] == "coco_two_loss")
    key = f"cityscapes_pspnet/miou_percent/{PROTOCOL}"
    assert float(row[f"{key} mean"]) == pytest.approx(65.2)
    assert float(row[f"{key} std"]) == pytest.approx(0.37**0.5)
    assert row[f"{key} n"] == "3"
    assert (row["profile"], row["arch"], row["published"]) == ("mini", "resnet50", "no")
    head = [key for key in next(csv.reader(io.StringIO(text))) if key.startswith("cityscapes")]
    assert all(name.endswith((" mean", " std", " n")) for name in head)
    published = next(line for line in lines if line["published"] == "yes" and line["Pretrain"] == "coco")
    assert (published["cityscapes_pspnet/miou_percent mean"], published["cityscapes_pspnet/miou_percent n"]) == (
        "64.97",
        "",
    )
    single = next(line for line in lines if line["section"] == "mini" and line["Pretrain"] == "random_init")
    linear_key = f"imagenet_linear/top1_percent/{THREE[-1].fingerprints.protocol}"
    assert (single[f"{linear_key} std"], single[f"{linear_key} n"]) == ("", "1")


def test_names_of_wide_columns_do_not_depend_on_what_else_was_measured() -> None:
    def head(records: list[Any]) -> list[str]:
        return next(csv.reader(io.StringIO(render(build_tables(records, NONE), "csv-wide"))))

    assert set(head(THREE)) <= set(head([*THREE, pspnet("coco", 0, 1.0, protocol="another")]))


FORMULAS = ["=1+1", "+1", "-1+cmd|x", "@SUM(A1)", "\t=1", "'a"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_name_is_no_formula_and_numbers_stay_numbers(name: str) -> None:
    records = [linear(name, seed, value) for seed, value in ((0, -40.5), (1, -41.5))]
    records += [linear("random_init", seed, 10.0 + seed) for seed in (0, 1)]
    sections = build_tables(records, NONE)
    texts = [render(sections, format) for format in ("csv", "csv-wide")]
    texts.append(long_csv(build_parts(records, NONE), all_metrics=True))
    for text in texts:
        cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
        assert f"'{name}" in cells
        assert name not in cells
        risky = [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]
        assert risky  # negative numbers
        assert all(float(cell) < 0 for cell in risky)


def test_what_is_guarded() -> None:
    assert [guarded(text) for text in ("coco", "", "a=b", "–", "=a")] == ["coco", "", "a=b", "–", "'=a"]


def test_json_has_what_cells_hold() -> None:
    content = json.loads(render(build_tables(THREE, REFERENCE), "json"))
    section = next(each for each in content["sections"] if each["key"] == "mini")
    assert section["profile"] == "mini"
    place = next(i for i, column in enumerate(section["columns"]) if column["header"] == "mIoU")
    assert section["columns"][place] == {
        "header": "mIoU", "task": "cityscapes_pspnet", "metric": "miou_percent", "unit": "%", "protocol": PROTOCOL,
        "data": "d" * 16, "remark": "",
    }  # fmt: skip
    row = next(each for each in section["rows"] if each["name"] == "coco")
    cell = row["cells"][place]
    assert cell["values"] == [[64.0], [65.0], [66.0]]
    assert (cell["mean"], cell["between"], cell["within"], cell["n"], cell["best"]) == (65.0, 1.0, None, 3, True)
    assert (cell["difference"], cell["verdict"], cell["verdict_about"]) == (4.0, "higher", "methods")
    assert cell["p"] < cell["p_holm"] < 0.05
    assert row["texts"] == {"Pretrain set": "coco", "Pretrain": "coco", "Backbone": "resnet50"}
    full = next(each for each in content["sections"] if each["key"] == "full")
    published = next(each for each in full["rows"] if each["name"] == "coco")
    assert published["published"] is True
    assert published["cells"][1]["n"] is None
    assert section["notes"]
