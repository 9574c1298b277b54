"""Which finished stages are drawn, and which of them side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.config.tasks import DiagnosticsTask, KnnTask, LinearTask, SegmentationTask
from bench.errors import BadInput, StageFailed
from bench.execute.pictures.files import plain
from bench.execute.stored_weights import Stored, stored
from bench.record import Record, read_all
from bench.stages.job import Job

Key = tuple[object, ...]


@dataclass(frozen=True)
class ShownStage:
    """A record whose stage can be shown, and where its data lie."""

    found: Stored
    roots: dict[str, str]
    records: Path  # the folder of the record

    @property
    def task(self) -> Any:
        """The settings of its task."""
        return self.found.stage.task

    @property
    def group(self) -> Key:
        """What those that stand side by side have in common: the measurement, its data, and the architecture."""
        record, recipe = self.found.record, self.found.stage.recipe
        return record.dataset, record.data.get(record.dataset), record.fingerprints.protocol, recipe.arch, recipe.stem

    @property
    def view(self) -> Key:
        """The same of what only looks at a trunk."""
        task, group = self.task, self.group
        if isinstance(task, SegmentationTask):
            return group
        return *group[:2], task.size, task.resize, getattr(task, "inputs", "rgb"), *group[3:]

    @contextmanager
    def job(self, *, trained: bool) -> Iterator[Job]:
        """Give its job in a scratch folder, with the weights that it trained if `trained`; features are shared."""
        names: tuple[str, ...] = ()
        if trained:
            names = self.found.weights()
            self.found.check_weights(names)
        with tempfile.TemporaryDirectory(prefix="bench-pictures-") as scratch, self.found.stage.in_its_mode():
            place = Path(scratch) / self.found.folder.name
            place.mkdir()
            job = self.found.job(place, names, self.roots)
            yield replace(job, features=self.found.work_dir / "features")


def records_of_all(results_dir: Path) -> tuple[list[tuple[Path, Record]], int]:
    """Return one record of each pretraining and measurement, that of the lowest seeds, and how many others there are.

    Raises BadInput where there is no record.
    """
    folder = results_dir / "records"
    every = sorted(read_all(folder), key=lambda record: (record.seed, record.own_seed, record.file_name))
    if not every:
        raise BadInput(f"There are no records in {folder}; give the --results-dir of the run.")
    first: dict[Key, Record] = {}
    for record in every:
        prints, data = record.fingerprints, record.data.get(record.dataset)
        first.setdefault((prints.recipe, prints.protocol, data), record)
    chosen = sorted(first.values(), key=lambda record: record.file_name)
    return [(folder / record.file_name, record) for record in chosen], len(every) - len(chosen)


def shown_stages(
    records: Sequence[tuple[Path, Record]], work_dir: Path, data_root: Sequence[str], say: Callable[[str], None]
) -> Iterator[ShownStage]:
    """Yield those that can be shown, each once."""
    known: dict[str, dict[str, str]] = {}  # data and where they lay -> where they lie: their files are looked at once
    seen: set[str] = set()
    for file, record in records:
        if record.fingerprints.stage in seen:
            continue
        seen.add(record.fingerprints.stage)
        try:
            found = stored(record, work_dir)
            if type(found.stage.task) not in (SegmentationTask, KnnTask, LinearTask, DiagnosticsTask):
                raise BadInput(f"there are no pictures of results of the kind {record.kind}.")
            found.check_code()
            found.check_trunk()
            where = repr((sorted(found.stage.data.items()), sorted(found.stage.data_roots.items())))
            if where not in known:
                known[where] = found.roots(data_root)
            yield ShownStage(found, known[where], file.parent)
        except (BadInput, StageFailed, OSError) as error:
            say(f"no pictures of {plain(record.file_name)}: {error}")


def side_by_side(stages: Sequence[ShownStage], looks: bool) -> list[dict[str, ShownStage]]:
    """Return {label of a column: stage} of each panel; of what only `looks` at trunks, with each trunk once."""
    groups: dict[Key, list[ShownStage]] = {}
    for stage in stages:
        members = groups.setdefault(stage.view if looks else stage.group, [])
        if not looks or stage.found.trunk_folder not in [each.found.trunk_folder for each in members]:
            members.append(stage)
    return [dict(zip(_labels([each.found.record for each in group]), group, strict=True)) for group in groups.values()]


def _labels(records: Sequence[Record]) -> list[str]:
    """A label for each, of no more than tells them apart: the pretraining, its seeds, its fingerprint."""
    labels = [plain(record.pretrain, 60) for record in records]
    for more in (lambda record: record.seeds, lambda record: record.fingerprints.stage[:12]):
        twice = {label for label in labels if labels.count(label) > 1}
        labels = [
            f"{label}, {more(record)}" if label in twice else label
            for label, record in zip(labels, records, strict=True)
        ]
    return labels


def about(stage: ShownStage) -> str:
    """Return in words what a panel that begins with this stage is about."""
    record, recipe = stage.found.record, stage.found.stage.recipe
    return f"{record.task} on {record.dataset}, {recipe.arch}"
