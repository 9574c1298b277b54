"""Look at every file of a data set: what is there, what is missing, what cannot be read.

This module does not import torch.
"""

from __future__ import annotations

import json
import mmap
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from bench.data.decode import Undecodable, read_labels, read_rgb
from bench.data.packs.manifest import PACKABLE, find_packs
from bench.data.packs.reading import open_pack, verify
from bench.data.sets import (
    CITYSCAPES_CLASSES,
    UNLABELLED,
    cityscapes_files,
    fingerprint,
    index,
    splits,
    unlabelled,
)
from bench.errors import BadInput
from bench.progress import Progress

FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')
CHUNK = 4096  # files that wait for a thread at once
IGNORED = 255


@dataclass(frozen=True)
class Report:
    """What was found. `counts` is split -> class (for Cityscapes the city, where there is none "") -> images."""

    dataset: str
    root: Path
    counts: dict[str, dict[str, int]]
    missing: list[str] = field(default_factory=list)  # what, and who wants it
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # (file below root, why)
    packs: list[str] = field(default_factory=list)  # what they are and where they lie
    damaged: list[str] = field(default_factory=list)  # what is wrong with a pack

    @property
    def ok(self) -> bool:
        """Whether nothing is missing, everything can be read, and packs hold what the files hold."""
        return not self.missing and not self.unreadable and not self.damaged

    def lines(self) -> list[str]:
        """The report in words, one finding a line."""
        lines = [f"{self.dataset} at {self.root}"]
        width = max(6, *map(len, self.counts))
        for split, groups in self.counts.items():
            text = f"{split:<{width}} {sum(groups.values())} images"
            if "" not in groups:
                few, many = min(groups.values()), max(groups.values())
                each = f"{few} each" if few == many else f"{few} to {many} each"
                text += f" in {len(groups)} {'cities' if self.dataset == 'cityscapes' else 'classes'} ({each})"
            lines.append(text)
        lines += [f"missing    {what}" for what in self.missing]
        lines += [f"unreadable {file}: {why}" for file, why in self.unreadable]
        lines += [f"pack       {what}" for what in self.packs]
        lines += [f"pack       {what}" for what in self.damaged]
        count = len(self.missing) + len(self.unreadable) + len(self.damaged)
        return [*lines, f"{count} problems" if count else "all files can be read"]


def check(dataset: str, root: Path, workers: int = 2) -> Report:
    """Decode every file of a data set and say what is missing or unreadable, with a progress display.

    Args:
        dataset: one that `index` reads.
        root: its folder.
        workers: threads that decode.

    Raises BadInput where there is no such layout at all.
    """
    counts: dict[str, dict[str, int]] = {}
    missing: list[str] = []
    images: list[str] = []
    masks: dict[str, str] = {}  # image -> label map
    for split in splits(dataset, root) or ("train",):  # with neither, let the reader say what it looked for
        if dataset == "cityscapes":
            files, labelled, absent = cityscapes_files(root, split)
            gone = set(absent)
            missing += [f"{mask} (the label map of an image)" for mask in absent]
            masks |= {file: mask for file, mask in zip(files, labelled, strict=True) if mask not in gone}
            counts[split] = dict(Counter(file.split("/")[2] for file in files))
        else:
            found = index(dataset, root, split)
            files = found.files if found.pixels is None else ()  # else reading the split has looked at all of it
            counts[split] = {"": len(found.files)}
            if found.labels is not None:
                per_label = Counter(found.labels)
                counts[split] = {found.classes[label]: number for label, number in sorted(per_label.items())}
                missing += [f"{split}/{name} (train has it)" for name in found.classes if name not in counts[split]]
            else:
                missing += _announced(root, split, files)
        images += files
    more = unlabelled(dataset, root)
    if more is not None:
        counts[UNLABELLED] = {"": len(more.files)}
        images += more.files if more.pixels is None else ()
    elif dataset == "stl10":
        missing.append(f"{UNLABELLED} (images without labels, which pretraining reads)")
    if dataset != "coco":  # nothing reads COCO's val
        missing += [f"{split} (the whole split)" for split in ("train", "val") if split not in counts]

    def look(image: str) -> list[tuple[str, str]]:
        return list(_problems(root, image, masks.get(image)))

    unreadable: list[tuple[str, str]] = []
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool, Progress("check", len(images), "images") as progress:
        for problems in _in_order(pool, look, images):
            unreadable += problems
            progress.update(1, unreadable=str(len(unreadable)))
    return Report(dataset, root, counts, missing, unreadable, *_packs(dataset, root, workers))


def _packs(dataset: str, root: Path, workers: int) -> tuple[list[str], list[str]]:
    """Return what packs there are, and what is wrong with any of them, after a look at every record."""
    if dataset not in PACKABLE:
        return [], []
    found, damaged = find_packs(dataset, root, fingerprint(dataset, root))
    packs: list[str] = []
    for one in found:
        try:
            pack = open_pack(one.folder)
        except BadInput as error:
            damaged.append(str(error))
            continue
        packs.append(f"{one.manifest.split}: {pack.describe()}, {len(pack)} images, {one.folder}")
        damaged += verify(pack, root, workers)
    return packs, damaged


def _in_order(
    pool: ThreadPoolExecutor, look: Callable[[str], list[tuple[str, str]]], images: Iterable[str]
) -> Iterator[list[tuple[str, str]]]:
    """Map over a million files without a million waiting jobs."""
    rest = iter(images)
    while chunk := list(islice(rest, CHUNK)):
        yield from pool.map(look, chunk)


def _problems(root: Path, image: str, mask: str | None) -> Iterator[tuple[str, str]]:
    size = None
    try:
        size = read_rgb(root / image).size
    except Undecodable as error:
        yield image, str(error)
    if mask is None:
        return
    try:
        labels = read_labels(root / mask)
    except Undecodable as error:
        yield mask, str(error)
        return
    if labels.ndim != 2:
        yield mask, "a label map has one channel"
        return
    if size is not None and labels.shape != size[::-1]:
        yield mask, f"{labels.shape[1]}×{labels.shape[0]} pixels, but its image has {size[0]}×{size[1]}"
    strange = [value for value in np.unique(labels) if value >= len(CITYSCAPES_CLASSES) and value != IGNORED]
    if strange:
        yield mask, f"{strange[0]} is no train id (0 to {len(CITYSCAPES_CLASSES) - 1}, or {IGNORED})"


def _announced(root: Path, split: str, files: Iterable[str]) -> list[str]:
    """The images that COCO's annotations name and the folder has not.

    The file is searched instead of parsed: it has half a gigabyte, which parsed takes several.
    """
    annotations = root / "annotations" / f"instances_{split}2017.json"
    if not annotations.is_file() or annotations.stat().st_size == 0:
        return []
    there = {file.rpartition("/")[2] for file in files}
    with annotations.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        names = {str(json.loads(match[1])) for match in FILE_NAME.finditer(content)}
    return [f"{split}2017/{name} (named in {annotations.name})" for name in sorted(names - there)]
