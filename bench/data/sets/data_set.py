"""What a data set is: `DataSet`, from which each derives, and `Index`, the list of a split's images that it returns."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.data.sets.folders import SUFFIXES as SUFFIXES
from bench.data.sets.folders import folder_names as folder_names
from bench.data.sets.folders import image_names as image_names
from bench.data.shards.reading import Members
from bench.errors import BadInput
from bench.plugins import Source

SPLITS = ("train", "val")
IGNORED = 255  # in label maps: no class


class Joined:
    """Arrays of images one after another, as one N×H×W×3 uint8; a copy is made only of what is asked for."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = tuple(parts)
        self._starts = np.cumsum([0, *map(len, parts)])
        self.shape = (int(self._starts[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return the image at a position (H×W×3), or those of a slice or an array of positions (M×H×W×3)."""
        if isinstance(key, int | np.integer):
            position = range(len(self))[int(key)]
            which = int(np.searchsorted(self._starts, position, side="right")) - 1
            return self.parts[which][position - int(self._starts[which])]
        positions = np.arange(len(self))[key]
        images = np.empty((len(positions), *self.shape[1:]), self.dtype)
        for part, start in zip(self.parts, self._starts[:-1], strict=True):
            here = (positions >= start) & (positions < start + len(part))
            images[here] = part[positions[here] - start]
        return images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all as one array."""
        return self[:].astype(dtype or self.dtype, copy=False)


Pixels = np.ndarray | Joined


@dataclass(frozen=True)
class Index:
    """The files of one split, relative to `root` with forward slashes, sorted (by class first, where there are some).

    `labels` are positions in `classes`, one for each file (None where images have no class); `masks` are label maps,
    one for each file (empty where there are none). `pixels` are the images, N×H×W×3 uint8, where many lie in one file,
    which may be mapped; `files` are then names that say where an image lies in it. None where each is a file. `members`
    are the encoded images where they lie in shards, one for each of `files`, which are then names in the shards.
    """

    dataset: str
    root: Path
    split: str
    files: tuple[str, ...]
    labels: tuple[int, ...] | None = None
    classes: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    pixels: Pixels | None = field(default=None, compare=False, repr=False)
    members: Members | None = field(default=None, compare=False, repr=False)

    def file(self, position: int) -> Path:
        """Return where an image lies, for messages: its file or, in shards, its name below that of its shard."""
        return (self.root if self.members is None else self.members.shard(position)) / self.files[position]


def part(index: Index, chosen: Sequence[int] | np.ndarray) -> Index:
    """Return the index of some of its images, in the order of the data set; all classes stay."""
    kept = sorted(int(position) for position in chosen)
    return replace(
        index,
        files=tuple(index.files[i] for i in kept),
        labels=None if index.labels is None else tuple(index.labels[i] for i in kept),
        masks=tuple(index.masks[i] for i in kept) if index.masks else (),
        pixels=None if index.pixels is None else index.pixels[np.asarray(kept, np.int64)],
        members=None if index.members is None else index.members.part(np.asarray(kept, np.int64)),
    )


@dataclass(frozen=True)
class Contents:
    """What `bench data check` looks at in a split, and what it can say before it has decoded a file."""

    counts: Mapping[str, int]  # images of each class (of each group, see DataSet.groups); {"": n} where there is none
    images: Sequence[str]  # files to decode, relative to the root
    masks: Mapping[str, str] = field(default_factory=dict)  # image -> its label map
    missing: Sequence[str] = ()  # what should be there and is not, and who asks for it
    unreadable: Sequence[tuple[str, str]] = ()  # (what cannot be read, why), known without decoding


class WrongLayout(BadInput):
    """A folder that is not laid out as the data set that it is given for."""


class DataSet(ABC):
    """A data set: everything that `bench` knows of it. A subclass sets `name` and `layout` and defines `index`.

    The methods get the folder of the data set, which exists. An OSError that they let pass becomes BadInput.
    """

    name: ClassVar[str]  # in configs, records, --data-root NAME=DIR
    layout: ClassVar[str]  # the files that its folder should hold, in words
    labelled: ClassVar[bool] = True  # whether each image has a class: linear and kNN tasks, supervised pretraining
    pretrains: ClassVar[bool] = True  # whether pretraining may read it
    video: ClassVar[bool] = False  # whether the files of an index are clips
    packable: ClassVar[bool] = False  # whether `bench data pack` may shrink its images
    shards: ClassVar[bool] = False  # whether its images may lie in shards (see bench.data.shards)
    one_size: ClassVar[bool] = False  # small images of one size, which need no pack
    groups: ClassVar[str] = "classes"  # what `bench data check` counts images by
    needs: ClassVar[tuple[str, ...]] = SPLITS  # the splits that must be there
    serves_from: ClassVar[tuple[str, ...]] = ()  # data sets whose folder holds it, too
    mask_classes: ClassVar[tuple[str, ...]] = ()  # of its label maps, by value; 255 is none
    unlabelled_split: ClassVar[str | None] = None  # images without labels that pretraining reads with `train`

    # What a layout lacks while it is packed, by the first folder of it: (the authors' file, how to unpack it there).
    archives: ClassVar[Mapping[str, tuple[str, str]]] = {}

    # Which definition of the data set this code has: raised where it lists or labels images otherwise. From 2 on it is
    # part of the fingerprints of what reads it.
    definition: ClassVar[int] = 1

    source: Source | None = None  # where a data set from outside of this package is defined

    @abstractmethod
    def index(self, root: Path, split: str) -> Index:
        """List a split, `train` or `val`. Raises BadInput that says what is missing and what to do."""

    def splits(self, root: Path) -> tuple[str, ...]:
        """Return which of `train` and `val` the folder has, complete or not."""
        return tuple(split for split in SPLITS if (root / split).is_dir())

    # What a folder is, cheaply; False, "" and nothing where a data set does not tell.

    def looks_like(self, root: Path) -> bool:  # noqa: ARG002 - of subclasses
        """Whether a folder has what no other data set has, complete or not."""
        return False

    def lacks(self, root: Path) -> str:  # noqa: ARG002 - of subclasses
        """Return why a folder that was given for one of `serves_from` does not hold this data set, after its path."""
        return ""

    def recognised(self, root: Path) -> list[str]:  # noqa: ARG002 - of subclasses
        """Return lines that say which layout a folder has, and where labels come from; for `bench data check`."""
        return []

    # What pretraining reads.

    def pretraining_index(self, root: Path) -> Index:
        """List what pretraining sees: `train`, with the images without labels where the data set has some.

        The two together have no labels and no classes. Raises BadInput where one of them is missing: pretraining on the
        rest would be another thing by the same name.
        """
        train = self.index(root, "train")
        if self.unlabelled_split is None:
            return train
        more = self.unlabelled(root)
        pixels: Pixels | None = None
        if train.pixels is not None and more.pixels is not None:
            pixels = Joined((np.asanyarray(train.pixels), np.asanyarray(more.pixels)))
        return Index(self.name, root, f"train+{more.split}", (*train.files, *more.files), pixels=pixels)

    def unlabelled(self, root: Path) -> Index:
        """List the images without labels beside the splits, where `unlabelled_split` names them."""
        raise NotImplementedError

    def has_unlabelled(self, root: Path) -> bool:
        """Whether the folder has these images, complete or not."""
        return self.unlabelled_split is not None and (root / self.unlabelled_split).is_dir()

    # What its fingerprint reads.

    def files(self, index: Index) -> Sequence[str]:
        """Return the files that hold what an index lists, relative to the root."""
        return [*index.files, *index.masks]

    def more_files(self, root: Path) -> Sequence[str]:  # noqa: ARG002 - of subclasses
        """Return files that count besides those of the splits, such as the names of the classes."""
        return ()

    def list_files(self, root: Path) -> Sequence[str]:  # noqa: ARG002 - of subclasses
        """Return files that decide what an index lists or how it is labelled: all of their content always counts."""
        return ()

    def watched(self, root: Path) -> Sequence[str]:  # noqa: ARG002 - of subclasses
        """Return files that no fingerprint reads, and whose change should be said, as far as they are there."""
        return ()

    # What its check looks at.

    def contents(self, root: Path, split: str) -> Contents:
        """Return what there is to check of a split."""
        listed = self.index(root, split)
        images = () if listed.pixels is not None else listed.files  # pixels were looked at when they were read
        if listed.labels is None:
            return Contents({"": len(listed.files)}, images)
        per_label = Counter(listed.labels)
        counts = {listed.classes[label]: number for label, number in sorted(per_label.items())}
        missing = [f"{split}/{name} (train has it)" for name in listed.classes if name not in counts]
        return Contents(counts, images, missing=missing)

    def stored(self, root: Path, image: str) -> Path | bytes:
        """Return one of the `images` of its contents as it is stored: its file, or the content of it."""
        return root / image

    def strange_label(self, mask: str, labels: np.ndarray) -> str | None:  # noqa: ARG002 - of subclasses
        """Return what is wrong with the values of a label map (its file, and H×W as stored), if anything is."""
        classes = len(self.mask_classes)
        strange = labels[(labels >= classes) & (labels != IGNORED)]
        return f"{strange.min()} is no train id (0 to {classes - 1}, or {IGNORED})" if strange.size else None

    # What its messages say.

    def wrong_layout(self, root: Path, looked_for: str, remedy: str = "it") -> BadInput:
        """Return the error that a folder is not laid out as this data set, or is not unpacked."""
        packed = self.packed(root, looked_for)
        if packed:
            return BadInput(f"{root} has no {looked_for}, but {packed}")
        return WrongLayout(
            f"{root} is not laid out as {self.name}: there is no {looked_for}; {remedy} should hold {self.layout}."
        )

    def packed(self, root: Path, looked_for: str) -> str:
        """Return which of the authors' archives in a folder holds what is looked for, and the command; "" if none."""
        file, command = self.archives.get(looked_for.partition("/")[0], ("", ""))
        if not file or not (root / file).is_file():
            return ""
        return (
            f"{file}, which is not unpacked; images are not read from archives. Unpack it: {in_folder(root, command)}"
        )


def in_folder(root: Path, command: str) -> str:
    """Return a line for a shell that runs a command in a folder."""
    return f"cd {shlex.quote(str(root))} && {command}"


@contextmanager
def opened(data_set: DataSet, root: Path) -> Iterator[None]:
    """Raise BadInput where a data set's folder is missing, or something in it cannot be read while the block runs."""
    if not root.is_dir():
        name, layout = data_set.name, data_set.layout
        raise BadInput(f"{root} is no folder; give --data-root {name}=DIR, where DIR holds {layout}.")
    try:
        yield
    except OSError as error:
        raise unreadable(error) from error


def unreadable(error: OSError) -> BadInput:
    """Return the error that a file or folder cannot be read."""
    return BadInput(f"Cannot read {error.filename}: {error.strerror}; check its permissions.")
