"""Time and memory of each stage, from the records to the page."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from example_records import digest, lines_of, make

from bench.cli import run
from bench.made import Made, Part
from bench.record import Hardware, Record, write
from bench.results.formats import render
from bench.results.look import RESOURCES
from bench.results.resources import build_resources
from bench.results.tables import check_tables, write_tables

CPU = Hardware(cpu="EPYC", cores=2, memory_gib=23.5)
GPU = Hardware(cpu="EPYC", cores=16, memory_gib=128, gpus=("H100", "H100"))


def took(task: str, seed: int, seconds: dict[str, float], memory: dict[str, float], **changes: Any) -> Record:
    return make("coco", task, seed, wall_seconds=seconds, peak_memory_mib=memory, **({"hardware": CPU} | changes))


def rows(records: list[Record], profile: str = "mini") -> list[dict[str, str]]:
    return lines_of(build_resources(records), profile, RESOURCES)


TWO_SEEDS = [
    took(
        "a_knn", 0, {"pretrain": 100.0, "convert": 5.0, "knn": 20.0}, {"pretrain": 900.0, "convert": 300.0, "knn": 80}
    ),
    took(
        "a_knn", 1, {"pretrain": 104.0, "convert": 5.0, "knn": 26.0}, {"pretrain": 950.4, "convert": 301.0, "knn": 70}
    ),
    took("a_linear", 0, {"pretrain": 100.0, "convert": 5.0, "linear": 40.0}, {"pretrain": 900.0, "linear": 500.0}),
]


def test_a_time_that_holds_a_part_of_the_work_is_left_out() -> None:
    seconds, memory = {"pretrain": 40.0, "convert": 5.0, "knn": 20.0}, {"pretrain": 900.0}
    (row,) = rows([took("a_knn", 0, seconds, memory, untimed={"pretrain": ["120 of 400 steps"]})])
    assert "pretrain, s" not in row
    assert (row["convert, s"], row["a_knn, s"], row["pretrain, MiB"]) == ("5.0 (1)", "20.0 (1)", "900 (1)")


def test_a_row_by_hand() -> None:
    # Seconds: (100 + 104) / 2, deviation √(2² + 2²) = 2.8; (20 + 26) / 2, √(3² + 3²) = 4.2. Memory: the highest.
    assert rows(TWO_SEEDS) == [
        {
            "Pretrain set": "coco",
            "Pretrain": "coco",
            "Backbone": "resnet50",
            "Machine": "EPYC, 2 cores, 24 GiB",
            "pretrain, s": "102.0 ± 2.8 (2)",
            "convert, s": "5.0 ± 0.0 (2)",
            "a_knn, s": "23.0 ± 4.2 (2)",
            "a_linear, s": "40.0 (1)",
            "pretrain, MiB": "950 (2)",
            "convert, MiB": "301 (2)",
            "a_knn, MiB": "80 (2)",
            "a_linear, MiB": "500 (1)",
        }
    ]


def test_machines_do_not_mix_and_gpus_have_a_column() -> None:
    there = took("a_knn", 2, {"knn": 2.0}, {"knn": 1500.0, "knn gpu": 700.5}, hardware=GPU)
    by_machine = {row["Machine"]: row for row in rows([*TWO_SEEDS, there])}
    assert by_machine["EPYC, 2 cores, 24 GiB"]["a_knn, s"] == "23.0 ± 4.2 (2)"
    assert by_machine["EPYC, 2 cores, 24 GiB"]["a_knn, GPU MiB"] == "–"
    assert by_machine["2 × H100"]["a_knn, s"] == "2.0 (1)"
    assert by_machine["2 × H100"]["a_knn, GPU MiB"] == "700 (1)"
    assert by_machine["2 × H100"]["pretrain, s"] == "–"


def test_a_later_record_of_a_seed_has_the_time_of_its_pretraining() -> None:
    again = took("a_linear", 1, {"pretrain": 110.0}, {}, created="2025-01-02T00:00:00+00:00")
    assert rows([again, *TWO_SEEDS])[0]["pretrain, s"] == "105.0 ± 7.1 (2)"


def test_a_record_that_was_replaced_does_not_count() -> None:
    old = took("a_knn", 0, {"knn": 99.0}, {"knn gpu": 70.0}, created="2024-01-01T00:00:00+00:00")
    stage = old.fingerprints.model_copy(update={"stage": digest("of an older conversion")})
    assert rows([old.model_copy(update={"fingerprints": stage}), *TWO_SEEDS]) == rows(TWO_SEEDS)


def test_protocols_have_columns_and_recipes_and_profiles_rows() -> None:
    longer = took("a_knn", 0, {"knn": 90.0}, {}, protocol="longer")
    other = took("a_knn", 0, {"knn": 30.0}, {}, recipe="other")
    smoke = took("a_knn", 0, {"knn": 1.0}, {}, profile="smoke", recipe="smoke")
    lines = {row["Pretrain"]: row for row in rows([*TWO_SEEDS, longer, other, smoke])}
    first, second = (f"coco @{record.fingerprints.recipe[:8]}" for record in (TWO_SEEDS[0], other))
    assert set(lines) == {first, second}
    short, long = (record.fingerprints.protocol for record in (TWO_SEEDS[0], longer))
    assert lines[first][rf"a_knn \[{short}\], s"] == "23.0 ± 4.2 (2)"
    assert lines[first][rf"a_knn \[{long}\], s"] == "90.0 (1)"
    assert rows([*TWO_SEEDS, smoke], "smoke")[0]["a_knn, s"] == "1.0 (1)"


@pytest.mark.parametrize(
    ("records", "note"),
    [
        (TWO_SEEDS, None),
        ([*TWO_SEEDS, took("a_knn", 3, {"knn": 1.0}, {})], "1 records here do not have peak memory"),
        ([took("a_knn", 3, {"knn": 1.0}, {})], "None of the records here has peak memory"),
    ],
)
def test_notes_count_records_without_memory(records: list[Record], note: str | None) -> None:
    (section,) = build_resources(records)
    sentences = [line for line in section.notes if "peak memory" in line]
    assert (not sentences) if note is None else (note in sentences[0])


def test_programs_get_value_spread_and_number() -> None:
    (line,) = csv.DictReader(io.StringIO(render(build_resources(TWO_SEEDS), "csv", RESOURCES)))
    assert {name: line[name] for name in line if name.startswith("a_knn")} == {
        "a_knn, s": "23.0",
        "a_knn, s std": "4.242641",
        "a_knn, s n": "2",
        "a_knn, MiB": "80.0",
        "a_knn, MiB std": "",
        "a_knn, MiB n": "2",
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for record in TWO_SEEDS:
        write(record, tmp_path / "records")
    return tmp_path


def test_check_finds_a_changed_digit(results: Path) -> None:
    write_tables(results)
    file = results / "tables" / "resources.md"
    file.write_text(file.read_text().replace("102.0", "103.0", 1))
    (difference,) = check_tables(results)
    assert "resources.md differs: line " in difference


def test_the_command_prints_it_and_writes_both_pages(results: Path, capsys: Any) -> None:
    assert run(["table", "--resources", "--results-dir", str(results)]) == 0
    assert capsys.readouterr().out == (results / "tables" / "resources.md").read_text()
    assert "# Transfer results" in (results / "tables" / "transfer.md").read_text()
    assert run(["table", "--check", "--results-dir", str(results)]) == 0


def test_a_baseline_is_of_the_other_page(results: Path, capsys: Any) -> None:
    assert run(["table", "--resources", "--baseline", "coco", "--results-dir", str(results)]) == 2
    assert "give one of the two" in capsys.readouterr().err


def test_all_formats_have_the_heading_of_the_page() -> None:
    for format in ("markdown", "latex", "html"):
        text = render(build_resources(TWO_SEEDS), format, RESOURCES)
        assert "Time and memory" in text
        assert "Transfer results" not in text


def test_a_pretraining_stands_in_the_row_of_the_machine_that_ran_it() -> None:
    part = Part(hardware=GPU, machine="h100")
    chain = {
        "pretrain coco-s0": Made(fingerprint="f" * 64, parts=(part,)),
        "convert coco-s0": Made(fingerprint="f" * 64, parts=()),  # nothing was kept of it
        "knn coco--a_knn-s0": Made(fingerprint="f" * 64, parts=(part.model_copy(update={"hardware": CPU}),)),
    }
    seconds = {"pretrain": 100.0, "convert": 5.0, "knn": 20.0}
    section, *_ = build_resources([took("a_knn", 0, seconds, {}, chain=chain)])
    on_gpu, on_cpu = sorted(lines_of([section], "mini", RESOURCES), key=lambda row: row["Machine"])
    assert (on_gpu["Machine"], on_gpu["pretrain, s"], on_gpu["a_knn, s"]) == ("2 × H100", "100.0 (1)", "–")
    assert (on_cpu["pretrain, s"], on_cpu["convert, s"], on_cpu["a_knn, s"]) == ("–", "5.0 (1)", "20.0 (1)")
    assert not any("Older records know the machine" in note for note in section.notes)
