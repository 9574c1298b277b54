"""How the loader grows: with the processes that read, and with the images in a batch.

    python benchmarks/loader.py [--rounds N] [--images DIR] [--quick]

From JPEG files to batches of two BYOL views of 224 pixels, as the training loop gets them; lightly's transform in
torch's DataLoader for comparison.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from interleave import Contender, measure
from photographs import about, photographs
from report import write_curve

SIZE = 224


class Blocks:
    """A batch sampler that gives `count` batches of an endless one each time that it is iterated over."""

    def __init__(self, batches: Iterator[Any], count: int) -> None:
        self.batches, self.count = batches, count

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self.batches, self.count)

    def __len__(self) -> int:
        return self.count


def ours(files: Sequence[str], workers: int, batch: int, batches: int) -> Callable[[], int]:
    """This project's loader: `batches` batches a sample, from the first word to the last batch.

    Args:
        files: paths of JPEG files.
        workers: processes that read; 0 reads in this one.
        batch: images in a batch.
        batches: in a sample.
    """
    from bench.data.images import ViewDataset, loader
    from bench.data.sampler import DrawSampler
    from bench.data.sets import Index
    from bench.data.views import BYOL_VIEWS

    index = Index("coco", Path("/"), "train", tuple(file.lstrip("/") for file in files))
    dataset = ViewDataset(index, BYOL_VIEWS(SIZE), seed=0)
    found = loader(dataset, Blocks(iter(DrawSampler(len(files), batch, seed=0)), batches), workers)

    def sample() -> int:
        return sum(len(read.views[0]) for read in found)

    return sample


def lightly(files: Sequence[str], workers: int, batch: int, batches: int) -> Callable[[], int]:
    """lightly's BYOLTransform in torch's DataLoader, under the same batches; arguments as of `ours`."""
    import torch
    from lightly.transforms import BYOLTransform
    from PIL import Image

    class Files(torch.utils.data.Dataset[Any]):
        transform = BYOLTransform()

        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> Any:
            with Image.open(files[index]) as image:
                return self.transform(image.convert("RGB"))

    positions = itertools.cycle(range(len(files)))
    endless = (list(itertools.islice(positions, batch)) for _ in itertools.count())
    found = torch.utils.data.DataLoader(
        Files(), batch_sampler=Blocks(endless, batches), num_workers=workers, persistent_workers=workers > 0
    )

    def sample() -> int:
        return sum(len(views[0]) for views in found)

    return sample


def by_batch(files: Sequence[str], sizes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """The seconds of one batch of each size in turn, read in this process."""
    import torch

    torch.set_num_threads(1)
    samples = {size: ours(files, 0, size, 1) for size in sizes}
    points: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    samples[sizes[0]]()
    for number in range(rounds):
        first = number % len(sizes)
        for size in [*sizes[first:], *sizes[:first]]:
            start = time.perf_counter()
            units = samples[size]()
            points[size].append({"seconds": time.perf_counter() - start, "units": units})
    return [{"x": size, "samples": found} for size, found in points.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write results/benchmarks/loader_{workers,batch}.json."""
    parser = argparse.ArgumentParser(description="Growth of the loader with its workers and with the batch.")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--images", type=Path, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs")
    options = parser.parse_args(arguments)
    batch, batches, rounds = (2, 2, 1) if options.quick else (16, 6, options.rounds)
    paths = photographs(4 if options.quick else 64, options.images)
    files = [str(path.resolve()) for path in paths]
    same = {"files": files, "batch": batch, "batches": batches}

    counts = {"ours": [0, 2], "lightly": []} if options.quick else {"ours": [0, 1, 2], "lightly": [0, 2]}
    contenders = [
        Contender(f"{name} {workers}", f"loader:{name}", same | {"workers": workers}, peer=name == "lightly", threads=1)
        for name, some in counts.items()
        for workers in some
    ]
    measured = measure(contenders, rounds)
    series = {
        name: [{"x": workers, "samples": measured[f"{name} {workers}"].plain()["samples"]} for workers in some]
        for name, some in counts.items()
        if some
    }
    made = f"Two views of {SIZE} pixels from {about(paths)}; one thread a process."
    write_curve(
        "loader_workers",
        "Loader: images a second by worker processes",
        series,
        x="workers (0: the training process reads)",
        y="images/s",
        notes=[
            made,
            f"A sample is {batches} batches of {batch} images, from the first request to the last batch, so that the "
            "time in which a pipeline fills counts.",
            "No gain from 0 to 1: one process reads either way. More workers than cores only take turns.",
        ],
    )
    sizes = (2, 4) if options.quick else (8, 16, 32, 64)
    write_curve(
        "loader_batch",
        "Loader: seconds by images in a batch",
        {"ours, no workers": by_batch(files, sizes, rounds)},
        x="images in a batch",
        notes=[made],
    )


if __name__ == "__main__":
    main()
