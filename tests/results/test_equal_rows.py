"""The A/A study: rows that differ are found out, equal ones are not, and all goes through the tables' own code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from example_records import linear, make, pspnet

from bench import outcomes as files
from bench.cli import run
from bench.files import sha256_of
from bench.outcomes import AreaOutcomes, TopOutcomes, names_digest
from bench.record import OutcomesFile, Record, write
from bench.results import rows as rows_of_tables
from bench.results.equal_rows import (
    compare_with_itself,
    exchanged,
    of_images,
    verdicts_of_cells,
    verdicts_of_halves,
)
from bench.results.rates import Rate
from bench.results.sections import Cell, Column
from bench.results.statistics import singly, summarise
from bench.results.trunks import trunks_of


def kept(folder: Path, values: list[float], name: str = "coco") -> Path:
    for seed, value in enumerate(values):
        write(pspnet(name, seed, value), folder / "records")
    return folder


def test_a_rate_has_the_exact_binomial_interval() -> None:
    from scipy.stats import binomtest

    for different, of in ((0, 20), (1, 20), (20, 20), (37, 1000)):
        wanted = binomtest(different, of).proportion_ci(method="exact")
        assert Rate(different, of).interval == pytest.approx((wanted.low, wanted.high))
    assert str(Rate(1, 20)) == "1 of 20 (0.1 to 24.9 %)"
    assert str(Rate(0, 0)) == "none made"


def test_a_split_is_judged_by_the_very_code_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [pspnet("coco", seed, value) for seed, value in enumerate((60.0, 61.0, 62.0, 64.0, 65.0, 66.0))]
    seen: list[int] = []
    correct = rows_of_tables.corrected
    monkeypatch.setattr(rows_of_tables, "corrected", lambda lines: seen.append(len(lines)) or correct(lines))
    words = verdicts_of_halves(records, trunks_of(records), (0, 1, 2, 3, 4, 5))
    assert words == {"aacc_percent": "?", "miou_percent": "higher", "macc_percent": "?"}
    assert seen == [2]
    mixed = verdicts_of_halves(records, trunks_of(records), (0, 3, 2, 1, 4, 5))
    assert [word for word in mixed.values() if word != "?"] == ["≈"]


def test_every_split_of_six_trunks_and_of_an_odd_number(tmp_path: Path) -> None:
    (column,) = self_of(kept(tmp_path / "six", [60.0, 61.0, 62.0, 60.5, 61.5, 61.9]), draws=20).values()
    assert (column.trunks, column.splits.of, column.apart.of) == (6, 10, 1)  # half of 6 over 3
    (column,) = self_of(kept(tmp_path / "five", [60.0, 61.0, 62.0, 60.5, 61.5]), draws=20).values()
    assert column.splits.of == 15  # 5 ways to leave one out × 3 pairs of pairs
    (column,) = self_of(kept(tmp_path / "many", [60.0 + i % 7 for i in range(12)]), draws=30).values()
    assert column.splits.of == 30  # of 462


def self_of(folder: Path, row: str = "coco", draws: int = 100):  # type: ignore[no-untyped-def]
    """{header: column} of those with a verdict."""
    found = compare_with_itself(row, folder, draws=draws)
    return {each.column.header: each for each in found.columns if each.splits.of}


def test_two_rows_that_differ_are_found_out(tmp_path: Path) -> None:
    # Planted: the trunks of the higher seeds are of another row, 10 spreads above.
    rng = np.random.default_rng(0)
    values = [*rng.normal(60, 1, 3), *rng.normal(70, 1, 3)]
    (column,) = self_of(kept(tmp_path, values)).values()
    assert column.apart == Rate(1, 1)
    assert column.splits.different >= 1


@pytest.mark.slow
def test_equal_rows_are_called_different_as_often_as_the_test_says(tmp_path: Path) -> None:
    """Welch's test of 3 against 3 rejects in 3.5 % of cases: by 60 rows of six, and by simulation."""
    from scipy.stats import binomtest

    rng = np.random.default_rng(1)
    halves = Rate(0, 0)
    for _ in range(60):
        records = [pspnet("coco", seed, value) for seed, value in enumerate(rng.normal(60, 1, 6))]
        words = verdicts_of_halves(records, trunks_of(records), range(6))
        halves += Rate(sum(word in {"higher", "lower"} for word in words.values()), 1)
    assert binomtest(halves.different, halves.of, 0.035).pvalue > 0.01
    (column,) = self_of(kept(tmp_path, [60.0, 61.0, 62.0, 60.5, 61.5, 61.9]), draws=400).values()
    total = column.simulated
    assert total.of == 400
    assert binomtest(total.different, total.of, 0.035).pvalue > 0.01
    assert column.tables.of == 400
    assert binomtest(column.tables.different, 400, 0.05, alternative="greater").pvalue > 0.01
    assert column.tables.different > 0


def test_a_simulated_table_is_judged_as_tables_are() -> None:
    def cell(*values: float) -> Cell:
        return Cell(singly(values), summarise(singly(values)))

    column = Column("mIoU", "cityscapes_pspnet", "miou_percent", protocol="p")
    base, a, b = cell(60, 61, 62), cell(64, 65, 66), cell(62.9, 63.5, 64.1)
    assert verdicts_of_cells([base, a, b], column) == ["higher", "higher"]
    assert verdicts_of_cells([base, a, b, cell(61, 62, 63.1)], column) == ["higher", "≈", "≈"]  # Holm


