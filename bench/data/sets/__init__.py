"""The data sets, one file each, and what may be asked of one by its name. This package does not import torch.

A data set that is not ours is named `path/to/file.py:Class`, `package.module:Class`, or by an entry point of the group
`bench.datasets`; docs/adding_a_dataset.md shows how to write one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from bench.data.sets.cifar import Cifar10, Cifar100
from bench.data.sets.cityscapes import Cityscapes
from bench.data.sets.coco import Coco, CocoPlus
from bench.data.sets.data_set import SPLITS, DataSet, Index, WrongLayout, opened, part, unreadable
from bench.data.sets.fingerprints import Identity, identify
from bench.data.sets.imagenet import ImageNet, ImageNet100
from bench.data.sets.listing import listed, listed_for_pretraining, listed_without_labels, splits_of
from bench.data.sets.sharded import laid_out
from bench.data.sets.stl10 import Stl10
from bench.data.sets.videos import Clips
from bench.errors import BadInput, one_line
from bench.plugins import Source, entries, load, locate

GROUP = "bench.datasets"  # of entry points

OURS: tuple[type[DataSet], ...] = (Coco, CocoPlus, ImageNet, ImageNet100, Cityscapes, Clips, Cifar10, Cifar100, Stl10)
DATA_SETS: dict[str, DataSet] = {kind.name: kind() for kind in OURS}


def known_names() -> list[str]:
    """Return the names of ours and of the entry points of installed packages; where they are equal, ours is meant."""
    return list(dict.fromkeys([*DATA_SETS, *entries(GROUP)]))


def get(name: str, folder: Path | None = None) -> DataSet:
    """Return a data set.

    Args:
        name: one of ours, of an entry point, `package.module:Class` or `file.py:Class`.
        folder: where a relative path is looked for first, else in the working directory.

    Raises BadInput when there is no such name, file or class, or the class is no usable DataSet.
    """
    if name in DATA_SETS:
        return DATA_SETS[name]
    source = locate(name, GROUP, folder, what="data set", known=DATA_SETS)
    kind = load(source)
    if not (isinstance(kind, type) and issubclass(kind, DataSet)):
        raise BadInput(f"{source.attribute} in {source.file} is no data set; derive it from bench.data.sets.DataSet.")
    for attribute in ("name", "layout"):
        if not isinstance(getattr(kind, attribute, None), str):
            raise BadInput(f"{source.attribute} in {source.file} has no {attribute}; set it to a string.")
    if not kind.name.replace("_", "").isalnum() or kind.name != kind.name.lower():
        raise BadInput(f"The name {kind.name!r} in {source.file} is not of a-z, 0-9 and _; choose another.")
    if ":" not in name and kind.name != name:
        raise BadInput(f"{source.file} calls its data set {kind.name!r}, its entry point {name!r}; make them equal.")
    if kind.name in {*DATA_SETS, "none"}:
        raise BadInput(f"{source.file} calls its data set {kind.name!r}, which is taken; choose another name.")
    try:
        data_set: DataSet = kind()
    except (Exception, SystemExit) as error:  # an abstract method that it lacks, arguments, or its own code
        raise BadInput(
            f"{source.attribute} in {source.file} cannot be made ({one_line(error, kind=True)}); correct it."
        ) from error
    if kind.unlabelled_split is not None and kind.unlabelled is DataSet.unlabelled:
        raise BadInput(
            f"{source.attribute} in {source.file} has an unlabelled_split and no method unlabelled(root), which lists "
            "it; add it."
        )
    data_set.source = source
    return data_set


def find(name: str) -> DataSet | None:
    """Return a data set, None where a plain name is known to nobody, as of a data set that only mmseg reads.

    Raises BadInput as `get` does.
    """
    return get(name) if name in DATA_SETS or ":" in name or name in entries(GROUP) else None


def full_name(name: str, folder: Path | None = None) -> str:
    """Return the name under which a process in another folder finds the same data set. Raises BadInput as `get`."""
    source = get(name, folder).source
    return str(source) if source is not None and source.module is None else name


def short_name(name: str) -> str:
    """Return the name of a data set that has no path of this machine: in records, fingerprints and --data-root."""
    data_set = find(name)
    return name if data_set is None else data_set.name


def mistaken(data_set: DataSet, root: Path) -> str | None:
    """Return the name of another of our data sets that a folder looks like, where it does not look like this one.

    None, too, for a data set that is not ours, which may be laid out as it likes.
    """
    if data_set.source is not None or data_set.looks_like(root):
        return None
    return next((name for name, other in DATA_SETS.items() if other.looks_like(root)), None)


@contextmanager
def reading(data_set: DataSet, root: Path) -> Iterator[None]:
    """Raise BadInput where a folder is missing, is another data set's, or cannot be read while the block runs."""
    with opened(data_set, root), pointing(data_set, root):
        refuse_mistaken(data_set, root)
        yield


