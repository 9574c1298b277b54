"""A few fixed images that a pretraining is looked at with: held out where there is a validation set, else drawn from
the training set.

Which images, and how their views are drawn, depends on the data set alone, so that runs of any seed and any objective
can be compared. Of clips, images are single frames: the centre is that of the frame in the middle, and both views are
of a frame that is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from bench.data.clips import ClipDataset, ClipEvalDataset
from bench.data.images import EvalDataset, ViewDataset, collate
from bench.data.sets import Index, get, index, part, splits
from bench.data.views import SIMCLR_VIEWS, Batch
from bench.errors import BadInput
from bench.machine import cores
from bench.randomness import generator

SEED = 0  # of the choice and of the views, whatever the seed of the run


@dataclass(frozen=True)
class HeldOut:
    """N images, uint8, each also as two views; with labels, a bank of M others of the same classes."""

    images: Tensor  # N×3×s×s, the centre of each image
    views: tuple[Tensor, Tensor]  # N×3×s×s each
    labels: Tensor | None = None  # N int64
    bank: Tensor | None = None  # M×3×s×s
    bank_labels: Tensor | None = None  # M int64


def held_out(train: Index, size: int, images: int, classes: int, bank: int) -> HeldOut:
    """Read at most `images` images; what cannot be read is left out.

    Args:
        train: the split that is trained on. Validation images are taken where its data set has a usable `val`.
        images: of all classes together, size×size pixels.
        classes: where there are labels, images come from so many classes, evenly spaced over the list: a few hundred
            images of all of ImageNet's would have no two of one class.
        bank: training images of those classes, none of them among `images`.

    Two views of each image are drawn as SimCLR draws them, at half its colour jitter.
    """
    chosen = _chosen(source := _source(train), images, classes)
    shown = part(source, chosen)
    centre = _centre(shown, size)
    views = SIMCLR_VIEWS(size, 0.5)
    pair = ClipDataset(shown, views, SEED, None, "skip") if _video(train) else ViewDataset(shown, views, SEED, "skip")
    v1, v2 = _read(pair, [(i, i) for i in range(len(chosen))]).views
    held = HeldOut(centre.views[0], (v1, v2), centre.labels)
    if shown.labels is None or not bank:
        return held
    among = set(shown.labels)
    used = set(shown.files) if source.split == train.split else set()
    if train.labels is None:  # as where STL-10's images without labels are trained on, too
        train = index(train.dataset, train.root, "train")
    assert train.labels is not None
    rest = [i for i, label in enumerate(train.labels) if label in among and train.files[i] not in used]
    if not rest:
        return held
    unread = replace(train, pixels=None)  # what is not chosen need not be copied
    some = _chosen(part(unread, rest), bank, len(among))
    others = part(train, [rest[i] for i in some])
    batch = _centre(others, size)
    return replace(held, bank=batch.views[0], bank_labels=batch.labels)


def _video(index: Index) -> bool:
    return get(index.dataset).video


def _source(train: Index) -> Index:
    """The validation set, if there is one that can be listed; else the training set."""
    try:
        return index(train.dataset, train.root, "val") if "val" in splits(train.dataset, train.root) else train
    except BadInput:  # such as ImageNet's validation images without class folders and without a list
        return train


def _chosen(source: Index, count: int, classes: int) -> list[int]:
    """Positions of at most `count` images: as many of each of some classes, or drawn from all where there are none."""
    order = generator(SEED, "held out").permutation(len(source.files))
    if source.labels is None:
        return sorted(order[:count].tolist())
    labels = np.asarray(source.labels)
    there = np.unique(labels)
    some = there[np.linspace(0, len(there) - 1, min(classes, len(there), count)).round().astype(int)] if count else []
    return sorted(int(i) for label in some for i in order[labels[order] == label][: count // len(some)])


def _centre(source: Index, size: int) -> Batch:
    kind = ClipEvalDataset if _video(source) else EvalDataset
    dataset = kind(source, size, round(size * 256 / 224), unreadable="skip")
    return _read(dataset, range(len(source.files)))


def _read(dataset: Dataset[Any], keys: Sequence[Any]) -> Batch:
    with ThreadPoolExecutor(min(8, cores())) as pool:
        return collate(list(pool.map(dataset.__getitem__, keys)))
