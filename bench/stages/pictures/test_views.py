"""Images of a classification data set as a frozen trunk is shown them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.config.tasks import DiagnosticsTask, KnnTask, LinearTask
from bench.data.decode import Undecodable
from bench.data.images import Files
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
        raise BadInput(str(files.unreadable(position, error))) from error
    return Shown(images.files[position], files.label(position), pixels)


def fixed_images(job: Job, count: int) -> list[Shown]:
    """Return `count` fixed images of the validation set of the job's task. Raises BadInput as `shown` does."""
    task = job.config
    assert isinstance(task, KnnTask | LinearTask | DiagnosticsTask)
    images = index(task.dataset, job.data_root(task.dataset), "val")
    return [shown(job, images, position) for position in fixed(images.files, count)]
