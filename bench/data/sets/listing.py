"""Asking a data set for its lists: what one from outside of this package returns is checked where it is read.

Its mistakes would otherwise show in the middle of a training, as an image of a class that does not exist.
"""

from __future__ import annotations

import operator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from bench.data.sets.data_set import SPLITS, DataSet, Index
from bench.errors import BadInput
from bench.plugins import running


def listed(data_set: DataSet, root: Path, split: str) -> Index:
    """Return the index of `train` or `val`. Raises BadInput as its reader does, and for a list that cannot be one."""
    with asking(data_set, "index"):
        index = data_set.index(root, split)
    return _checked(data_set, index, "index", split, labelled=data_set.labelled)


def listed_for_pretraining(data_set: DataSet, root: Path) -> Index:
    """Return the index of what pretraining reads. Raises BadInput as `listed` does."""
    with asking(data_set, "pretraining_index"):
        index = data_set.pretraining_index(root)
    labelled = data_set.labelled and data_set.unlabelled_split is None
    return _checked(data_set, index, "pretraining_index", "train", labelled=labelled)


def listed_without_labels(data_set: DataSet, root: Path) -> Index:
    """Return the index of the images without labels. Raises BadInput as `listed` does."""
    with asking(data_set, "unlabelled"):
        index = data_set.unlabelled(root)
    return _checked(data_set, index, "unlabelled", str(data_set.unlabelled_split), labelled=False)


def splits_of(data_set: DataSet, root: Path) -> tuple[str, ...]:
    """Return which of `train` and `val` a folder has. Raises BadInput for other splits."""
    with asking(data_set, "splits"):
        splits = data_set.splits(root)
    if data_set.source is not None and not (isinstance(splits, tuple | list) and set(splits) <= {*SPLITS}):
        raise BadInput(
            f"{_named(data_set, 'splits')} returned {splits!r}, but it should be some of {SPLITS}; correct it."
        )
    return tuple(splits)


def _named(data_set: DataSet, method: str) -> str:
    assert data_set.source is not None
    return f"{data_set.source.attribute}.{method} in {data_set.source.file}"


def asking(data_set: DataSet, method: str) -> AbstractContextManager[None]:
    """Raise BadInput where a method of one from outside raises while the block runs; an OSError is for `reading`."""
    return nullcontext() if data_set.source is None else running(_named(data_set, method), OSError)


def _checked(data_set: DataSet, index: Index, method: str, split: str, *, labelled: bool) -> Index:
    if data_set.source is None:  # ours have tests
        return index
    where = _named(data_set, method)
    if not isinstance(index, Index):
        raise BadInput(f"{where} returned {type(index).__name__} for {split}, but it should be an Index; correct it.")
    if wrong := _wrong(index, labelled=labelled):
        raise BadInput(f"{where} {wrong}.".replace("SPLIT", split))
    return index


def _wrong(index: Index, *, labelled: bool) -> str:
    """What is wrong with an index, and what to do, in words; "" where nothing is."""
    if not isinstance(index.files, tuple | list):
        return f"has {type(index.files).__name__} as files of SPLIT; give a tuple"
    count = len(index.files)
    if not count:
        return "lists no image of SPLIT; correct it, or what the folder holds"
    if not all(isinstance(file, str) for file in index.files):
        return "has files of SPLIT that are no text; list their paths relative to the root"
    for what, number in (
        ("label maps", len(index.masks)),
        ("pixels", 0 if index.pixels is None else len(index.pixels)),
    ):
        if number not in (0, count):
            return f"lists {number} {what} for {count} files of SPLIT; give one for each"
    if index.labels is None:
        return "has no labels for SPLIT; add them, or set labelled = False on the class" if labelled else ""
    if len(index.labels) != count:
        return f"lists {len(index.labels)} labels for {count} files of SPLIT; give one for each"
    try:
        outside = next((one for one in index.labels if not 0 <= operator.index(one) < len(index.classes)), None)
    except TypeError:
        return "has labels of SPLIT that are no whole numbers; give positions in classes"
    if outside is not None:
        return f"has the label {outside} in SPLIT, but {len(index.classes)} classes; give positions in classes, from 0"
    return ""
