"""Contenders that do one stage of making two BYOL views alone, so that the whole can be held against its parts.

Each stage is what the back end `fast` calls, on what the stages before it left, which lies in memory already.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import cv2
import numpy as np
from views import dataset

from bench.data.images import Sample, ViewDataset, collate
from bench.data.views import opencv as fast
from bench.data.views.draw import Drawn, draw_all
from bench.randomness import generator

FEW = 8  # images or views that take turns: they stay in the processor's cache, as they do in the whole
DRAWS = 512  # different ones, as chance decides what is done
BATCH = 32

Work = Callable[[], object]


def stage(count: int, size: int, folder: str, what: str, pack: str | None = None) -> Callable[[], float]:
    """Do one stage for two views of `count` images a sample; `what` is a name in STAGES.

    Images come from the files of `folder`, or from `pack`.
    """
    turns = itertools.cycle(STAGES[what](dataset(size, "fast", folder, pack)))

    def sample() -> float:
        for work in itertools.islice(turns, count):
            work()
        return count

    return sample


def read(images: ViewDataset) -> Iterator[Work]:
    """From a file, or a pack's record, to pixels."""
    for position in range(len(images)):
        images.files.array(position)  # a pack takes a record's checksum when it is first read
        yield partial(images.files.array, position)


def parameters(images: ViewDataset) -> Iterator[Work]:
    """The generator of a draw, and all that is random."""
    height, width, _ = images.files.array(0).shape
    for number in range(DRAWS):
        yield lambda number=number: draw_all(images.views, width, height, generator(0, "view", number))


def crop_and_resize(images: ViewDataset) -> Iterator[Work]:
    """Both crops, copied and resampled."""
    size = images.views[0].size
    few = [images.files.array(position) for position in range(len(images))[:FEW]]
    for number in range(DRAWS):
        pixels = few[number % len(few)]
        cut = []
        for one in drawn(images, number, *pixels.shape[:2]):
            left, top, width, height = one.crop
            cut.append(pixels[top : top + height, left : left + width])
        yield lambda cut=cut: [fast.resize(crop, size, size, "bicubic") for crop in cut]


def flip_and_solarize(images: ViewDataset) -> Iterator[Work]:
    """Mirroring, and inverting what is light."""
    for number, pixels in made(images):
        work = []
        for one in drawn(images, number):
            work += [partial(cv2.flip, pixels, 1)] if one.flip else []
            work += [lambda pixels=pixels: cv2.min(pixels, cv2.bitwise_not(pixels))] if one.solarize else []
        yield partial(each, work)


def colours(images: ViewDataset) -> Iterator[Work]:
    """Colour jitter and grey."""
    for number, pixels in made(images):
        steps = [(*one.jitter, fast.GREY) if one.grey else one.jitter for one in drawn(images, number)]
        yield partial(each, [partial(fast.recolour, pixels, some) for some in steps if some])


def blur(images: ViewDataset) -> Iterator[Work]:
    """Gaussian blur."""
    for number, pixels in made(images):
        sigmas = [one.blur for one in drawn(images, number) if one.blur is not None]
        yield partial(each, [partial(fast.blur, pixels, sigma) for sigma in sigmas])


def batch(images: ViewDataset) -> Iterator[Work]:
    """From views to the tensors of a batch: one batch, and then as many images without work as are in it."""
    samples = [Sample([pixels, pixels.copy()], [(0.0,) * 5] * 2, None, number) for number, pixels in made(images)]
    yield partial(collate, samples[:BATCH])
    yield from itertools.repeat(partial(each, []), BATCH - 1)


STAGES = {one.__name__: one for one in (read, parameters, crop_and_resize, flip_and_solarize, colours, blur, batch)}


def each(work: list[Work]) -> None:
    """Do one after the other."""
    for one in work:
        one()


def drawn(images: ViewDataset, number: int, height: int = 256, width: int = 341) -> list[Drawn]:
    """Return what a draw says of both views."""
    return [one for _, one in draw_all(images.views, width, height, generator(0, "view", number))[0]]


def made(images: ViewDataset) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each draw's number with one of a few images at the size of a view."""
    size = images.views[0].size
    few = [fast.resize(images.files.array(position), size, size, "bicubic") for position in range(len(images))[:FEW]]
    for number in range(DRAWS):
        yield number, few[number % len(few)]
