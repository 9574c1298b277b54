"""Look at every file of a data set: what is there, what is missing, what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bench.data.decode import Undecodable, read_labels, read_rgb
from bench.data.label_maps import wrong_form
from bench.data.packs.manifest import find_packs
from bench.data.packs.reading import open_pack, verify
from bench.data.sets import DataSet, find, get, reading
from bench.data.sets.fingerprints import check_command, content_hash, take_manifest
from bench.data.sets.folders import strange_names
from bench.data.sets.listing import asking, listed, listed_without_labels, splits_of
from bench.data.sets.manifests import changed_files
from bench.data.sets.sharded import Sharded, laid_out
from bench.errors import BadInput
from bench.progress import Progress

CHUNK = 4096  # files that wait for a thread at once


@dataclass(frozen=True)
class Report:
    """What a data set has and lacks. `counts` is split -> class (another group, "" where there is none) -> images."""

    dataset: str
    root: Path
    counts: Mapping[str, Mapping[str, int]]
    groups: str = "classes"
    missing: list[str] = field(default_factory=list)  # what, and who wants it
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # (file below root, why)
    packs: list[str] = field(default_factory=list)  # what they are and where they lie
    damaged: list[str] = field(default_factory=list)  # what is wrong with a pack
    layout: list[str] = field(default_factory=list)  # which one was recognised, and where labels come from
    read: tuple[int, int] = (0, 0)  # images and label maps that were decoded

    @property
    def ok(self) -> bool:
        """Whether nothing is missing, everything can be read, and packs hold what the files hold."""
        return not self.missing and not self.unreadable and not self.damaged

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        lines = [f"{self.dataset} at {self.root}"]
        lines += [f"layout     {what}" for what in self.layout]
        width = max(6, *map(len, self.counts))
        for split, groups in self.counts.items():
            text = f"{split:<{width}} {sum(groups.values())} images"
            if "" not in groups:
                few, many = min(groups.values()), max(groups.values())
                each = f"{few} each" if few == many else f"{few} to {many} each"
                text += f" in {len(groups)} {self.groups} ({each})"
            lines.append(text)
        lines += [f"missing    {what}" for what in self.missing]
        lines += [f"unreadable {file}: {why}" for file, why in self.unreadable]
        lines += [f"pack       {what}" for what in self.packs]
        lines += [f"pack       {what}" for what in self.damaged]
        images, maps = self.read
        files = f"{images} image files" + (f" and {maps} label maps" if maps else "")
        lines.append(f"read       {files}, each decoded" if images else "read       the files of all images in one")
        count = len(self.missing) + len(self.unreadable) + len(self.damaged)
        return [*lines, f"{count} problems" if count else "all files can be read"]


def check(dataset: str, root: Path, workers: int = 2) -> Report:
    """Decode every file of a data set and say what is missing or unreadable, with a progress display.

    `workers` threads decode. Raises BadInput where there is no such layout at all.
    """
    data_set = get(dataset)
    unreadable: list[tuple[str, str]] = []
    counts: dict[str, Mapping[str, int]] = {}
    missing: list[str] = []
    images: list[str] = []
    masks: dict[str, str] = {}
    with reading(data_set, root):
        data_set = laid_out(data_set, root)
        for split in splits_of(data_set, root) or ("train",):  # with neither, let the reader say what it looked for
            if data_set.source is not None:
                listed(data_set, root, split)
            with asking(data_set, "contents"):
                contents = data_set.contents(root, split)
            counts[split] = contents.counts
            images += contents.images
            masks |= contents.masks
            missing += contents.missing
            unreadable += contents.unreadable
        if data_set.has_unlabelled(root):
            more = listed_without_labels(data_set, root)
            counts[more.split] = {"": len(more.files)}
            images += more.files if more.pixels is None else ()
        elif data_set.unlabelled_split is not None:
            missing.append(f"{data_set.unlabelled_split} (images without labels, which pretraining reads)")
    for split in data_set.needs:
        if split not in counts:
            packed = data_set.packed(root, f"{split}/")
            missing.append(f"{split} (the whole split){f'; {packed}' if packed else ''}")

    def look(image: str) -> list[tuple[str, str]]:
        return list(_problems(data_set, root, image, masks.get(image)))

    if not isinstance(data_set, Sharded):
        unreadable += _strange(root, [*images, *masks.values()])
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool, Progress("check", len(images), "images") as progress:
        for problems in _in_order(pool, look, images):
            unreadable += problems
            progress.update(1, unreadable=str(len(unreadable)))
    wrong_shards = isinstance(data_set, Sharded) and unreadable  # which have no fingerprint to find packs by
    packs, damaged = ([], []) if wrong_shards else _packs(data_set, root, workers)
    layout, read = data_set.recognised(root), (len(images), len(masks))
    return Report(
        data_set.name, root, counts, data_set.groups, missing, unreadable, packs, damaged, layout=layout, read=read
    )


def check_content(dataset: str, root: Path, cache: Path, manifest: Path | None = None) -> str:
    """Read all files of a data set, and write their manifest or compare them with it; say in words which.

    Also of one that has no reader here, whose files are all that lie below its root.

    Args:
        cache: `data.json` of a work folder, whose runs are then held to the manifest.
        manifest: its file; None: beside `cache`.

    Raises ChangedFiles where files are not as the manifest has them, after printing each; BadInput; and OSError.
    """
    data_set = find(dataset)
    with reading(data_set, root) if data_set is not None else nullcontext():
        done, file, problems = take_manifest(dataset, data_set, root, cache, manifest)
    for name, why in problems:
        print(f"changed    {name} {why}")
    if problems:
        name = dataset if data_set is None else data_set.name
        raise changed_files(root, file, problems, check_command(dataset, name, root, cache))
    return f"{file}: {done}"


def _strange(root: Path, files: Sequence[str]) -> list[tuple[str, str]]:
    """What lies beside the files of a data set and is passed over: (file below root, why), such as a broken link."""
    inner = {Path(file).parent for file in files}
    folders = {Path(), *inner, *(parent for folder in inner for parent in folder.parents)}
    named = {folder.as_posix() for folder in folders}  # a clip is a folder, whatever its name
    strange: list[tuple[str, str]] = []
    for folder in sorted(folders):
        if (root / folder).is_dir():
            found = (((folder / name).as_posix(), why) for name, why in strange_names(root / folder))
            strange += [(file, why) for file, why in found if file not in named]
    return strange


def _packs(data_set: DataSet, root: Path, workers: int) -> tuple[list[str], list[str]]:
    """Return what packs there are, and what is wrong with any of them, after a look at every record."""
    if not data_set.packable:
        return [], []
    whole, damaged = find_packs(data_set.name, root, content_hash(data_set.name, data_set, root))
    packs: list[str] = []
    for stored in whole:
        try:
            pack = open_pack(stored.folder)
        except BadInput as error:
            damaged.append(str(error))
            continue
        packs.append(f"{stored.manifest.split}: {pack.describe()}, {len(pack)} images, {stored.folder}")
        damaged += verify(pack, None if isinstance(data_set, Sharded) else root, workers)
    return packs, damaged


def _in_order(
    pool: ThreadPoolExecutor, look: Callable[[str], list[tuple[str, str]]], images: Iterable[str]
) -> Iterator[list[tuple[str, str]]]:
    """Map over a million files without a million waiting jobs."""
    rest = iter(images)
    while chunk := list(islice(rest, CHUNK)):
        yield from pool.map(look, chunk)


def _problems(data_set: DataSet, root: Path, image: str, mask: str | None) -> Iterator[tuple[str, str]]:
    size = None
    try:
        size = read_rgb(data_set.stored(root, image)).size
    except Undecodable as error:
        yield image, str(error)
    if mask is None:
        return
    try:
        wrong = wrong_form(root / mask, size)
        labels = read_labels(root / mask)
    except Undecodable as error:
        yield mask, str(error)
        return
    if wrong is not None:
        yield mask, wrong
    if labels.ndim != 2:
        return
    strange = data_set.strange_label(mask, labels)
    if strange is not None:
        yield mask, strange