def test_a_metric_that_some_trunks_lack_is_judged_where_it_is(tmp_path: Path) -> None:
    """Of a kind from outside; the first metric by name is of the last two trunks alone."""
    for seed in range(6):
        metrics = {"top1_percent": 60.0 + seed % 3} | ({"new_percent": 5.0 + seed} if seed > 3 else {})
        write(make("coco", "imagenet_own", seed, kind="outside.py:Kind", metrics=metrics), tmp_path / "records")
    columns = {each.column.metric: each for each in compare_with_itself("coco", tmp_path, draws=20).columns}
    assert columns["top1_percent"].splits.of == 10
    assert columns["top1_percent"].apart == Rate(0, 1)
    assert "new_percent" not in columns or not columns["new_percent"].splits.of  # one trunk a side: nothing to judge


def test_without_any_spread_nothing_was_judged(tmp_path: Path) -> None:
    found = compare_with_itself("coco", kept(tmp_path, [60.0] * 4), draws=20)
    for column in found.columns:
        assert (column.apart, column.splits, column.simulated, column.tables) == (Rate(0, 0),) * 4


# ------------------------------------------------------------------------------------- images


def classified(folder: Path, seed: int, right: np.ndarray) -> Record:
    outcomes = TopOutcomes(names_digest("abc"), np.ones(len(right), bool), right)
    folder.mkdir(parents=True, exist_ok=True)
    files.write(outcomes, folder / "outcomes.npz")
    file = folder / "outcomes.npz"
    said = OutcomesFile(sha256=sha256_of(file), bytes=file.stat().st_size, images=len(right))
    record = linear("coco", seed, 0.0).model_copy(update={"metrics": outcomes.metrics(), "outcomes": said})
    write(record, folder / "records", file)
    return record


def test_images_of_two_seeds_and_the_same_exchanged(tmp_path: Path) -> None:
    """Trunks of one recipe whose accuracies differ by far more than images explain: only the exchanged are alike."""
    rng = np.random.default_rng(5)
    for seed, share in enumerate((0.4, 0.6, 0.45, 0.65)):
        classified(tmp_path, seed, rng.random(500) < share)
    (column,) = self_of(tmp_path).values()
    assert column.images is not None
    assert column.exchanged is not None
    assert (column.images.of, column.exchanged.of) == (6, 100)
    assert column.images.different >= 4
    assert column.exchanged.different <= 11  # 5 expected of 100; P(more) < .005
    assert column.simulated.of == 100


def test_both_simulated_rows_have_the_same_images(tmp_path: Path) -> None:
    """Trunks that are right on the same images have the same metrics of any images, so that nothing can be judged."""
    right = np.random.default_rng(6).random(300) < 0.5
    for seed in range(4):
        classified(tmp_path, seed, right)
    (column,) = compare_with_itself("coco", tmp_path, draws=20).columns
    assert column.simulated == Rate(0, 0)


def test_exchanging_and_drawing_images() -> None:
    valid = np.array([True, True, False])
    ours = TopOutcomes("0" * 64, valid, np.array([True, False, False]))
    theirs = TopOutcomes("0" * 64, np.ones(3, bool), np.array([False, False, True]))
    a, b = exchanged(ours, theirs, np.array([True, False, True]))
    assert (a.top1.tolist(), b.top1.tolist()) == ([False, False, True], [True, False, False])  # type: ignore[attr-defined]
    assert (a.valid.tolist(), b.valid.tolist()) == ([True, True, True], [True, True, False])
    drawn = of_images(ours, np.array([0, 0, 1]))
    assert drawn.metrics()["top1_percent"] == pytest.approx(200 / 3)
    areas = np.arange(12).reshape(3, 2, 2)
    one = AreaOutcomes("0" * 64, np.ones(3, bool), ("road", "sky"), areas[:, 0], areas[:, 1] + 1, areas[:, 1] + 2)
    other = AreaOutcomes("0" * 64, np.ones(3, bool), ("road", "sky"), *([np.ones((3, 2), int)] * 3))
    a, b = exchanged(one, other, np.array([False, True, False]))
    assert a.intersection[:, 0].tolist() == [0, 1, 8]  # type: ignore[attr-defined]
    assert b.intersection[:, 0].tolist() == [1, 4, 1]  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------- the command


def test_the_command_prints_text_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, [60.0, 61.0, 62.0, 60.5])
    words = ["aa", "coco", "--draws", "20", "--results-dir", str(tmp_path)]
    assert run(words) == 0
    text = capsys.readouterr().out
    assert "cityscapes_pspnet mIoU, 4 trunks" in text
    assert "real: every split of the trunks into two rows, which share trunks: " in text
    assert "All columns" in text
    assert run([*words, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    (miou,) = [column for column in values["rows"][0]["columns"] if column["metric"] == "miou_percent"]
    assert miou["splits"]["of"] == 3
    assert miou["simulated"]["of"] == 20
    assert values["all"]["apart"]["of"] == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [("coco", "has 3 trunks at most in a column"), ("coc", "no measured row 'coc'; did you mean coco")],
)
def test_refused(tmp_path: Path, row: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, [60.0, 61.0, 62.0])
    write(make("coco", "imagenet_knn", 7, metrics={"top1_percent": 3.0}), tmp_path / "records")
    assert run(["aa", row, "--results-dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
