"""Finished linear classifiers, which are evaluated again without training."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from bench.data.sets import Index
from bench.errors import BadInput
from bench.stages.job import Job


def images_of(job: Job, training: Index, heads: str) -> int:
    """Return how many images heads are trained on: all of `training`, or what the file of finished heads says.

    It says fewer where some could not be read. Raises BadInput for a file that does not say it.
    """
    if not job.evaluation_only:
        return len(training.files)
    file = job.folder / heads
    try:
        with safe_open(file, framework="pt") as opened:
            return int((opened.metadata() or {})["images"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise BadInput(f"{file} is missing or damaged; its stage must run again before it can be evaluated.") from error


def check_finished(file: Path, step: int, total: int) -> None:
    """Raise BadInput for heads that are not at the end of the training that is asked for."""
    if step != total:
        raise BadInput(
            f"{file.name} does not hold the heads of this stage after step {total}; they were changed or replaced, and "
            "its stage must run again before it can be evaluated."
        )
