"""Results of a pretraining that went back by itself are marked, and a note says what was done."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from example_records import lines_of, pspnet

from bench.execute.chain import ended
from bench.execute.stage_file import Done
from bench.execute.trace import notes
from bench.made import Intervention, Made
from bench.record import Record, read_file, write
from bench.results.formats import render
from bench.results.row_settings import what_mars
from bench.results.tables import build_tables

NONE = Path("no such folder")
LOWERED = {"action": "lower_lr", "why": "nan or inf", "after": 40, "lr_factor": 0.5}
HALVED = {"action": "halve", "why": "out of memory", "after": 0, "accumulate": 2}
WORDS = "learning rate × 0.5 from step 40 on (nan or inf)"


def made(*acts: dict[str, Any]) -> Made:
    """What a pretraining with these interventions is kept as, from what its stage returned."""
    metrics = {"steps": 90, "loss": 0.5} | ({"interventions": list(acts)} if acts else {})
    done = Done(fingerprint="a" * 64, metrics=metrics, wall_seconds=1.0, finished="2025-01-01T00:00:00+00:00")
    return ended(Made(fingerprint="a" * 64), Done.model_validate_json(done.model_dump_json()))


def records() -> list[Record]:
    """Three seeds of a row, of which the second went back, and a row of another that continues such a one."""
    coco = [
        pspnet("coco", seed, 60.0 + seed, chain={f"pretrain coco-s{seed}": made(*([LOWERED] if seed == 1 else []))})
        for seed in range(3)
    ]
    earlier = {"pretrain first-s0": made(HALVED, LOWERED), "pretrain second-s0": made()}
    return [*coco, pspnet("second", 0, 62.0, chain=earlier), pspnet("plain", 0, 61.0)]


def test_a_record_keeps_them_and_others_are_as_before(tmp_path: Path) -> None:
    marked, plain = records()[1], records()[0]
    assert read_file(write(marked, tmp_path)).chain["pretrain coco-s1"].interventions == (Intervention(**LOWERED),)
    assert "interventions" not in write(plain, tmp_path).read_text(encoding="utf-8")


def test_cells_are_marked_and_a_note_says_what_was_done() -> None:
    (section,) = build_tables(records(), NONE)
    marked = {line["Pretrain"]: "‖" in line["mIoU"] for line in lines_of([section], "mini")}
    assert marked == {"coco": True, "second": True, "plain": False}
    (note,) = [note for note in section.notes if note.startswith("‖")]
    assert f"coco, aAcc and mIoU and mAcc: pretrain coco-s1: {WORDS}. " in note
    halved = "accumulate=2 from step 0 on (out of memory)"
    assert f"second, aAcc and mIoU and mAcc: pretrain first-s0: {halved}; pretrain first-s0: {WORDS}." in note


@pytest.mark.parametrize(("format", "mark"), [("markdown", " ‖"), ("latex", r" $\|$"), ("html", " ‖")])
def test_every_format_has_the_mark(format: str, mark: str) -> None:
    assert f"(3){mark}" in render(build_tables(records(), NONE), format)
    plain = [record for record in records() if record.pretrain == "plain"]
    assert mark not in render(build_tables(plain, NONE), format)


def test_programs_read_it_of_each_row() -> None:
    lines = csv.DictReader(io.StringIO(render(build_tables(records(), NONE), "csv")))
    said = {line["Pretrain"]: line["interventions"] for line in lines}
    assert said["coco"] == f"pretrain coco-s1: {WORDS}"
    assert said["plain"] == ""


def test_a_trace_and_a_comparison_say_it() -> None:
    one, other = records()[1], records()[4]
    assert any(f"do by itself: pretrain coco-s1: {WORDS}." in note for note in notes(one))
    assert not any("by itself" in note for note in notes(other))
    said = what_mars({"a": records()[:3], "b": [other]})
    assert any(each.startswith("a was pretrained with what") and WORDS in each for each in said)
    assert not any(each.startswith("b was pretrained with what") for each in said)