def refuse_mistaken(data_set: DataSet, root: Path) -> None:
    """Raise BadInput where a folder is another data set's, as far as `mistaken` can tell."""
    name, other = data_set.name, mistaken(data_set, root)
    if other is not None:
        raise BadInput(
            f"{root} looks like {other}, and was given for {name}; give --data-root {other}={root}, and for {name} a "
            f"folder that holds {data_set.layout}."
        )


@contextmanager
def pointing(data_set: DataSet, root: Path) -> Iterator[None]:
    """Say, where the layout turns out to be wrong, in which folder nearby the data set seems to lie."""
    try:
        yield
    except WrongLayout as error:
        place = None
        with suppress(OSError):  # of a folder that cannot be read
            near = [*sorted(folder for folder in root.iterdir() if folder.is_dir()), root.absolute().parent]
            place = next((folder for folder in near if data_set.looks_like(folder)), None)
        if place is None:
            raise
        name = data_set.name
        raise BadInput(f"{error} {place} looks like {name}; give --data-root {name}={place}.") from error


def check_distinct(names: Iterable[str]) -> None:
    """Raise BadInput where two data sets have one `name`: they would be read from one folder, and recorded as one."""
    seen: dict[str, Source] = {}
    for data_set in filter(None, map(find, names)):
        source = data_set.source
        if source is None:
            continue
        other = seen.setdefault(data_set.name, source)
        if (other.file, other.attribute) != (source.file, source.attribute):
            raise BadInput(f"{other} and {source} both call their data set {data_set.name!r}; give one another name.")


def index(dataset: str, root: Path, split: str) -> Index:
    """List one split (`train` or `val`) of a data set.

    Raises BadInput, saying what was looked for, when the folder or its layout is missing, a class folder is empty, the
    validation set has classes that training has not, or an image has no label map.
    """
    if split not in SPLITS:
        raise ValueError(f"split is train or val, not {split!r}")
    data_set = get(dataset)
    with reading(data_set, root):
        return replace(listed(laid_out(data_set, root), root, split), dataset=dataset)


def pretraining_index(dataset: str, root: Path) -> Index:
    """List what pretraining on a data set sees: its training split, for STL-10 with the images without labels.

    STL-10's has no labels and no classes. Raises BadInput as `index` does, and where STL-10's images without labels are
    missing.
    """
    data_set = get(dataset)
    with reading(data_set, root):
        return replace(listed_for_pretraining(laid_out(data_set, root), root), dataset=dataset)


def check_pretraining(dataset: str, root: Path) -> None:
    """Raise BadInput as `pretraining_index` does where a folder lacks what only pretraining reads; cheap."""
    data_set = get(dataset)
    if data_set.unlabelled_split is not None:
        with reading(data_set, root):
            listed_without_labels(data_set, root)


def splits(dataset: str, root: Path) -> tuple[str, ...]:
    """Return which of `train` and `val` a folder has, whatever is in them."""
    return splits_of(laid_out(get(dataset), root), root)


def fingerprint(dataset: str, root: Path, cache: Path | None = None) -> str:
    """Return 16 hex digits of a data set's content: all splits' relative paths and sizes, and what is in 1,024 files.

    Where the folder lies does not matter. For a data set without a reader here, all files below its root count; where
    many images lie in one file, all of it is read. STL-10's images without labels count where they are there. Of one
    that is not ours, the source of its class counts, too: an edit of that file makes another data set.

    Args:
        cache: as of `identity`.

    Raises BadInput as `identity` does.
    """
    return identity(dataset, root, cache).fingerprint


def identity(dataset: str, root: Path, cache: Path | None = None, *, keep: bool = True) -> Identity:
    """Return a data set's fingerprint, and what is to be said of files that changed since it was first taken.

    Args:
        cache: a JSON file beside which the result is kept with the sizes and times (of modification and of change) of
            all files and folders; as long as these stay, nothing is listed or read. Where a manifest lies there, too,
            files must be as it has them.
        keep: whether the result is kept there.

    Raises BadInput as `index` does, and where a file is not as the manifest has it.
    """
    data_set = find(dataset)
    if data_set is None:
        try:
            return identify(dataset, None, root, cache, keep=keep)
        except OSError as error:
            raise unreadable(error) from error
    with opened(data_set, root), pointing(data_set, root):
        return identify(dataset, data_set, root, cache, lambda: refuse_mistaken(data_set, root), keep=keep)
