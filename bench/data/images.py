"""Images as batches: decoded once each, all their views drawn from (seed, draw), for any number of workers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from bench.data.decode import Undecodable, WorkerError, read_array, read_rgb
from bench.data.maps import MapKind, Maps, WrongMap, cut
from bench.data.packs.reading import Pack
from bench.data.sampler import chosen
from bench.data.sets import Index
from bench.data.sets.data_set import Pixels
from bench.data.shards.reading import Members
from bench.data.views import Batch, View
from bench.data.views import opencv as fast_views
from bench.data.views.batch import stack
from bench.data.views.device import Drawing, check_steps, collate_drawings
from bench.data.views.draw import BoxRow, draw_all
from bench.data.views.pillow import apply, make_test_view
from bench.errors import BadInput
from bench.randomness import generator

Unreadable = Literal["fail", "skip"]
Backend = Literal["reference", "fast", "device"]


class UnreadableImage(WorkerError):
    """An image that cannot be read, under the policy `fail`."""


@dataclass
class Sample:
    """One image's part of a batch."""

    views: list[np.ndarray]  # h×w×3 uint8
    boxes: list[BoxRow]
    label: int | None
    index: int
    skipped: int = 0  # 1 when another image had to take its place, or when it is left out
    shown: bool = True  # whether it is in the batch
    drawing: Drawing | None = None  # what the views are made of later, where `views` is empty
    flows: list[np.ndarray] = field(default_factory=list)  # of views of a clip, as Clip.flow says, (T−1)×2×h×w
    masks: list[np.ndarray] = field(default_factory=list)  # h×w uint8, one for each view if there are maps


@dataclass
class Files:
    """A split's files without a Python object for each, which forked workers would copy, page by page: gigabytes."""

    root: str
    names: np.ndarray = field(repr=False)  # bytes
    labels: np.ndarray | None = field(repr=False)
    pack: Pack | None = None
    places: np.ndarray | None = field(default=None, repr=False)  # of the files in the pack
    pixels: Pixels | None = field(default=None, repr=False)  # of all images, where they are no files
    members: Members | None = field(default=None, repr=False)  # all files, where they lie in shards

    @classmethod
    def of(cls, index: Index, pack: Pack | None = None) -> Files:
        """Return those that an index lists."""
        labels = None if index.labels is None else np.asarray(index.labels, dtype=np.int64)
        names = np.asarray([os.fsencode(file) for file in index.files])
        places = None if pack is None else pack.positions(names)
        return cls(str(index.root), names, labels, pack, places, index.pixels, index.members)

    def decoded(self, index: int) -> np.ndarray | None:
        """Return an image, H×W×3 uint8, of `pixels` or the pack; None where it is a file. Raises Undecodable."""
        if self.pixels is not None:
            return np.array(self.pixels[index], order="C")  # in one piece, and nobody else's
        return None if self.pack is None or self.places is None else self.pack.read(int(self.places[index]))

    def image(self, index: int) -> Image.Image:
        """Return an image, from the pack if there is one. Raises Undecodable."""
        decoded = self.decoded(index)
        return read_rgb(self.file(index)) if decoded is None else Image.fromarray(decoded)

    def array(self, index: int) -> np.ndarray:
        """Return an image H×W×3 uint8, from the pack if there is one. Raises Undecodable."""
        decoded = self.decoded(index)
        return read_array(self.file(index)) if decoded is None else decoded

    def file(self, index: int) -> Path | bytes:
        """Return an image as it is stored: its path or, of one in a shard, its content."""
        return self.path(index) if self.members is None else self.members.read(index)

    def path(self, index: int) -> Path:
        """Return where a file lies; of one in a shard, its name below that of the shard."""
        folder = self.root if self.members is None else self.members.shard(index)
        return Path(folder, os.fsdecode(bytes(self.names[index])))

    def label(self, index: int) -> int | None:
        """Return a file's label, None where there are none."""
        return None if self.labels is None else int(self.labels[index])

    def unreadable(self, index: int, error: Undecodable) -> UnreadableImage:
        """Return the error that a file cannot be read."""
        return UnreadableImage(
            f"Cannot read {self.path(index)} ({error}); correct or remove it (bench data check lists all such files), "
            "or give --unreadable skip."
        )


