"""Images of a classification data set as a frozen trunk is shown them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.config.tasks import DiagnosticsTask, KnnTask, LinearTask
from bench.data.decode import Undecodable
from bench.data.images import Files, UnreadableImage
from bench.data.sets import Index, index
from bench.data.views.pillow import make_test_view
from bench.errors import BadInput
from bench.stages.job import Job
from bench.stages.pictures.choice import fixed


@dataclass(frozen=True)
class Shown:
    """An image of a split under the test transform."""

    name: str  # relative to the data set's root
    label: int | None
    pixels: np.ndarray  # size×size×3 uint8


def shown(job: Job, images: Index, position: int) -> Shown:
    """Return an image as the job's task shows it to the trunk. Raises BadInput where it cannot be read."""
    task = job.config
    assert isinstance(task, KnnTask | LinearTask | DiagnosticsTask)
    files = Files.of(images, job.pack(task.dataset, images.split, "evaluation"))
    try:
        pixels, _ = make_test_view(files.image(position), task.size, task.resize)
    except Undecodable as error:
        raise files.unreadable(position, error) from error
    return Shown(images.files[position], files.label(position), pixels)


def fixed_images(job: Job, count: int) -> list[Shown]:
    """Return `count` fixed images of the validation set of the job's task, of those that can be read.

    Raises BadInput for one that cannot, where the job does not skip such.
    """
    task = job.config
    assert isinstance(task, KnnTask | LinearTask | DiagnosticsTask)
    images = index(task.dataset, job.data_root(task.dataset), "val")
    found: list[Shown] = []
    for position in fixed(images.files, len(images.files)):
        if len(found) == count:
            break
        try:
            found.append(shown(job, images, position))
        except UnreadableImage:
            if job.unreadable == "fail":
                raise
    if not found:
        raise BadInput(f"No image of {images.split} below {images.root} can be read; bench data check says why.")
    return found
