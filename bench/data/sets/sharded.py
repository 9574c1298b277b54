"""A data set whose images lie in shards, instead of files in the folders of its layout.

Its lists are those that the layout would give: the same order, the same names of images where the shards have them, the
same labels. So a seed draws the same images, and what `bench data shard` writes has the fingerprint of the folder that
it was written of.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np

from bench.data.sets.class_folders import ClassFolders
from bench.data.sets.data_set import SPLITS, Contents, DataSet, Index
from bench.data.shards.index_file import BESIDE, Table, read_table
from bench.data.shards.names import Shards, find_shards, holds_shards
from bench.data.shards.reading import Members
from bench.data.shards.scan import NO_LABEL, Problem
from bench.errors import BadInput

CLASSES = "classes.txt"  # the names of the classes, a line each, in the order of their numbers
SHOWN = (
    "name",
    "layout",
    "labelled",
    "pretrains",
    "packable",
    "groups",
    "needs",
    "serves_from",
    "mask_classes",
    "definition",
)


def laid_out(data_set: DataSet, root: Path) -> DataSet:
    """Return a data set as it is in a folder: with the images in shards where the folder holds shards.

    Raises BadInput where it holds both shards and unpacked images, and as `find_shards` does.
    """
    if not root.is_dir() or not holds_shards(root):
        return data_set
    if not data_set.shards:
        return data_set  # whose reader says what it looked for
    shards = find_shards(root)
    if not shards:
        return data_set
    folder = next((split for split in data_set.splits(root) if not _only_shards(root, split, shards)), None)
    if folder is not None:
        raise BadInput(
            f"{root} holds {folder} of {data_set.name} both in shards ({next(iter(shards.values()))[0]}) and unpacked; "
            "move one of them elsewhere."
        )
    return Sharded(data_set, root, shards)


def _only_shards(root: Path, split: str, shards: Shards) -> bool:
    """Whether what looks like the folder of a split is that of its shards."""
    inside = any(shard.startswith(f"{split}/") for shard in shards.get(split, ()))
    return inside and not any(path.is_dir() for path in (root / split).iterdir() if path.name[0] != ".")


class Sharded(DataSet):
    """Another data set in shards."""

    def __init__(self, inner: DataSet, root: Path, shards: Shards) -> None:
        # Its attributes of the class are those of the other.
        self.__dict__.update({name: getattr(inner, name) for name in SHOWN})
        self.inner, self.root, self.by_split = inner, root, shards
        self._tables: dict[str, Table] = {}
        self._checked: dict[str, tuple[Members, int]] = {}

    def table(self, split: str, *, beside: bool = False) -> Table:
        """Return where a split's images lie; see `read_table`."""
        if beside or split not in self._tables:
            self._tables[split] = read_table(self.root, split, self.by_split[split], beside=beside)
        return self._tables[split]

    def splits(self, root: Path) -> tuple[str, ...]:  # noqa: ARG002 - as its folder is known
        """Return the splits that have shards."""
        return tuple(split for split in SPLITS if split in self.by_split)

    def index(self, root: Path, split: str) -> Index:
        """List a split. Raises BadInput for what is wrong with a shard or a sample; nothing is left out silently."""
        if split not in self.by_split:
            raise self.wrong_layout(root, f"{split}-*.tar or {split}/*.tar", "a folder with shards")
        table = self.table(split)
        problems = self.problems(split)
        if problems:
            where, why = problems[0]
            more = f"; {len(problems) - 1} more problems" if len(problems) > 1 else ""
            raise BadInput(f"{root / where} {why} (bench data check {self.name} lists all{more}).")
        if not table.names:
            raise BadInput(f"The shards of {split} at {root} hold no images; write them anew.")
        # By class and name, as folders are listed: which shard holds an image does not matter.
        order = np.array(sorted(range(len(table.names)), key=table.names.__getitem__), np.int64)
        labels: tuple[int, ...] | None = None
        classes: tuple[str, ...] = ()
        if self.labelled:
            classes, renumbered = self._classes()
            found = renumbered[table.labels[order]]
            order = order[found >= 0]
            found = found[found >= 0]
            by_class = np.argsort(found, kind="stable")
            order, labels = order[by_class], tuple(found[by_class].tolist())
        members = Members(root, table.shards, table.looks, table.numbers, table.offsets, table.sizes).part(order)
        files = tuple(table.names[place] for place in order)
        return Index(self.name, root, split, files, labels, classes, members=members)

    def _classes(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the classes that count, and the label of each number in the shards (−1: it does not count)."""
        names = self._all_classes()
        chosen = names
        if isinstance(self.inner, ClassFolders):
            chosen = self.inner.chosen(names, self.root / CLASSES)
        place = {name: label for label, name in enumerate(chosen)}
        return tuple(chosen), np.array([place.get(name, -1) for name in names], np.int64)

    def _all_classes(self) -> list[str]:
        """The names of the classes: those of classes.txt or, without it, the numbers that train has."""
        file = self.root / CLASSES
        if file.is_file():
            names = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            double = next((name for name, count in Counter(names).items() if count > 1 or not name.strip()), None)
            if double is not None:
                raise BadInput(f"{file} has the line {double!r} twice or empty; write each class on one line.")
            return names
        labels = self.table("train" if "train" in self.by_split else "val").labels
        return [str(number) for number in range(int(labels.max(initial=-1)) + 1)]

    def problems(self, split: str) -> list[Problem]:
        """Return what is wrong with the shards of a split, and with the samples in them."""
        table = self.table(split)
        problems = [*table.problems]
        counts = Counter(table.names)
        if len(counts) < len(table.names):
            first: dict[str, str] = {}
            for name, number in zip(table.names, table.numbers.tolist(), strict=True):
                if name in first:
                    problems.append((f"{table.shards[number]}/{name}", f"is in {first[name]}, too; remove one of them"))
                elif counts[name] > 1:
                    first[name] = table.shards[number]
        if self.labelled:
            classes = len(self._all_classes())
            for place in np.flatnonzero((table.labels < 0) | (table.labels >= classes)).tolist():
                label = int(table.labels[place])
                why = (
                    "has no label; add one as .cls or in .json, or read it as a data set without labels, such as coco"
                    if label == NO_LABEL
                    else f"has the label {label}, but there are {classes} classes; correct it, or {CLASSES}"
                )
                problems.append((f"{table.shards[table.numbers[place]]}/{table.names[place]}", why))
        return problems

    # What its fingerprint reads.

    def holding(self) -> list[str]:
        """Return the files of the folder that decide what it lists."""
        shards = [shard for split in self.splits(self.root) for shard in self.by_split[split]]
        return [*shards, *([CLASSES] if (self.root / CLASSES).is_file() else ())]

    def content(self, sampled: int) -> bytes:
        """Return what a fingerprint hashes: as of a folder of the same files, the contents of `sampled` of them read.

        Labels count besides, unless the names of the images say them as folders of classes do.
        """
        indices = [self.index(self.root, split) for split in self.splits(self.root)]
        lines = bytearray()
        for index in indices:
            assert index.members is not None
            for file, size in zip(index.files, index.members.sizes.tolist(), strict=True):
                lines += f"{file}\0{size}\n".encode("utf-8", "surrogateescape")
        images = [(index.members, place) for index in indices for place in range(len(index.files))]
        count = len(images)
        chosen = [images[i * count // sampled] for i in range(sampled)] if count > sampled else images
        for members, place in chosen:
            assert members is not None
            lines += hashlib.sha256(members.read(place)).digest()
        for index in indices:
            if not _says_classes(index):
                lines += f"labels of {index.split}\n{chr(10).join(index.classes)}\0".encode("utf-8", "surrogateescape")
                lines += np.array(index.labels, "<i8").tobytes()
        return bytes(lines)

    # What its check looks at.

    def recognised(self, root: Path) -> list[str]:
        """Return which shards each split is read from, and where labels come from."""
        lines = []
        for split, shards in self.by_split.items():
            which = f"{shards[0]} to {shards[-1]}" if len(shards) > 1 else shards[0]
            lines.append(f"{split} is {len(shards)} shard{'s' * (len(shards) > 1)}: {which}")
        if self.labelled:
            names = CLASSES if (root / CLASSES).is_file() else f"the numbers themselves (there is no {CLASSES})"
            lines.append(f"labels from .cls or .json in the shards, names of classes from {names}")
        return lines

    def contents(self, root: Path, split: str) -> Contents:
        """Return what there is to check of a split; damaged shards and wrong samples are listed, and do not end it."""
        table = self.table(split)
        members = Members(root, table.shards, table.looks, table.numbers, table.offsets, table.sizes)
        images = [
            f"{table.shards[number]}/{name}" for name, number in zip(table.names, table.numbers.tolist(), strict=True)
        ]
        self._checked |= {image: (members, place) for place, image in enumerate(images)}
        problems = self.problems(split)
        if not self.labelled:
            return Contents({"": len(images)}, images, unreadable=problems)
        names = self._all_classes()
        found = Counter(names[label] for label in table.labels.tolist() if 0 <= label < len(names))
        counts = {name: found[name] for name in names if found[name]} or {"": len(images)}
        missing = [f"{split}: class {name} has no image" for name in self._classes()[0] if not found[name]]
        return Contents(counts, images, missing=missing, unreadable=problems)

    def stored(self, root: Path, image: str) -> Path | bytes:  # noqa: ARG002 - as its folder is known
        """Return the content of one of the `images` of its contents."""
        members, place = self._checked[image]
        return members.read(place)


def _says_classes(index: Index) -> bool:
    """Whether the names of all images, and they alone, give the labels, as folders of classes do."""
    if index.labels is None:
        return True
    if [*index.classes] != sorted(index.classes) or (
        index.split == "train" and len(set(index.labels)) < len(index.classes)
    ):
        return False
    pairs = zip(index.files, index.labels, strict=True)
    return all(_folder(file) == index.classes[label] for file, label in pairs)


def _folder(file: str) -> str:
    return file.rpartition("/")[0].rpartition("/")[2]


def keep_index_beside(name: str, data_set: DataSet | None, root: Path) -> str:
    """Write the index of a data set's shards beside them; return where it is. Raises BadInput where there are none."""
    there = None if data_set is None else laid_out(data_set, root)
    if not isinstance(there, Sharded):
        raise BadInput(f"{root} does not hold {name} in shards, which an index is of; leave out --keep-index.")
    for split in there.splits(root):
        there.table(split, beside=True)
    return str(root / BESIDE)


def refuse_shards(data_set: DataSet, root: Path, what: str) -> None:
    """Raise BadInput where a data set lies in shards and `what` needs its files."""
    if isinstance(laid_out(data_set, root), Sharded):
        raise BadInput(f"{root} holds {data_set.name} in shards, and {what}; give a folder with the unpacked images.")
