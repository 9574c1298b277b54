"""What a pretraining without training does with images: its norms get their statistics (`norm_statistics="data"`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from bench.config.recipe import Recipe
from bench.data.clips import ClipEvalDataset
from bench.data.images import EvalDataset, in_order, loader
from bench.data.sampler import chosen
from bench.data.sets import Index, get, part
from bench.data.views import normalised
from bench.errors import BadInput
from bench.machine import loader_workers
from bench.nn.encoder import Encoder
from bench.nn.norm_statistics import set_statistics
from bench.progress import Progress
from bench.stages.job import Job
from bench.train.distributed import Ranks
from bench.train.precision import without_tf32

AT_ONCE = 64  # images; the statistics are of all of them together


def measure_norms(encoder: Encoder, recipe: Recipe, job: Job, images: Index, ranks: Ranks) -> dict[str, Any]:
    """Set the encoder's norms by a recipe's images, and return {"norm_images", "images_skipped"}.

    The images are `subset` of the data set, drawn by the seed, as they are evaluated: whole, their middle cut out,
    nothing drawn. All is computed in float32.

    Raises BadInput where none of them can be read.
    """
    dataset = images_of(recipe, job, images)
    skipped = 0

    def batches(progress: Progress) -> Iterator[Tensor]:
        nonlocal skipped
        for batch in reading(dataset, recipe, ranks):
            skipped += batch.skipped
            progress.update(len(batch.views[0]) + batch.skipped)
            yield normalised(batch.views[0].to(ranks.device))

    with Progress(f"norms of {recipe.name}-s{job.seed}", len(dataset), "images") as progress, without_tf32():
        count = set_statistics(encoder.to(ranks.device), batches(progress))
    if not count:
        raise BadInput(f"No image below {images.root} can be read; bench data check says why.")
    return {"norm_images": count, "images_skipped": skipped}


def images_of(recipe: Recipe, job: Job, images: Index) -> EvalDataset:
    """Return the images of a recipe's norms. Small ones are not enlarged before their middle is cut out."""
    positions = chosen(len(images.files), recipe.subset, job.seed).tolist()
    some = part(images, positions) if len(positions) < len(images.files) else images
    size = recipe.view_size
    resize = size if recipe.augmentation == "small" else round(size * 256 / 224)
    kind = ClipEvalDataset if get(recipe.dataset).video else EvalDataset
    return kind(some, size, resize, job.unreadable)


def reading(dataset: EvalDataset, recipe: Recipe, ranks: Ranks) -> Any:
    """Return a loader of all images in order."""
    side = recipe.view_size
    workers = loader_workers(
        recipe.workers, device=ranks.device.type, images=len(dataset), batch_bytes=AT_ONCE * 3 * side**2, processes=1
    )
    return loader(dataset, in_order(len(dataset), AT_ONCE), workers, pin=ranks.device.type == "cuda")