class ViewDataset(Dataset[Sample]):
    """Views of the images of a split, indexed by (index, draw); what is random is a function of (seed, draw) alone.

    Args:
        seed: of the views and of the subset.
        unreadable: an image that cannot be read raises BadInput that names it (`fail`), or the next one that can be
            read takes its place, which `Batch.skipped` counts (`skip`).
        subset: use only so many images, drawn once by the seed; all, if there are no more.
        pack: read images from it instead of their files.
        backend: what makes the views (see bench.data.views): Pillow, OpenCV, or the device that the batch is moved to.
        map: what `Batch.masks` has of each view (see bench.data.maps); None for nothing.

    Raises BadInput for a map, photometric steps or patches with the backend `device`, and for a map that the data set
    has not.
    """

    kind, advice = "image", "bench data check says why"  # for messages

    def __init__(
        self,
        index: Index,
        views: Sequence[View],
        seed: int,
        unreadable: Unreadable = "fail",
        subset: int | None = None,
        pack: Pack | None = None,
        backend: Backend = "reference",
        map: MapKind | None = None,
    ) -> None:
        if map is not None and backend == "device":
            raise BadInput(
                f"Maps of {map} are made by the loader's workers only; set view_backend to 'fast' or 'reference'."
            )
        if backend == "device":
            check_steps(views)
        self.maps = None if map is None else Maps(map, index)
        self.files, self.views, self.seed, self.unreadable = Files.of(index, pack), tuple(views), seed, unreadable
        self.backend = backend
        if backend == "fast":
            fast_views.ready()
        self.positions = chosen(len(index.files), subset, seed)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Return the sample of (index, draw); BadInput when it cannot be read (under `skip`: when none can)."""
        index, number = key
        for offset in range(len(self)):
            position = int(self.positions[(index + offset) % len(self)])
            try:
                sample = self._sample(position, number)
            except Undecodable as error:
                if self.unreadable == "fail":
                    raise self.refusal(position, error) from error
                continue
            sample.skipped = int(offset > 0)
            return sample
        raise UnreadableImage(f"No {self.kind} below {self.files.root} can be read; {self.advice}.")

    def refusal(self, position: int, error: Undecodable) -> UnreadableImage:
        """Return the error that a file cannot be read."""
        return self.files.unreadable(position, error)

    def _map(self, position: int, image: np.ndarray) -> np.ndarray:
        assert self.maps is not None
        try:
            return self.maps.of(position, image)
        except WrongMap as error:
            raise WorkerError(
                f"{self.files.path(position)} has annotations that are not its own ({error}); unpack the images and "
                "the annotations anew."
            ) from error

    def _sample(self, position: int, number: int) -> Sample:
        """Read an image once and make (or only draw) all its views."""
        rng, label = generator(self.seed, "view", number), self.files.label(position)
        image: Image.Image | np.ndarray
        if self.backend == "reference":
            image = self.files.image(position)
            width, height = image.size
        else:
            image = self.files.array(position)
            height, width = image.shape[:2]
        whole = None if self.maps is None else self._map(position, np.asarray(image))
        saliency = whole if self.maps is not None and self.maps.kind == "saliency" else None
        drawn, boxes = draw_all(self.views, width, height, rng, saliency)
        masks = [] if whole is None else [cut(whole, d.crop, d.flip, v.size, width, height) for v, d in drawn]
        if self.backend == "device":
            assert isinstance(image, np.ndarray)
            return Sample([], boxes, label, position, drawing=Drawing.of(image, drawn))
        if isinstance(image, np.ndarray):
            pixels = [fast_views.apply(image, view, one) for view, one in drawn]
        else:
            pixels = [np.asarray(apply(image, view, one)) for view, one in drawn]
        return Sample(pixels, boxes, label, position, masks=masks)


class EvalDataset(Dataset[Sample]):
    """The centre of each image of a split: short side resized to `resize`, the middle size×size cut out.

    An image that cannot be read raises BadInput that names it (`fail`), or is left out of its batch and counted in
    `Batch.skipped` (`skip`): no other takes its place, or it would count twice. A uint8 `pack` with the short side
    `resize` gives the same bits as the files do (bilinearly); no other pack does.

    Raises BadInput when `size` is larger than `resize`.
    """

    files_of = Files.of

    def __init__(
        self,
        index: Index,
        size: int,
        resize: int,
        unreadable: Unreadable = "fail",
        pack: Pack | None = None,
        backend: Literal["reference", "fast"] = "reference",
    ) -> None:
        if size > resize:
            raise BadInput(f"size {size} cannot be cut out of images resized to {resize}; raise resize or lower size.")
        self.files, self.size, self.resize, self.unreadable = self.files_of(index, pack), size, resize, unreadable
        self.backend = backend

    def __len__(self) -> int:
        return len(self.files.names)

    def __getitem__(self, index: int) -> Sample:
        """Return the sample of an image; BadInput when it cannot be read and the policy is `fail`."""
        label = self.files.label(index)
        try:
            if self.backend == "fast":
                pixels, place = fast_views.make_test_view(self.files.array(index), self.size, self.resize)
            else:
                pixels, place = make_test_view(self.files.image(index), self.size, self.resize)
        except Undecodable as error:
            if self.unreadable == "fail":
                raise self.files.unreadable(index, error) from error
            nothing = np.zeros((self.size, self.size, 3), np.uint8)
            return Sample([nothing], [(0, 0, 0, 0, 0)], label, index, skipped=1, shown=False)
        return Sample([pixels], [place], label, index)


def collate(samples: Sequence[Sample]) -> Batch:
    """Return samples as one batch, views in uint8 or pending, without those that are left out; N may be 0."""
    shown = [sample for sample in samples if sample.shown]
    n, some = len(shown), shown or samples[:1]  # where none is shown, one gives the shapes
    labels = [sample.label for sample in some if sample.label is not None]
    boxes = range(len(some[0].boxes))
    drawings = [sample.drawing for sample in some if sample.drawing is not None]
    return Batch(
        views=[stack([sample.views[view] for sample in some])[:n] for view in range(len(some[0].views))],
        boxes=[torch.tensor([sample.boxes[view] for sample in some], dtype=torch.float32)[:n] for view in boxes],
        labels=torch.tensor(labels, dtype=torch.int64)[:n] if labels else None,
        indices=torch.tensor([sample.index for sample in some], dtype=torch.int64)[:n],
        skipped=sum(sample.skipped for sample in samples),
        pending=collate_drawings(drawings) if drawings else None,
        flows=[torch.from_numpy(np.stack(flow))[:n] for flow in zip(*(one.flows for one in some), strict=True)] or None,
        masks=[torch.from_numpy(np.stack(masks))[:n] for masks in zip(*(sample.masks for sample in some), strict=True)]
        or None,
    )


def in_order(length: int, batch_size: int) -> list[list[int]]:
    """Return the batches of each image once, in order: what `loader` wants as the sampler of an EvalDataset."""
    return [list(range(start, min(start + batch_size, length))) for start in range(0, length, batch_size)]


def loader(dataset: Dataset[Any], sampler: Iterable[list[Any]], workers: int = 0, pin: bool = False) -> DataLoader[Any]:
    """Return the batches (`Batch`) of a data set, in the order of a batch sampler; no result depends on `workers`.

    Args:
        dataset: ViewDataset or EvalDataset.
        sampler: yields the keys of one batch after another.
        workers: processes that read, each with one thread; 0 reads in this one.
        pin: whether batches arrive in page-locked memory.
    """
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        pin_memory=pin,
        generator=torch.Generator(),  # starting to iterate must not move the global one
    )
