"""The A/A study: how often would a table call the same recipe different from itself?

- For real. The trunks of one row are split into two rows, in every way or in as many as are asked for, and a table is
  made of the two by the code that makes all tables. Splits share trunks, so that their number says less than as many
  independent ones; what is independent are pairs of rows that share no trunk, cut from the trunks in order of seeds.
- By simulation. Trunks are drawn anew around the row's mean with its spread (normal), or, where outcomes of images are
  kept, split at random and their metrics computed of images drawn anew; the verdict is that of tables. A table of
  several equal rows against one baseline says what is left after Holm's correction.
- By images. The paired test of images is made of every two trunks. It is about these weights and not about their
  recipe, so that it may well call two seeds different; how often says how wrong it would be to read it as a verdict on
  methods. With the outcomes of every image exchanged between the two at random, the two are equal, and it must not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from bench.config.studies import Table
from bench.errors import BadInput
from bench.hashing import digest
from bench.outcomes import AreaOutcomes, Outcomes, TopOutcomes
from bench.record import Record, read_all
from bench.results.as_now import as_now
from bench.results.differences import compared, corrected
from bench.results.frame import way_of, without_repeats
from bench.results.image_statistics import compare_images
from bench.results.named_rows import label_of, rows_of
from bench.results.outcomes import outcomes_of
from bench.results.rates import Rate
from bench.results.rows import build_rows
from bench.results.sections import Cell, Column, Line, Row
from bench.results.statistics import LEVEL, singly, summarise
from bench.results.trunks import Trunks

FEWEST = 4  # trunks of a row that can be split into two with a spread each
AS_IN_TABLES = 3  # trunks of a row, as most tables have them
DIFFERENT = ("higher", "lower")
MOST_EXCHANGES = 200  # of images between two trunks; each is a test of all images


@dataclass(frozen=True)
class EqualColumn:
    """What became of one column of a row that was compared with itself."""

    column: Column
    trunks: int
    apart: Rate  # of pairs of rows that share no trunk, AS_IN_TABLES trunks each where there are enough
    splits: Rate  # of all splits, or of those that were drawn
    simulated: Rate  # two rows
    tables: Rate  # tables of several equal rows, with any row called different from the baseline
    images: Rate | None  # pairs of trunks that the test of images calls different; None without outcomes
    exchanged: Rate | None  # the same with images exchanged at random


@dataclass(frozen=True)
class EqualRow:
    """A row, compared with itself."""

    label: str
    profile: str
    columns: tuple[EqualColumn, ...]


def compare_with_itself(
    word: str, results_dir: Path, *, profile: str | None = None, draws: int = 1000, rows: int = 10, seed: int = 0
) -> EqualRow:
    """Return how often a row would have been called different from itself.

    Args:
        word: name of a pretraining, or `name @hash`.
        results_dir: holds `records`.
        profile: by default the first of full, mini and smoke in which it has records.
        draws: splits at most, and simulated tables.
        rows: equal rows that a simulated table compares with its baseline.
        seed: of all that is drawn.

    Raises BadInput for an unknown or ambiguous row, and one of fewer than FEWEST trunks in every column.
    """
    folder = results_dir / "records"
    every = as_now(read_all(folder))
    trunks = Trunks(every)
    profile, (records,) = rows_of([word], without_repeats(every, trunks), profile)
    columns, counts = [], []
    for way in dict.fromkeys(map(way_of, records)):
        of_way = [record for record in records if way_of(record) == way]
        numbers = trunks.of(of_way)
        counts.append(len(set(numbers)))
        if counts[-1] >= FEWEST:
            columns += _of_way(of_way, numbers, folder, draws, rows, seed)
    if not columns:
        most = max(counts)
        said = f"{most} trunks" if most > 1 else "one trunk"
        raise BadInput(
            f"{label_of(records[0])} has {said} at most in a column; two rows with a spread each take {FEWEST}, so run "
            "it with more --seeds."
        )
    return EqualRow(label_of(records[0]), profile, tuple(columns))


def _of_way(
    records: Sequence[Record], numbers: Sequence[int], folder: Path, draws: int, rows: int, seed: int
) -> list[EqualColumn]:
    """The columns of one way; a metric that some trunks lack is judged in the splits that have it on both sides."""
    trunks = sorted(set(numbers))
    half = len(trunks) // 2
    splits: dict[str, list[str]] = {}  # metric -> words
    apart: dict[str, list[str]] = {}
    for pairs, said in (
        (_splits(trunks, half, draws, np.random.default_rng([seed, 0])), splits),
        (_apart(trunks), apart),
    ):
        for chosen in pairs:
            for metric, word in verdicts_of_halves(records, numbers, chosen).items():
                said.setdefault(metric, []).append(word)
    outcomes = _outcomes(records, numbers, trunks, folder)
    found = []
    for i, (column, cell) in enumerate(_whole_cells(records, numbers)):
        if (metric := column.metric) not in splits:
            continue
        rng = np.random.default_rng([seed, 1, i])
        simulated, tables = _simulated(cell, half, column, draws, rows, outcomes, rng)
        images, exchanged = _by_images(outcomes, metric, draws, rng)
        of_apart, of_splits = _rate(apart.get(metric, [])), _rate(splits[metric])
        found.append(EqualColumn(column, cell.summary.n, of_apart, of_splits, simulated, tables, images, exchanged))
    return found


def _rate(words: Sequence[str]) -> Rate:
    """Of verdicts; what could not be judged ("?") is none."""
    return Rate(sum(word in DIFFERENT for word in words), sum(word != "?" for word in words))


def _apart(trunks: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The trunks of two rows, one row after the other, no trunk in two pairs."""
    size = min(AS_IN_TABLES, len(trunks) // 2)
    for start in range(0, len(trunks) - 2 * size + 1, 2 * size):
        yield tuple(trunks[start : start + 2 * size])


def _splits(trunks: Sequence[int], half: int, draws: int, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """The trunks of two rows of `half` each, one row after the other; first the lowest seeds against the highest."""
    first, last = tuple(trunks[:half]), tuple(trunks[-half:])
    yield (*first, *last)
    ways = comb(len(trunks), half) * comb(len(trunks) - half, half) // 2
    if ways <= draws:
        for ours in combinations(trunks, half):
            for theirs in combinations([each for each in trunks if each not in ours], half):
                if ours < theirs and (ours, theirs) != (first, last):
                    yield (*ours, *theirs)
        return
    for _ in range(draws - 1):
        drawn = rng.permutation(len(trunks))[: 2 * half]
        yield tuple(trunks[i] for i in drawn)


def verdicts_of_halves(records: Sequence[Record], numbers: Sequence[int], chosen: Sequence[int]) -> dict[str, str]:
    """Return the verdict of each metric in a table of two rows: the table's own code.

    `records` are of one way, and `chosen` are the trunks of the first row, then as many of the second, by `numbers`.
    """
    half = len(chosen) // 2
    sides = [
        [_as_row(record, name, number) for record, number in zip(records, numbers, strict=True) if number in part]
        for name, part in (("first half", chosen[:half]), ("second half", chosen[half:]))
    ]
    made = build_rows(_TABLE, [*sides[0], *sides[1]], [], "first half")
    (line,) = [line for line in made.measured if line.row.name == "second half"]
    pairs = zip(made.columns, line.row.cells, strict=True)
    return {column.metric: cell.verdict.word for column, cell in pairs if cell is not None and cell.verdict}


_TABLE = Table.model_construct(rows=(), columns=())


def _as_row(record: Record, name: str, trunk: int) -> Record:
    """A record as that of another pretraining, whose seed says which trunk it is of."""
    own = record.fingerprints.model_copy(update={"recipe": digest([name, record.fingerprints.recipe])})
    seeds = {"seed": trunk, "task_seed": record.own_seed}
    return record.model_copy(update={"pretrain": name, "fingerprints": own, **seeds})


def _whole_cells(records: Sequence[Record], numbers: Sequence[int]) -> list[tuple[Column, Cell]]:
    """The row's own cells, each with its column."""
    row = [_as_row(record, record.pretrain, number) for record, number in zip(records, numbers, strict=True)]
    made = build_rows(_TABLE, row, [])
    (line,) = made.measured
    return [(column, cell) for column, cell in zip(made.columns, line.row.cells, strict=True) if cell is not None]


def verdicts_of_cells(cells: Sequence[Cell], column: Column) -> list[str]:
    """Return a table's verdicts on rows of one column, of which the first is the baseline."""
    base, *others = (Row((str(n),), (cell,)) for n, cell in enumerate(cells))
    lines = [Line(compared(row, base, [column]), {}) for row in others]
    judged = [line.row.cells[0] for line in corrected(lines)]
    return [cell.verdict.word for cell in judged if cell is not None and cell.verdict is not None]


def _cell(values: Sequence[float]) -> Cell:
    return Cell(singly(values), summarise(singly(values)))


def _simulated(
    cell: Cell,
    half: int,
    column: Column,
    draws: int,
    rows: int,
    outcomes: Sequence[Outcomes],
    rng: np.random.Generator,
) -> tuple[Rate, Rate]:
    """Two rows of `half` trunks each, and tables of `rows` rows against one baseline."""
    spread, mean = cell.summary.between or 0.0, cell.summary.mean
    with_images = bool(outcomes) and column.metric in outcomes[0].metrics()
    pairs: list[str] = []
    tables: list[str] = []
    for _ in range(draws):
        values = rng.normal(mean, spread, (rows + 1, half))
        words = verdicts_of_cells([_cell(list(row)) for row in values], column)
        judged = [word for word in words if word != "?"]
        tables.append("higher" if set(judged) & set(DIFFERENT) else "≈" if judged else "?")
        if with_images:
            drawn = rng.integers(outcomes[0].images, size=outcomes[0].images)
            chosen = rng.permutation(len(outcomes))[: 2 * half]
            two = np.array([of_images(outcomes[i], drawn).metrics()[column.metric] for i in chosen]).reshape(2, half)
        else:
            two = rng.normal(mean, spread, (2, half))
        pairs += verdicts_of_cells([_cell(list(row)) for row in two], column)
    return _rate(pairs), _rate(tables)


def _outcomes(records: Sequence[Record], numbers: Sequence[int], trunks: Sequence[int], folder: Path) -> list[Outcomes]:
    """The outcomes of one record a trunk; none where one of them has none, or they are of different images."""
    first = [records[list(numbers).index(trunk)] for trunk in trunks]
    read = [each for record in first if (each := outcomes_of(record, folder)) is not None]
    return read if len(read) == len(first) and len({each.names for each in read}) == 1 else []


def of_images(outcomes: Outcomes, chosen: np.ndarray) -> Outcomes:
    """Return the outcomes of the images at these places, in this order, as often as they are named."""
    return _map([outcomes], lambda each: each[0][chosen])


def exchanged(ours: Outcomes, theirs: Outcomes, swap: np.ndarray) -> tuple[Outcomes, Outcomes]:
    """Return both with what they say of the images in `swap` (booleans) exchanged."""

    def chosen(keep: np.ndarray) -> Any:
        return lambda each: np.where(keep.reshape(-1, *[1] * (each[0].ndim - 1)), each[0], each[1])

    return _map([ours, theirs], chosen(~swap)), _map([ours, theirs], chosen(swap))


def _map(outcomes: Sequence[Outcomes], change: Any) -> Outcomes:
    names = ["valid"]
    if isinstance(outcomes[0], TopOutcomes):
        names += ["top1", *(["top5"] if all(getattr(each, "top5", None) is not None for each in outcomes) else [])]
    elif isinstance(outcomes[0], AreaOutcomes):
        names += ["intersection", "predicted", "true"]
    changed = {name: change([getattr(each, name) for each in outcomes]) for name in names}
    return replace(outcomes[0], **changed)


def _by_images(
    outcomes: Sequence[Outcomes], metric: str, draws: int, rng: np.random.Generator
) -> tuple[Rate | None, Rate | None]:
    if not outcomes or metric not in outcomes[0].metrics():
        return None, None
    pairs = list(combinations(outcomes, 2))
    found = [compare_images([ours], [theirs], metric).p < LEVEL for ours, theirs in pairs]
    swapped = []
    for n in range(min(draws, MOST_EXCHANGES)):
        swap = rng.random(outcomes[0].images) < 0.5
        ours, theirs = exchanged(*pairs[n % len(pairs)], swap)
        swapped.append(compare_images([ours], [theirs], metric).p < LEVEL)
    return Rate(sum(found), len(found)), Rate(sum(swapped), len(swapped))
