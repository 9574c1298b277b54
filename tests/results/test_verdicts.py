"""Verdicts on many rows at once: Holm within a column, what is bold, and what the runs of a table could have seen."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_records import linear, lines_of, pspnet

from bench.record import Record
from bench.results.differences import best_marked, compared, corrected
from bench.results.formats import render
from bench.results.power import smallest_difference, trunks_for
from bench.results.sections import Cell, Column, Line, Row
from bench.results.seen import seen_by
from bench.results.statistics import Verdict, compare, held_to, singly, summarise
from bench.results.tables import build_tables
from bench.results.unequal import level_of

NONE = Path("no such folder")
COLUMN = Column("mIoU", "cityscapes_pspnet", "miou_percent", protocol="p")


def row(name: str, values: list[float]) -> list[Record]:
    return [pspnet(name, seed, value) for seed, value in enumerate(values)]


def line_of(values: list[float]) -> Line:
    return Line(Row(("",), (Cell(singly(values), summarise(singly(values))),)), {})


def bold(rows: list[list[float]]) -> list[int]:
    lines = best_marked([line_of(values) for values in rows], [COLUMN])
    return [n for n, line in enumerate(lines) if line.row.cells[0] is not None and line.row.cells[0].best]


# ------------------------------------------------------------------------------------- Holm in tables


def test_verdicts_of_a_column_hold_for_all_its_rows() -> None:
    # By Welch's test alone, a and b lie above the baseline (p = .0080 and .029). With two rows, a's p counts twice and
    # b's once. With c (p = .29) a's counts three times (.024) and b's twice: .058, which is none.
    base, a, b = [60.0, 61.0, 62.0], [64.0, 65.0, 66.0], [62.9, 63.5, 64.1]
    alone = [compare(singly(values), singly(base)).p for values in (a, b)]
    assert alone == pytest.approx([0.00805, 0.02924], rel=1e-3)
    words = {}
    for others in ({"a": a, "b": b}, {"a": a, "b": b, "c": [61.0, 62.0, 63.1]}):
        records = [record for name, values in {"random_init": base, **others}.items() for record in row(name, values)]
        cells = {line["Pretrain"]: line["mIoU"] for line in lines_of(build_tables(records, NONE), "mini")}
        words[len(others)] = [cells[name][-1] for name in others]
    assert words == {2: ["↑", "↑"], 3: ["↑", "≈", "≈"]}


def test_csv_has_p_and_the_adjusted_one() -> None:
    records = [*row("random_init", [60, 61, 62]), *row("a", [64, 65, 66]), *row("b", [61, 62, 63.1]), linear("a", 0, 5)]
    lines = {line["Pretrain"]: line for line in csv.DictReader(io.StringIO(render(build_tables(records, NONE), "csv")))}
    ps = [float(lines[name]["mIoU p"]) for name in ("a", "b")]
    assert ps[0] == pytest.approx(0.00805, rel=0.01)
    assert [float(lines[name]["mIoU p Holm"]) for name in ("a", "b")] == pytest.approx([2 * ps[0], ps[1]], rel=1e-4)
    assert (lines["random_init"]["mIoU p"], lines["a"]["ImageNet acc p"]) == ("", "")


def test_a_verdict_is_held_to_its_adjusted_p() -> None:
    higher = Verdict("higher", 0.02)
    assert held_to(higher, 0.06) == Verdict("≈", 0.02, adjusted=0.06)
    assert held_to(higher, 0.04) == Verdict("higher", 0.02, adjusted=0.04)
    assert held_to(Verdict("?", None), None) == Verdict("?", None)


def test_pairs_are_corrected_over_all_pairs_of_their_column() -> None:
    base, a, b = [60.0, 61.0, 62.0], [64.0, 65.0, 66.0], [62.9, 63.5, 64.1]
    records = [*row("random_init", base), *row("a", a), *row("b", b)]
    (section,) = build_tables(records, NONE)
    (note,) = [note for note in section.notes if note.startswith("By mIoU")]
    p = compare(singly(a), singly(base)).p
    assert p is not None
    assert f"a > random_init (p = {3 * p:.2g})" in note
    assert "Holm's correction over 3 pairs" in note
    assert "random_init ≈ b" in note  # .029 times the two pairs that are left
    assert "a ≈ b" in note


def test_of_many_rows_those_pairs_that_are_listed_are_corrected_over_all_pairs() -> None:
    rng = np.random.default_rng(2)
    many = {f"row{n}": list(rng.normal(60, 1, 3)) for n in range(20)} | {"best": [70.0, 70.5, 71.0]}
    (section,) = build_tables([record for name, values in many.items() for record in row(name, values)], NONE)
    (note,) = [note for note in section.notes if note.startswith("By mIoU")]
    assert "21 rows, each against the highest alone" in note
    assert "after Holm's correction over 210 pairs" in note
    ps = {name: compare(singly(values), singly(many["best"])).p for name, values in many.items() if name != "best"}
    lowest = min(ps, key=lambda name: ps[name] or 1.0)
    assert f"best > {lowest} (p = {210 * (ps[lowest] or 1.0):.2g})" in note
    # A row of one value cannot be judged: were it what the others are held against, nothing would be said of them.
    (section,) = build_tables([pspnet("one", 0, 80.0), *[r for name, vs in many.items() for r in row(name, vs)]], NONE)
    (note,) = [note for note in section.notes if note.startswith("By mIoU")]
    assert f"best > {lowest} (p = {210 * (ps[lowest] or 1.0):.2g})" in note
    assert "1 pairs not judged" in note


@pytest.mark.slow
@pytest.mark.parametrize("better", [0, 4])
def test_a_table_of_equal_rows_has_a_verdict_in_one_of_twenty(better: int) -> None:
    """Nine rows against a baseline, of which `better` are far better in truth: any of the others called different."""
    from scipy.stats import binomtest

    rng = np.random.default_rng(better)
    tables, wrong, uncorrected = 500, 0, 0
    for _ in range(tables):
        values = rng.normal(size=(10, 5))
        values[1 : 1 + better] += 20
        base, *rows = (line_of(list(each)) for each in values)
        made = [Line(compared(one.row, base.row, [COLUMN]), {}) for one in rows]
        words = [[one.row.cells[0].verdict.word for one in some] for some in (made, corrected(made))]  # type: ignore[union-attr]
        assert words[1][:better] == ["higher"] * better
        uncorrected += any(word in {"higher", "lower"} for word in words[0][better:])
        wrong += any(word in {"higher", "lower"} for word in words[1][better:])
    assert binomtest(wrong, tables, 0.05, alternative="greater").pvalue > 0.01
    assert uncorrected / tables > 0.12


# ------------------------------------------------------------------------------------- bold


def test_bold_is_all_that_cannot_be_told_from_the_highest() -> None:
    assert bold([[60, 61, 62], [64, 65, 66], [64.5, 65.5, 65.6]]) == [1, 2]
    assert bold([[60, 61, 62], [64, 65, 66]]) == [1]
    assert bold([[60, 61, 62], [60.5, 61.5, 62]]) == [0, 1]


def test_bold_is_corrected_over_the_rows_that_are_compared_with_the_highest() -> None:
    best, below, near = [60.0, 61.0, 62.0], [57.9, 58.5, 59.1], [59.0, 60.0, 60.9]
    ps = [compare(singly(values), singly(best)).p for values in (below, near)]
    assert ps == pytest.approx([0.02924, 0.2645], rel=1e-3)  # below's counts once, or twice with near
    assert bold([best, below]) == [0]
    assert bold([best, below, near]) == [0, 1, 2]


def test_one_value_is_never_bold_and_never_what_others_are_judged_by() -> None:
    assert bold([[65.0], [60.0]]) == []
    assert bold([[99.0], [60, 61, 62], [64, 65, 66]]) == [2]
    assert bold([[65.0], [60, 61, 62]]) == []


def test_without_any_spread_nothing_is_bold_and_visible_ties_are_ties() -> None:
    assert bold([[60.0, 60.0], [61.0, 61.0]]) == []
    # Of the first two, without spread, no test can be made; to two digits they are alike.
    assert bold([[60.0, 60.0], [60.001, 60.001], [50.0, 51.0]]) == [0, 1]
    # What no test can be made of is not bold beside a highest row that another one can be judged against.
    assert bold([[60.0, 60.0], [61.0, 61.0], [50.0, 51.0]]) == [1]


def test_ties_are_to_the_digits_that_are_displayed() -> None:
    lines = [line_of(values) for values in ([60.0, 60.0], [60.04, 60.04], [50.0, 51.0])]
    best = {
        decimals: [
            cell.best
            for line in best_marked(lines, [replace(COLUMN, decimals=decimals)])
            if (cell := line.row.cells[0]) is not None
        ]
        for decimals in (1, 2)
    }
    assert best == {1: [True, True, False], 2: [False, True, False]}


def test_what_is_bold_by_a_single_trunk_is_about_its_weights() -> None:
    def about(*rows: list[list[float]]) -> list[str | None]:
        cells = [Cell(tuple(map(tuple, trunks)), summarise(trunks)) for trunks in rows]
        marked = best_marked([Line(Row(("",), (cell,)), {}) for cell in cells], [COLUMN])
        return [cell.best_about if cell.best else None for line in marked if (cell := line.row.cells[0]) is not None]

    below, high = [[50.0], [51.0], [52.0]], [[60.0], [61.0], [62.0]]
    assert about(below, high, [[60.0, 60.5, 61.0]]) == [None, "methods", "weights"]
    assert about(below, high, [[61.0, 61.5, 62.0]]) == [None, "weights", "weights"]  # the highest is one trunk


@pytest.mark.slow
@pytest.mark.parametrize("lower", [0.0, 0.3, 3.0])
def test_the_truly_best_row_is_bold_in_nineteen_of_twenty_tables(lower: float) -> None:
    """Ten rows, half of them equally good and the others `lower`; the first is one of the best."""
    from scipy.stats import binomtest

    rng = np.random.default_rng(7)
    tables = 600
    values = rng.normal(size=(tables, 10, 4))
    values[:, 5:] -= lower
    missed = sum(0 not in bold([list(each) for each in table]) for table in values)
    assert binomtest(missed, tables, 0.05, alternative="greater").pvalue > 0.01


def test_a_row_that_is_far_below_is_not_bold() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(100):
        values = rng.normal(size=(4, 5))
        values[0] -= 2 * smallest_difference(1.0, 5, 5, 0.05 / 3)
        found += 0 in bold([list(each) for each in values])
    assert found <= 3


# ------------------------------------------------------------------------------------- what could be seen


def cell(values: list[float]) -> Cell:
    return Cell(singly(values), summarise(singly(values)))


def test_the_smallest_difference_of_a_column_by_hand() -> None:
    # Variances 1, 4 and 0.25 of 3, 3 and 5 values: (2 × 1 + 2 × 4 + 4 × 0.25) / 8 = 11 / 8; fewest trunks 3.
    five = [-0.5, 0.5, 0.0, math.sqrt(0.25), -math.sqrt(0.25)]
    assert np.var(five, ddof=1) == pytest.approx(0.25)
    seen = seen_by([cell([1, 2, 3]), cell([0, 2, 4]), cell(five), cell([7.0]), None])
    assert seen is not None
    assert (seen.spread, seen.freedom, seen.trunks, seen.rows) == (pytest.approx(math.sqrt(11 / 8)), 8, 3, 3)
    assert seen.smallest == pytest.approx(smallest_difference(math.sqrt(11 / 8), 3, 3))
    assert seen.strictest == pytest.approx(smallest_difference(math.sqrt(11 / 8), 3, 3, 0.05 / 2))
    assert seen.for_half == trunks_for(seen.smallest / 2, seen.spread) == 7


def test_a_single_trunk_that_is_judged_counts_in_the_family() -> None:
    """Its own spread is that of task seeds, and none between trunks; its test is corrected with the others."""
    weights = Cell(((1.0, 2.0, 4.0),), summarise([[1.0, 2.0, 4.0]]))
    seen = seen_by([cell([1, 2, 3]), cell([2, 3, 4]), weights, cell([7.0])])
    assert seen is not None
    assert (seen.freedom, seen.rows, seen.family) == (4, 2, 2)
    assert seen.strictest == pytest.approx(smallest_difference(1.0, 3, 3, 0.05 / 2))


def test_without_a_spread_nothing_is_said_of_what_could_be_seen() -> None:
    assert seen_by([cell([1.0]), cell([2.0])]) is None
    assert seen_by([cell([1.0, 1.0]), cell([2.0, 2.0])]) is None
    (section,) = build_tables([pspnet("coco", 0, 65.0), pspnet("random_init", 0, 60.0)], NONE)
    assert not any(note.startswith("Smallest true difference") for note in section.notes)


def test_a_note_says_what_the_runs_could_have_seen() -> None:
    records = [*row("random_init", [60, 61, 62]), *row("a", [64, 65, 66]), *row("b", [65, 66, 67])]
    (section,) = build_tables(records, NONE)
    (note,) = [note for note in section.notes if note.startswith("Smallest true difference")]
    assert f"mIoU {smallest_difference(1, 3, 3):.2f} ({smallest_difference(1, 3, 3, 0.025):.2f}) with 3 trunks" in note
    assert "half of it 7 trunks" in note
    assert "80 % power" in note
    assert "aAcc" not in note  # no spread there


# ------------------------------------------------------------------------------------- unequal numbers of trunks


def unequal(counts: dict[str, int]) -> list[str]:
    """The notes on differently many trunks of a table whose rows have so many."""
    records = [record for name, n in counts.items() for record in row(name, [60.0 + i % 3 for i in range(n)])]
    (section,) = build_tables(records, NONE)
    return [note for note in section.notes if note.startswith("Differently many trunks")]


def test_a_note_says_how_often_equal_rows_of_unequal_numbers_are_called_different() -> None:
    (note,) = unequal({"random_init": 12, **{f"row{n}": 2 for n in range(4)}})
    assert "2 trunks against 12, 10.8 % instead of 5.0 %" in note
    assert "at the strictest step of Holm's correction 5.7 % instead of 1.2 % (mIoU)" in note
    (note,) = unequal({"random_init": 3, "a": 12})
    assert "3 trunks against 12, 6.8 % instead of 5.0 % (mIoU). Run rows with equally many." in note
    (note,) = unequal({"random_init": 6, **{f"row{n}": 3 for n in range(9)}})  # 5.1 %, which is near enough
    assert "strictest step of Holm's correction 0.64 % instead of 0.56 %" in note


@pytest.mark.parametrize("counts", [{"a": 3, "b": 3}, {"random_init": 5, "a": 3, "b": 3}, {"a": 1, "b": 12}])
def test_no_note_where_the_test_keeps_its_level(counts: dict[str, int]) -> None:
    assert unequal(counts) == []


@pytest.mark.slow
@pytest.mark.parametrize(("n", "others", "tests"), [(2, 12, 1), (2, 12, 4), (3, 12, 9), (3, 5, 9)])
def test_levels_of_unequal_rows_are_those_of_simulated_ones(n: int, others: int, tests: int) -> None:
    from scipy.stats import binomtest, ttest_ind

    rng, count = np.random.default_rng(n), 200_000
    p = ttest_ind(rng.normal(size=(n, count)), rng.normal(size=(others, count)), equal_var=False).pvalue
    found = int((p < 0.05 / tests).sum())
    assert binomtest(found, count, level_of(n, others, 0.05 / tests)).pvalue > 0.001
