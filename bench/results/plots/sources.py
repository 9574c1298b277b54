"""What figures are drawn from: records, and what pretrainings in work folders have logged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from bench.files import read_json, without_checksum
from bench.made import Made
from bench.metrics_file import FILE, values_of
from bench.record import Record
from bench.results.as_now import as_now
from bench.results.frame import without_repeats
from bench.results.mixtures import hardware_words
from bench.results.named_rows import USUAL_STEM, label_with_hash, network_words
from bench.results.trunks import Trunks

MOST_DRAWN = 1e100  # of values: sums and squares of larger ones are not finite
Logged = list[tuple[int, float]]  # steps, ascending, and what was logged after each


@dataclass(frozen=True)
class Run:
    """One pretraining in a work folder, with what it has logged so far.

    Attributes:
        name: of its config.
        label: `name`, or `name @hash` where another run here has that name and another recipe.
        series: key of the log -> steps and values.
        damaged: lines of the log that are no log lines, such as half a line that a killed process left.
        not_finite: values that are nan, infinite or too large for a sum, which are left out of `series`.
    """

    name: str
    label: str
    recipe: str  # fingerprint
    seed: int
    profile: str
    arch: str
    dataset: str
    machine: str  # in words; "" where it is not known
    series: dict[str, Logged]
    damaged: int = 0
    not_finite: int = 0


@dataclass(frozen=True)
class Sources:
    """Records with their files, and work folders whose pretrainings' logs are read."""

    records: list[tuple[Path, Record]]
    work_dirs: list[Path]

    @cached_property
    def trunks(self) -> Trunks:
        """Which records are of one trunk."""
        return Trunks(self._now)

    @cached_property
    def measured(self) -> list[Record]:
        """The records as tables count them: with the fingerprints of today, each trunk and task seed once."""
        return without_repeats(self._now, self.trunks)

    @cached_property
    def recipes(self) -> dict[tuple[str, str, str], set[str]]:
        """{(profile, network, name of a row): fingerprints of the recipes of that name}."""
        found: dict[tuple[str, str, str], set[str]] = {}
        for record in self.measured:
            key = record.profile, network_of(record), record.pretrain
            found.setdefault(key, set()).add(record.fingerprints.recipe)
        return found

    @cached_property
    def _now(self) -> list[Record]:
        return as_now([record for _, record in self.records])

    @cached_property
    def runs(self) -> list[Run]:
        """The pretrainings of the work folders that have logged something, by name, recipe and seed."""
        read = [run for folder in self.work_dirs for run in _runs_in(folder)]
        recipes: dict[tuple[str, str], set[str]] = {}
        for run in read:
            recipes.setdefault((run.profile, run.name), set()).add(run.recipe)
        labelled = [
            replace(run, label=label_with_hash(run.name, run.recipe))
            if len(recipes[run.profile, run.name]) > 1
            else run
            for run in read
        ]
        return sorted(labelled, key=lambda run: (run.profile, run.name, run.recipe, run.seed))

    @property
    def row_words(self) -> set[str]:
        """The words by which `of_rows` knows rows."""
        words = [_words(record.pretrain, record.fingerprints.recipe) for record in self._now]
        return set().union(*words, *(_words(run.name, run.recipe) for run in self.runs))

    def of_rows(self, rows: Sequence[str]) -> Sources:
        """Return what belongs to rows, each given by its name or as `name @hash`."""
        wanted = set(rows)
        chosen = [
            pair
            for pair, record in zip(self.records, self._now, strict=True)
            if wanted & _words(record.pretrain, record.fingerprints.recipe)
        ]
        part = Sources(chosen, self.work_dirs)
        part.__dict__["runs"] = [run for run in self.runs if wanted & _words(run.name, run.recipe)]  # read once
        part.__dict__["trunks"] = self.trunks  # other rows may tell that two results are of the same weights
        return part


def network_of(record: Record) -> str:
    """Return a record's network, with its stem where that is not the usual one."""
    return network_words(record.arch, record.settings.get("pretrain", {}).get("stem", USUAL_STEM))


def _words(name: str, recipe: str) -> set[str]:
    return {name, label_with_hash(name, recipe)}


def _runs_in(work: Path) -> Iterator[Run]:
    for folder in sorted((work / "pretrain").glob("*/")):
        stage = read_json(folder / "stage.json")
        try:
            recipe = stage["recipe"]
            about = {key: str(recipe[key]) for key in ("name", "profile", "arch", "dataset")}
            about["arch"] = network_words(about["arch"], recipe.get("stem", USUAL_STEM))
            print_of, seed = str(stage["recipe_fingerprint"]), int(stage["seed"])
        except (ValueError, KeyError, TypeError):
            continue  # no folder of a stage, or one that is being made
        series, damaged, not_finite = read_log(folder / FILE)
        if series or damaged:
            machine = _machine(folder / "made.json")
            yield Run(
                **about,
                label=about["name"],
                recipe=print_of,
                seed=seed,
                machine=machine,
                series=series,
                damaged=damaged,
                not_finite=not_finite,
            )


def _machine(file: Path) -> str:
    """What ran a stage, in words, one after another where several did; "" where that is not known."""
    try:
        made = Made.model_validate_json(without_checksum(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return ""
    known = [hardware_words(part.hardware) for part in made.parts]
    return ", then ".join(dict.fromkeys(filter(None, known)))


def read_log(file: Path) -> tuple[dict[str, Logged], int, int]:
    """Return what a log says by key, the steps ascending; how many lines are damaged; how many values not finite.

    Of a step that is there twice the last value counts. A log that is not there says nothing.
    """
    values: dict[str, dict[int, float]] = {}
    damaged = not_finite = 0
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except OSError:
        return {}, 0, 0
    for line in lines:
        said = values_of(line)
        if said is None:
            damaged += 1
            continue
        step = said.pop("step")
        for key, value in said.items():
            if abs(value) <= MOST_DRAWN:  # nan is not
                values.setdefault(key, {})[step] = value
            else:
                not_finite += 1
    return {key: sorted(of.items()) for key, of in values.items()}, damaged, not_finite
