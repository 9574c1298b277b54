"""A whole split of small images on the training device, and views of its batches made there.

Nothing is decoded, and no worker runs: a batch is the numbers of its images and the uniform numbers that its views are
drawn from (batch_draw); all else happens on the device, as in the back end `device`, whose steps these are
(device.py). The numbers of a step are a function of (seed, step), drawn for the batch of all ranks, of
which each micro-batch takes its part: so views depend neither on the number of ranks nor on `accumulate`, and they are
the same on any device but for the rounding of its float arithmetic. Which images are in a step is DrawSampler's matter,
as with the other back ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data.decode import Undecodable, read_array
from bench.data.sampler import DrawSampler, chosen
from bench.data.sets import Index, part
from bench.data.sets.data_set import Pixels
from bench.data.views.batch import Batch, normalised
from bench.data.views.batch_draw import Draws, draw_batch, numbers, split
from bench.data.views.device import check_steps, make, precision
from bench.data.views.draw import HUE
from bench.data.views.spec import View
from bench.data.views.strong import StrongStep, draw_strong, strengthen_batch
from bench.errors import BadInput
from bench.machine import cores
from bench.nn.compiling import compile_fixed
from bench.progress import Progress
from bench.randomness import generator

CHUNK = 4096  # images that are read, or copied to the device, at once
# Values of the images that a CPU makes views of at once, so that what it reads next is still in its cache.
CACHED = 128 * 3 * 32 * 32
SHARE = 0.5  # of the free memory that images may take


class Resident:
    """The images of a split on a device, N×3×H×W uint8, and what makes batches of their views.

    Args:
        index: the split; its images have one size.
        seed: of the views and of the subset.
        device: where the images lie and the views are made.
        subset: use only so many images, drawn once by the seed; all, if there are no more.
        compiled: whether views are made by compiled code (torch.compile); values may differ by rounding.
        sharing: processes that each keep the images in the memory of this one.

    Raises BadInput when images differ in size or cannot be read, when they would take more than half of the free
    memory, and for views that need a map of their image, or steps that the device does not make.
    """

    def __init__(
        self,
        index: Index,
        views: Sequence[View],
        seed: int,
        device: torch.device,
        subset: int | None = None,
        compiled: bool = False,
        sharing: int = 1,
    ) -> None:
        self.views = tuple(view for view in views for _ in range(view.count))
        if any(view.salient > 0 for view in self.views):
            raise BadInput(
                "Views that cover what is salient need a map of each image, which the loader's workers make; set "
                "view_backend to 'fast' or 'reference'."
            )
        check_steps(self.views)
        self.seed, self.device = seed, device
        self.positions = chosen(len(index.files), subset, seed)
        some = index if len(self.positions) == len(index.files) else part(index, self.positions)
        _check_memory(some, device, sharing)
        self.pixels = _placed(load_pixels(some) if some.pixels is None else some.pixels, device)
        self._indices = torch.from_numpy(self.positions).to(device)
        self._labels = None if some.labels is None else torch.tensor(some.labels, dtype=torch.int64, device=device)
        self._compiled = compiled
        self._make = compile_fixed(self._made) if compiled else self._made
        if device.type == "cuda":  # batches are made on another stream than this copy
            torch.cuda.synchronize(device)

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(self, sampler: DrawSampler, accumulate: int = 1) -> Iterator[Batch]:
        """Yield the micro-batches of a sampler's steps, without an end, each of whose `to` makes its views.

        Args:
            sampler: of this split; batches of one rank.
            accumulate: consecutive parts of equal size that a rank's share of a step is cut into.
        """
        columns = sum(numbers(view) for view in self.views)
        for share in sampler.shares():
            rng = generator(self.seed, "resident", share.step)
            uniform = rng.random((sampler.batch_size, columns), dtype=np.float32)[share.places]
            size = len(share.images) // accumulate
            for number in range(accumulate):
                rows = slice(number * size, (number + 1) * size)
                yield self._pending(share.images[rows], uniform[rows], share.draws[rows])

    def _pending(self, images: np.ndarray, uniform: np.ndarray, draws: np.ndarray) -> Batch:
        strong = [
            [draw_strong(view.strong, generator(self.seed, "strong", number, int(draw))) for draw in draws]
            if view.strong
            else []
            for number, view in enumerate(self.views)
        ]
        places, rows = torch.from_numpy(images), torch.from_numpy(uniform)
        if self.device.type == "cuda":
            places, rows = places.pin_memory(), rows.pin_memory()
        indices = torch.from_numpy(self.positions[images])
        return ResidentBatch([], [], None, indices, resident=self, places=places, uniform=rows, strong=strong)

    def made(
        self, places: Tensor, uniform: Tensor, strong: Sequence[Sequence[tuple[StrongStep, ...]]]
    ) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor | None]:
        """Return views N×3×s×s uint8, their boxes N×5, positions in the Index and labels N, all on the device.

        Args:
            places: of the images in `pixels`, N int64 on the device.
            uniform: N×(numbers of all views) float32 on the device.
            strong: of each view the strong steps of each image, empty where it has none.
        """
        if self._compiled or self.device.type != "cpu":
            views, boxes = self._make(self.pixels, places, uniform)
        else:
            n = max(1, CACHED // self.pixels[0].numel())
            parts = [self._make(self.pixels, *part) for part in zip(places.split(n), uniform.split(n), strict=True)]
            views, boxes = ([torch.cat(part) for part in zip(*kind, strict=True)] for kind in zip(*parts, strict=True))
        views = [strengthen_batch(view, steps) for view, steps in zip(views, strong, strict=True)]
        return views, boxes, self._indices[places], None if self._labels is None else self._labels[places]

    def _made(self, pixels: Tensor, places: Tensor, uniform: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        height, width = pixels.shape[2:]
        images = pixels[places].to(precision(pixels.device))
        views: list[Tensor] = []
        boxes: list[Tensor] = []
        first: Draws | None = None
        for view, rows in zip(self.views, split(uniform, self.views), strict=True):
            drawn = draw_batch(view, rows, width, height, None if first is None else first.crop)
            if view.flip_as_first and first is not None:
                drawn.flip = first.flip
            first = drawn if first is None else first
            turns = view.jitter is not None and view.jitter[HUE] > 0
            views.append(make(images, view, drawn.parameters(turns)))
            boxes.append(drawn.boxes(width, height))
        return views, boxes


@dataclass
class ResidentBatch(Batch):
    """A batch whose images lie on the device already: `to` draws and makes its views there."""

    resident: Resident | None = None
    places: Tensor | None = None  # N int64: of its images there
    uniform: Tensor | None = None  # N×M float32: what views are drawn from
    strong: Sequence[Sequence[tuple[StrongStep, ...]]] = ()

    def to(
        self,
        device: torch.device | str,
        memory_format: torch.memory_format | None = None,
        non_blocking: bool = False,
    ) -> Batch:
        """Return the batch with its views, normalised, and all else, on the device where the images lie.

        Raises ValueError for another device.
        """
        assert self.resident is not None
        assert self.places is not None
        assert self.uniform is not None
        here = self.resident.device
        if torch.device(device).type != here.type:
            raise ValueError(f"the images of this batch lie on {here}; it cannot be made on {device}")
        places, uniform = (one.to(here, non_blocking=non_blocking) for one in (self.places, self.uniform))
        views, boxes, indices, labels = self.resident.made(places, uniform, self.strong)
        return Batch([normalised(view, memory_format) for view in views], boxes, labels, indices)


def _placed(pixels: Pixels, device: torch.device) -> Tensor:
    """Return N×H×W×3 on the host as N×3×H×W on the device."""
    n, height, width, colours = pixels.shape
    placed = torch.empty(n, colours, height, width, dtype=torch.uint8, device=device)
    for start in range(0, n, CHUNK):
        part = torch.from_numpy(np.array(pixels[start : start + CHUNK]))  # a copy: what is read may be write-protected
        placed[start : start + CHUNK] = part.to(device).permute(0, 3, 1, 2)
    return placed


def _check_memory(index: Index, device: torch.device, sharing: int) -> None:
    """Refuse, before all is read, what takes too much memory."""
    if not index.files:
        raise BadInput(f"{index.split} of {index.dataset} at {index.root} has no images; add them.")
    try:
        shape = _read(index, 0).shape if index.pixels is None else index.pixels.shape[1:]
    except BadInput:
        return  # reading all says which
    needed, free = len(index.files) * int(np.prod(shape)), free_bytes(device) // sharing
    if needed > SHARE * free:
        raise BadInput(
            f"The {len(index.files)} images of {index.dataset} ({shape[1]}×{shape[0]}) take {needed / 2**30:.1f} GiB, "
            f"more than half of the {free / 2**30:.1f} GiB that are free on {device.type}; set view_backend to "
            "'device' or 'fast', or subset to fewer images."
        )


def free_bytes(device: torch.device) -> int:
    """Return how much memory is free: a GPU's, or the host's (of which processes that share it have a part each)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with Path("/proc/meminfo").open(encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def load_pixels(index: Index) -> np.ndarray:
    """Return all images of a split in its order, N×H×W×3 uint8 in one piece of memory, with a progress display.

    Those of the index's `pixels` may be read-only.

    Raises BadInput when images differ in size, one cannot be read, or there is none.
    """
    if not index.files:
        raise BadInput(f"{index.split} of {index.dataset} at {index.root} has no images; add them.")
    if index.pixels is not None:
        return np.ascontiguousarray(index.pixels)
    pixels: np.ndarray = np.empty(0, np.uint8)
    done = 0
    with Progress(f"{index.dataset} {index.split}", len(index.files), "images") as progress:
        for images in _decoded(index):
            if not done:
                pixels = np.empty((len(index.files), *images[0].shape), np.uint8)
            for image in images:
                if image.shape != pixels.shape[1:]:
                    (height, width), (first_height, first_width) = image.shape[:2], pixels.shape[1:3]
                    raise BadInput(
                        f"{index.file(done)} has {width}×{height} pixels, but {index.files[0]} has "
                        f"{first_width}×{first_height}; images that lie in memory together must have one size: "
                        "resize them, or set view_backend to 'fast'."
                    )
                pixels[done] = image
                done += 1
            progress.update(len(images))
    return pixels


def _decoded(index: Index) -> Iterator[list[np.ndarray]]:
    rest = iter(range(len(index.files)))
    with ThreadPoolExecutor(min(8, cores())) as pool:
        while chunk := list(islice(rest, CHUNK)):
            yield list(pool.map(partial(_read, index), chunk))


def _read(index: Index, position: int) -> np.ndarray:
    members, file = index.members, index.file(position)
    try:
        return read_array(file if members is None else members.read(position))
    except Undecodable as error:
        raise BadInput(
            f"Cannot read {file} ({error}); correct or remove it (bench data check lists all such files)."
        ) from error
