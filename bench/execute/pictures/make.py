"""Walk through records, compute what is shown of their stages, one network at a time, and write it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.config.tasks import DiagnosticsTask, KnnTask, LinearTask, SegmentationTask
from bench.errors import BadInput, StageFailed
from bench.execute.pictures.files import LIMIT, Kind, Panel, Written, plain, write
from bench.execute.stored_weights import Stored, stored
from bench.outcomes import AreaOutcomes, names_digest
from bench.record import Record, read_all
from bench.results.outcomes import outcomes_of
from bench.stages.job import Job

Key = tuple[object, ...]


@dataclass(frozen=True)
class Source:
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


@dataclass
class Walk:
    """Sources, and what could not be shown, in sentences."""

    images: int
    say: Callable[[str], None]
    panels: list[Panel] = field(default_factory=list)

    @contextmanager
    def tolerant(self, record: Record, kind: Kind) -> Iterator[None]:
        """Say what is missing of a record, and go on without it."""
        try:
            yield
        except (BadInput, StageFailed, OSError) as error:
            self.say(f"no {kind} of {plain(record.file_name)}: {error}")


def make(
    records: Sequence[tuple[Path, Record]],
    work_dir: Path,
    data_root: Sequence[str],
    images: int,
    kinds: Sequence[Kind],
    say: Callable[[str], None],
) -> Written:
    """Write pictures of these records' stages below `work_dir`.

    Args:
        records: with their files.
        work_dir: of the runs.
        data_root: as `bench verify` takes it; () where the data lie where they lay.
        images: how many fixed images of each data set are shown.
        kinds: of the panels.
        say: is given a sentence for each record, and each kind of picture of it, that cannot be shown.

    Raises BadInput where there is no such folder, StageFailed where nothing could be shown: what was written before
    stays.
    """
    if not work_dir.is_dir():
        raise BadInput(f"There is no work folder {work_dir}; give the --work-dir of the run.")
    walk = Walk(images, say)
    sources = list(_sources(records, work_dir, data_root, say))
    for kind, add, of in (
        ("segmentation", _segmentation, lambda task: isinstance(task, SegmentationTask)),
        ("neighbours", _neighbours, lambda task: isinstance(task, KnnTask)),
        ("pca", _pca, lambda _: True),
    ):
        if kind in kinds:
            for group in _grouped([each for each in sources if of(each.task)], looks=kind == "pca"):
                add(walk, group)
    if not walk.panels:
        raise StageFailed("No picture could be made of these records; what was there before is unchanged.")
    written = write(walk.panels, work_dir)
    if written.size > LIMIT:
        say(f"the images take {written.size / 1e6:.1f} MB in all, small as they are; draw fewer records or images.")
    return written


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


def _sources(
    records: Sequence[tuple[Path, Record]], work_dir: Path, data_root: Sequence[str], say: Callable[[str], None]
) -> Iterator[Source]:
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
            about = repr((sorted(found.stage.data.items()), sorted(found.stage.data_roots.items())))
            if about not in known:
                known[about] = found.roots(data_root)
            yield Source(found, known[about], file.parent)
        except (BadInput, StageFailed, OSError) as error:
            say(f"no pictures of {plain(record.file_name)}: {error}")


def _grouped(sources: Sequence[Source], looks: bool) -> list[dict[str, Source]]:
    """Sources that stand side by side, by the labels of their columns; with `looks` each trunk once."""
    groups: dict[Key, list[Source]] = {}
    for source in sources:
        members = groups.setdefault(source.view if looks else source.group, [])
        if not looks or source.found.trunk_folder not in [each.found.trunk_folder for each in members]:
            members.append(source)
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


def _about(source: Source) -> str:
    record, recipe = source.found.record, source.found.stage.recipe
    return f"{record.task} on {record.dataset}, {recipe.arch}"


def _segmentation(walk: Walk, group: dict[str, Source]) -> None:
    from bench.execute.pictures.panels import Predicted, predicted, segmentation_panel
    from bench.stages.pictures.choice import fixed, worst
    from bench.stages.pictures.overlay import colours_of
    from bench.stages.segmentation.single_images import LabelledImage, predictor, validation_set

    shown: list[LabelledImage] = []
    outcomes: dict[str, AreaOutcomes] = {}
    reasons: dict[int, list[str]] = {}
    found: dict[str, dict[int, Predicted]] = {}
    for label, source in group.items():
        with walk.tolerant(source.found.record, "segmentation"), source.job(trained=True) as job:
            if not shown:
                data = validation_set(job)
                colours = colours_of(data.palette, len(data.classes))
                outcomes = _outcomes(walk, group, names_digest(data.names), data.classes)
                reasons = {position: ["fixed"] for position in fixed(data.names, walk.images)}
                for row, each in outcomes.items():
                    if (position := worst(each)) is not None:
                        reasons.setdefault(position, []).append(f"worst of {row}")
                shown = [data.image(position) for position in reasons]
            with predictor(job) as predict:
                of_row = {
                    each.position: predicted(each, predict(each.position), label, colours, outcomes.get(label))
                    for each in shown
                }
            found[label] = of_row
            if apart := sum(each.apart for each in of_row.values()):
                walk.say(
                    f"{plain(source.found.record.file_name)}: {apart} of {len(of_row)} images shown come out otherwise "
                    "than recorded; bench verify says why."
                )
    if not found:
        return
    gone = {f"worst of {row}" for row in group if row not in found}
    reasons = {position: [why for why in each if why not in gone] for position, each in reasons.items()}
    shown = [image for image in shown if reasons[image.position]]
    first = next(iter(group.values()))
    walk.panels.append(segmentation_panel(_about(first), shown, reasons, found, data.classes, colours))


def _outcomes(walk: Walk, group: dict[str, Source], names: str, classes: tuple[str, ...]) -> dict[str, AreaOutcomes]:
    """What the records say of each image, where they say something of these images and classes."""
    found: dict[str, AreaOutcomes] = {}
    for label, source in group.items():
        record = source.found.record
        try:
            read = outcomes_of(record, source.records)
        except BadInput as error:
            walk.say(f"the worst image of {plain(record.file_name)} is not known: {error}")
            continue
        if isinstance(read, AreaOutcomes) and (read.names, read.classes) == (names, classes):
            found[label] = read
        else:
            walk.say(f"the worst image of {plain(record.file_name)} is not known: it says nothing of single images.")
    return found


def _neighbours(walk: Walk, group: dict[str, Source]) -> None:
    from bench.execute.pictures.panels import neighbours_panel
    from bench.stages.pictures.neighbours import Neighbours, neighbours

    found: dict[str, Neighbours] = {}
    for label, source in group.items():
        with walk.tolerant(source.found.record, "neighbours"), source.job(trained=False) as job:
            found[label] = neighbours(job, walk.images)
    if found:
        walk.panels.append(neighbours_panel(_about(next(iter(group.values()))), found))


def _pca(walk: Walk, group: dict[str, Source]) -> None:
    from bench.execute.pictures.panels import pca_panel
    from bench.stages.pictures.components import Components, components
    from bench.stages.pictures.maps import MAPS, maps_of
    from bench.stages.pictures.test_views import Shown

    images: list[Shown] = []
    found: dict[str, dict[str, Components]] = {name: {} for name in reversed(MAPS)}
    for label, source in group.items():
        with walk.tolerant(source.found.record, "pca"), source.job(trained=False) as job:
            images = images or _inputs(job, walk.images)
            maps = maps_of(
                job.inputs["convert"], [image.pixels for image in images], getattr(job.config, "inputs", "rgb")
            )
            for name in found:
                found[name][label] = components(maps[name])
    for name, of_map in found.items():
        if of_map:
            walk.panels.append(pca_panel(_about(next(iter(group.values()))), name, images, of_map))


def _inputs(job: Job, count: int) -> list[Any]:
    """The fixed images of a job's data set, as its trunk is shown them."""
    from bench.stages.pictures.choice import fixed
    from bench.stages.pictures.test_views import Shown, fixed_images

    if not isinstance(job.config, SegmentationTask):
        return fixed_images(job, count)
    from bench.stages.segmentation.single_images import validation_set

    data = validation_set(job)
    images = map(data.image, fixed(data.names, count))
    return [Shown(each.name, None, each.input) for each in images]
