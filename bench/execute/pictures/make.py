"""Walk through records, compute what is shown of their stages, one network at a time, and write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config.tasks import KnnTask, SegmentationTask
from bench.errors import BadInput, StageFailed
from bench.execute.pictures.files import Panel, Written, plain, write
from bench.execute.pictures.shown_stages import ShownStage, about, shown_stages, side_by_side
from bench.outcomes import AreaOutcomes, names_digest
from bench.record import Record
from bench.results.outcomes import outcomes_of
from bench.results.report.picture_files import MOST_BYTES, Kind
from bench.stages.job import Job

if TYPE_CHECKING:
    from bench.execute.pictures.panels import Predicted
    from bench.stages.segmentation.single_images import LabelledImage


@dataclass
class Walk:
    """How many fixed images to show, what is told sentences, and the panels so far."""

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
    stages = list(shown_stages(records, work_dir, data_root, say))
    for kind, add, of in (
        ("segmentation", _segmentation, lambda task: isinstance(task, SegmentationTask)),
        ("neighbours", _neighbours, lambda task: isinstance(task, KnnTask)),
        ("pca", _pca, lambda _: True),
    ):
        if kind in kinds:
            for group in side_by_side([each for each in stages if of(each.task)], looks=kind == "pca"):
                add(walk, group)
    if not walk.panels:
        raise StageFailed("No picture could be made of these records; what was there before is unchanged.")
    written = write(walk.panels, work_dir)
    if written.shown > MOST_BYTES:
        say(
            f"the images take {written.shown / 1e6:.1f} MB where they are shown, small as they are; draw fewer records "
            "or images."
        )
    return written


def _segmentation(walk: Walk, group: dict[str, ShownStage]) -> None:
    from bench.execute.pictures.panels import segmentation_panel
    from bench.stages.pictures.choice import fixed, worst
    from bench.stages.pictures.overlay import colours_of
    from bench.stages.segmentation.single_images import validation_set

    shown: list[LabelledImage] = []
    outcomes: dict[str, AreaOutcomes] = {}
    reasons: dict[int, list[str]] = {}
    found: dict[str, dict[int, Predicted]] = {}
    for label, stage in group.items():
        with walk.tolerant(stage.found.record, "segmentation"), stage.job(trained=True) as job:
            if not shown:
                data = validation_set(job)
                colours = colours_of(data.palette, len(data.classes))
                outcomes = _outcomes(walk, group, names_digest(data.names), data.classes)
                reasons = {position: ["fixed"] for position in fixed(data.names, walk.images)}
                for row, each in outcomes.items():
                    if (position := worst(each)) is not None:
                        reasons.setdefault(position, []).append(f"worst of {row}")
                shown = [data.image(position) for position in reasons]
            found[label] = _predictions(job, shown, label, colours, outcomes.get(label))
            if apart := sum(each.apart for each in found[label].values()):
                walk.say(
                    f"{plain(stage.found.record.file_name)}: {apart} of {len(shown)} images shown come out otherwise "
                    "than recorded; bench verify says why."
                )
    if not found:
        return
    gone = {f"worst of {row}" for row in group if row not in found}
    reasons = {position: [why for why in each if why not in gone] for position, each in reasons.items()}
    shown = [image for image in shown if reasons[image.position]]
    first = next(iter(group.values()))
    walk.panels.append(segmentation_panel(about(first), shown, reasons, found, data.classes, colours))


def _predictions(
    job: Job, images: Sequence[LabelledImage], label: str, colours: np.ndarray, recorded: AreaOutcomes | None
) -> dict[int, Predicted]:
    """What one network says of each image, by its position; the network goes when this returns."""
    from bench.execute.pictures.panels import predicted
    from bench.stages.segmentation.single_images import predictor

    with predictor(job) as predict:
        return {each.position: predicted(each, predict(each.position), label, colours, recorded) for each in images}


def _outcomes(
    walk: Walk, group: dict[str, ShownStage], names: str, classes: tuple[str, ...]
) -> dict[str, AreaOutcomes]:
    """What the records say of each image, where they say something of these images and classes."""
    found: dict[str, AreaOutcomes] = {}
    for label, stage in group.items():
        record = stage.found.record
        try:
            read = outcomes_of(record, stage.records)
        except BadInput as error:
            walk.say(f"the worst image of {plain(record.file_name)} is not known: {error}")
            continue
        if isinstance(read, AreaOutcomes) and (read.names, read.classes) == (names, classes):
            found[label] = read
        else:
            walk.say(f"the worst image of {plain(record.file_name)} is not known: it says nothing of single images.")
    return found


def _neighbours(walk: Walk, group: dict[str, ShownStage]) -> None:
    from bench.execute.pictures.panels import neighbours_panel
    from bench.stages.pictures.neighbours import Neighbours, neighbours

    found: dict[str, Neighbours] = {}
    for label, stage in group.items():
        with walk.tolerant(stage.found.record, "neighbours"), stage.job(trained=False) as job:
            found[label] = neighbours(job, walk.images)
    if found:
        walk.panels.append(neighbours_panel(about(next(iter(group.values()))), found))


def _pca(walk: Walk, group: dict[str, ShownStage]) -> None:
    from bench.execute.pictures.panels import pca_panel
    from bench.stages.pictures.components import Components, components
    from bench.stages.pictures.evaluation_views import Shown
    from bench.stages.pictures.maps import MAPS, maps_of

    images: list[Shown] = []
    found: dict[str, dict[str, Components]] = {name: {} for name in reversed(MAPS)}
    for label, stage in group.items():
        with walk.tolerant(stage.found.record, "pca"), stage.job(trained=False) as job:
            images = images or _inputs(job, walk.images)
            maps = maps_of(
                job.inputs["convert"], [image.pixels for image in images], getattr(job.config, "inputs", "rgb")
            )
            for name in found:
                found[name][label] = components(maps[name])
    for name, of_map in found.items():
        if of_map:
            walk.panels.append(pca_panel(about(next(iter(group.values()))), name, images, of_map))


def _inputs(job: Job, count: int) -> list[Any]:
    """The fixed images of a job's data set, as its trunk is shown them."""
    from bench.stages.pictures.choice import fixed
    from bench.stages.pictures.evaluation_views import Shown, fixed_images

    if not isinstance(job.config, SegmentationTask):
        return fixed_images(job, count)
    from bench.stages.segmentation.single_images import validation_set

    data = validation_set(job)
    images = map(data.image, fixed(data.names, count))
    return [Shown(each.name, None, each.input) for each in images]
