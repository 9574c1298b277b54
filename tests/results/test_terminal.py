"""Tables in a terminal: no line too long, no value and no name lost, bold and marks explained."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from example_records import THREE, linear, make, pspnet

from bench.results.formats import render
from bench.results.look import Look
from bench.results.sections import Section
from bench.results.tables import build_tables
from bench.results.terminal import shortened

NONE = Path("no such folder")
REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def drawn(sections: list[Section], width: int = 100, *, verdicts: bool = False, styled: bool = False) -> str:
    return render(sections, "terminal", look=Look(verdicts=verdicts, width=width, styled=styled))


def many_columns() -> list[Section]:
    """Nine tasks; each row was measured by some of them."""
    records = list(THREE)
    for number in range(8):
        for place, name in enumerate(("coco", "coco_two_loss", "imagenet_instance_discrimination")):
            if (number + place) % 3:
                task = f"data_set_{number}_knn"
                records.append(make(name, task, 0, metrics={"top1_percent": 10 * number + place + 0.25}))
    return build_tables(records, NONE)


def test_a_table_by_hand() -> None:
    text = drawn(build_tables(THREE, NONE))
    assert text.splitlines() == [
        "Profile mini",
        "backbone resnet50",
        "                               cityscapes_    cityscapes_    cityscapes_       imagenet_",
        "                             pspnet, n = 3  pspnet, n = 3  pspnet, n = 3   linear, n = 1",
        "Pretrain set  Pretrain              aAcc %         mIoU %         mAcc %  ImageNet acc %",
        "─────────────────────────────────────────────────────────────────────────────────────────",
        "none          random_init     90.00 ± 0.00   61.00 ± 1.00   50.00 ± 0.00           10.00",
        "coco          coco            90.00 ± 0.00  *65.00 ± 1.00   50.00 ± 0.00           42.12",
        "coco          coco_two_loss   90.00 ± 0.00  *65.20 ± 0.61   50.00 ± 0.00               –",
        "",
        "±: sample standard deviation over trunks (n of them); of one trunk over seeds of the task (1×3).",
        "*: highest of its column, or not told from it by the corrected test.",
        "--verdicts shows differences to the baseline row, verdicts and notes.",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
@pytest.mark.parametrize("verdicts", [False, True])
def test_no_line_is_wider_than_the_terminal_and_no_value_is_lost(width: int, verdicts: bool) -> None:
    sections = many_columns()
    text = drawn(sections, width, verdicts=verdicts)
    tables = "".join(line for line in text.splitlines() if verdicts or not line.startswith(("±", "*", "--")))
    if width >= 60 or not verdicts:  # a cell with all that is known of it may be wider than half of 40 characters
        assert max(map(len, text.splitlines())) <= width
    for row in sections[0].rows:
        for cell in row.cells:
            if cell is not None:
                assert f"{cell.summary.mean:.2f}" in tables
    if width >= 60:
        for row in sections[0].rows:
            assert row.name in text


def test_blocks_leave_out_rows_without_a_value_there() -> None:
    blocks = drawn(many_columns(), 45).split("\n\n")
    block = next(block for block in blocks if "data_set_0_knn" in block)
    assert "coco_two_loss" in block
    assert "imagenet_instance_discrimination" in block
    assert not re.search(r"^coco +", block, re.MULTILINE)
    assert "random_init" not in block


def test_names_are_shortened_only_where_a_column_would_not_fit() -> None:
    names = ("imagenet_simclr_temperature_0.1", "imagenet_simclr_temperature_0.5")
    sections = build_tables([pspnet(name, seed, 50.0 + seed) for name in names for seed in (0, 1)], NONE)
    assert "…" not in drawn(sections, 60)
    lines = [line for line in drawn(sections, 40).splitlines() if "0.71" in line]
    assert len(lines) == 2
    assert all("…" in line and line.startswith("imag") for line in lines)  # and not broken into two lines


def test_bold_is_a_terminals_or_a_star() -> None:
    plain, styled = drawn(build_tables(THREE, NONE)), drawn(build_tables(THREE, NONE), styled=True)
    assert "\x1b" not in plain
    assert "*65.20 ± 0.61" in plain
    assert "\x1b[1m65.20\x1b[0m ± 0.61" in styled
    assert "*" not in styled
    assert "Bold: highest" in styled
    assert "\x1b[1m61.00" not in styled


def test_marks_stay_and_are_explained_in_five_lines() -> None:
    records = [pspnet("one", 0, 60.0 + seed, task_seed=seed, trunk="a" * 64) for seed in (0, 1, 2)]
    records += [pspnet("other", 0, 50.0 + seed, task_seed=seed, trunk="b" * 64) for seed in (0, 1, 2)]
    text = drawn([*build_tables(records, NONE), *build_tables([], REFERENCE)])
    assert "*61.00¶ ± 1.00" in text
    assert "coco_two_loss †" in text
    assert "(n = 1×3)" in text
    legend = text.rpartition("\n\n")[2].splitlines()
    assert len(legend) <= 5
    assert "† published, not measured here" in " ".join(legend)
    assert "¶ bold rests on a single trunk" in " ".join(legend)
    assert "‡" not in " ".join(legend)  # which nothing has here


def test_verdicts_show_all() -> None:
    sections = build_tables(THREE, NONE)
    text = drawn(sections, verdicts=True)
    assert "*65.20 ± 0.61 (3) +4.20 ↑" in text
    joined = " ".join(text.split())
    for note in sections[0].notes:
        assert " ".join(note.split()) in joined
    assert "two-sided, p < 0.05 after Holm's correction" in joined


def test_numbers_of_runs_stand_in_cells_where_they_differ() -> None:
    records = [*THREE, *(pspnet("more", seed, 50.0 + seed) for seed in range(4))]
    text = drawn(build_tables(records, NONE))
    assert "61.00 ± 1.00 (3)" in text
    assert "51.50 ± 1.29 (4)" in text


def test_what_is_no_text_is_not_printed() -> None:
    text = drawn(build_tables([linear("a\x1b[2Jb\x07\n[bold]x[/bold]", 0, 40.0)], NONE))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert "a�[2Jb��[bold]x[/bold]" in text


def test_names_are_shortened_in_the_middle_and_never_alike() -> None:
    names = ["imagenet_simclr_t0.07_bs256", "imagenet_simclr_t0.30_bs256", "coco"]
    shown = shortened(names, 12)
    assert shown["coco"] == "coco"
    assert all(len(text) <= 12 for text in shown.values())
    assert len(set(shown.values())) == 3
    assert shortened(names, 40) == {name: name for name in names}  # nothing is lost where there is room
    # What differs in the middle alone takes more room than there is.
    alike = ["a" * 20 + digit + "b" * 20 for digit in "123"]
    assert len(set(shortened(alike, 10).values())) == 3


def test_any_names_stay_apart() -> None:
    draw = random.Random(0)
    for _ in range(100):
        names = list({"".join(draw.choices("ab_", k=draw.randrange(1, 14))) for _ in range(draw.randrange(1, 9))})
        room = draw.randrange(5, 14)
        shown = shortened(names, room)
        assert list(shown) == names
        assert len(set(shown.values())) == len(names)
        for name, text in shown.items():
            start, cut, end = text.partition("…")
            assert text == name if not cut else name.startswith(start) and name.endswith(end) and len(text) < len(name)


def test_no_records() -> None:
    assert drawn([]) == "No records yet.\n"
