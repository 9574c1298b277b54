"""The on-disk layouts of the data sets, as their authors ship them, and what a data set is by content.

This module does not import torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache as memo
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.roots import DATASETS
from bench.data.sets import binary
from bench.errors import BadInput, nearest

SPLITS = ("train", "val")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
SAMPLED = 1024  # files whose contents a fingerprint reads

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v"})

LAYOUTS = {
    "coco": "train2017/*.jpg (and val2017/*.jpg), or the images themselves",
    "imagenet": "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG",
    "imagenet100": "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG of its 100 classes (a whole ImageNet serves)",
    "cityscapes": "leftImg8bit/<split>/<city>/*_leftImg8bit.png and "
    "gtFine/<split>/<city>/*_gtFine_labelTrainIds.png for the splits train and val",
    "clips": "train/<clip>/*.jpg or train/*.mp4, or both below train/<class>/ (and val/ likewise)",
    "cifar10": "cifar-10-batches-py/, or train/<class>/*.png and test/<class>/*.png (or val/)",
    "cifar100": "cifar-100-python/, or train/<class>/*.png and test/<class>/*.png (or val/)",
    "stl10": "stl10_binary/, or train/<class>/*.png, test/<class>/*.png (or val/) and unlabeled/*.png",
}
SMALL = ("cifar10", "cifar100", "stl10")  # images of one size, in the authors' binary layouts or as files
UNLABELLED = "unlabeled"  # STL-10's folder of images without classes

# By train id.
CITYSCAPES_CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
IMAGE_END, MASK_END = "_leftImg8bit.png", "_gtFine_labelTrainIds.png"


@dataclass(frozen=True)
class Index:
    """The files of one split, relative to `root` with forward slashes, sorted.

    `labels` are positions in `classes`, one for each file (None where images have no class); `masks` are label maps,
    one for each file (empty where there are none). `pixels` are the images, N×H×W×3 uint8, where many lie in one file,
    which may be mapped; `files` are then names that say where an image lies in it. None where each is a file.
    """

    dataset: str
    root: Path
    split: str
    files: tuple[str, ...]
    labels: tuple[int, ...] | None = None
    classes: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    pixels: binary.Pixels | None = field(default=None, compare=False, repr=False)


def part(index: Index, chosen: Sequence[int] | np.ndarray) -> Index:
    """Return the index of some of its images, in the order of the data set; all classes stay."""
    kept = sorted(int(position) for position in chosen)
    return replace(
        index,
        files=tuple(index.files[i] for i in kept),
        labels=None if index.labels is None else tuple(index.labels[i] for i in kept),
        masks=tuple(index.masks[i] for i in kept) if index.masks else (),
        pixels=None if index.pixels is None else index.pixels[np.asarray(kept, np.int64)],
    )


def index(dataset: str, root: Path, split: str) -> Index:
    """List one split (`train` or `val`) of a data set.

    Raises BadInput, saying what was looked for, when the folder or its layout is missing, a class folder is empty, the
    validation set has classes that training has not, or an image has no label map.
    """
    if dataset not in DATASETS:
        raise BadInput(f"No reader for {dataset!r}{nearest(dataset, DATASETS) or '; known: ' + ', '.join(DATASETS)}")
    if split not in SPLITS:
        raise ValueError(f"split is train or val, not {split!r}")
    if not root.is_dir():
        raise BadInput(f"{root} is no folder; give --data-root {dataset}=DIR, where DIR holds {LAYOUTS[dataset]}.")
    try:
        if dataset == "coco":
            return Index(dataset, root, split, _coco(root, split))
        if dataset == "cityscapes":
            files, masks, missing = cityscapes_files(root, split)
            if missing:
                raise BadInput(_no_masks(root, missing))
            return Index(dataset, root, split, files, classes=CITYSCAPES_CLASSES, masks=masks)
        if dataset == "clips":
            return _clips(root, split)
        if binary.is_there(dataset, root):
            found = binary.read(dataset, root, split)
            return Index(dataset, root, split, found.names, found.labels, found.classes, pixels=found.pixels)
        return _in_classes(dataset, root, split)
    except OSError as error:
        raise _unlisted(error) from error


def pretraining_index(dataset: str, root: Path) -> Index:
    """List what pretraining on a data set sees: its training split, for STL-10 with the images without labels.

    STL-10's has no labels and no classes. Raises BadInput as `index` does, and where STL-10's images without labels are
    missing: pretraining on the 5,000 others would be another thing by the same name.
    """
    train = index(dataset, root, "train")
    if dataset != "stl10":
        return train
    more = _unlabelled(root)
    pixels: binary.Pixels | None = None
    if train.pixels is not None and more.pixels is not None:
        pixels = binary.Joined((np.asanyarray(train.pixels), np.asanyarray(more.pixels)))
    return Index(dataset, root, f"train+{UNLABELLED}", (*train.files, *more.files), pixels=pixels)


def check_pretraining(dataset: str, root: Path) -> None:
    """Raise BadInput as `pretraining_index` does where a folder lacks what only pretraining reads; cheap."""
    if dataset == "stl10":
        _unlabelled(root)


def unlabelled(dataset: str, root: Path) -> Index | None:
    """List the images without labels that lie beside a data set's splits, None where there are none."""
    if dataset != "stl10":
        return None
    file = root / binary.FOLDERS[dataset] / binary.UNLABELLED
    there = file.is_file() if binary.is_there(dataset, root) else (root / UNLABELLED).is_dir()
    return _unlabelled(root) if there else None


def splits(dataset: str, root: Path) -> tuple[str, ...]:
    """Return which of `train` and `val` a folder has, whatever is in them."""
    if dataset == "coco":
        found = [split for split in SPLITS if (root / f"{split}2017").is_dir()]
        return tuple(found) or (("train",) if root.is_dir() and _images(root) else ())
    if binary.is_there(dataset, root):
        return SPLITS
    above = root / "leftImg8bit" if dataset == "cityscapes" else root
    return tuple(split for split in SPLITS if (above / _folder_of(dataset, root, split)).is_dir())


@memo
def imagenet100_classes() -> tuple[str, ...]:
    """Return the wnids of ImageNet-100 in the order of their authors: Tian et al., "Contrastive Multiview Coding"."""
    return tuple((Path(__file__).parent / "imagenet100.txt").read_text(encoding="ascii").split())


# -------------------------------------------------------------------------------------------- data sets


def _coco(root: Path, split: str) -> tuple[str, ...]:
    folder = f"{split}2017"
    if (root / folder).is_dir():
        files = tuple(f"{folder}/{name}" for name in _images(root / folder))
        if not files:
            raise BadInput(f"{root / folder} holds no images; put {split}'s images there.")
        return files
    flat = _images(root) if splits("coco", root) == ("train",) else []
    if split != "train" or not flat:
        raise _wrong("coco", root, f"{folder}/")
    return tuple(flat)


def frames_of(folder: Path) -> list[str]:
    """Return the names of a clip's frames in order."""
    return _images(folder)


def _clips(root: Path, split: str) -> Index:
    if not (root / split).is_dir():
        raise _wrong("clips", root, f"{split}/")
    found = _clips_in(root / split)
    classes = sorted({clip.partition("/")[0] for clip in found if "/" in clip})
    if not found or (classes and not all("/" in clip for clip in found)):
        raise _wrong("clips", root, f"{split}/<clip> (or all clips in folders of classes)")
    labels = tuple(classes.index(clip.partition("/")[0]) for clip in found) if classes else None
    return Index("clips", root, split, tuple(f"{split}/{clip}" for clip in found), labels, tuple(classes))


def _clips_in(folder: Path, depth: int = 2) -> list[str]:
    """Folders that hold images, and video files, down to `depth` levels, relative and sorted."""
    found: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            is_video = entry.is_file() and Path(entry.name).suffix.lower() in VIDEO_SUFFIXES
            if is_video or (entry.is_dir() and _images(Path(entry.path))):
                found.append(entry.name)
            elif entry.is_dir() and depth > 1:
                found += [f"{entry.name}/{clip}" for clip in _clips_in(Path(entry.path), depth - 1)]
    return sorted(found)


def _folder_of(dataset: str, root: Path, split: str) -> str:
    """The folder of a split: the small data sets' `val` is what their authors call `test`."""
    return "test" if split == "val" and dataset in SMALL and not (root / "val").is_dir() else split


def _unlabelled(root: Path) -> Index:
    if binary.is_there("stl10", root):
        found = binary.read_unlabelled(root)
        return Index("stl10", root, UNLABELLED, found.names, pixels=found.pixels)
    folder = root / UNLABELLED
    names = _images(folder) if folder.is_dir() else []
    if not names:
        raise BadInput(
            f"{folder} holds no images, which pretraining on stl10 sees besides train; put STL-10's images without "
            "labels there."
        )
    return Index("stl10", root, UNLABELLED, tuple(f"{UNLABELLED}/{name}" for name in names))


def _in_classes(dataset: str, root: Path, split: str) -> Index:
    folder = _folder_of(dataset, root, split)
    classes = _class_folders(dataset, root, "train")
    chosen = classes if split == "train" else _class_folders(dataset, root, folder)
    unknown = sorted(set(chosen) - set(classes))
    if unknown:
        raise BadInput(
            f"{root / folder} has {len(unknown)} classes that {root / 'train'} has not ({unknown[0]}); "
            "remove them, or add them to train."
        )
    files: list[str] = []
    labels: list[int] = []
    number = {name: label for label, name in enumerate(classes)}
    for name in chosen:
        images = _images(root / folder / name)
        if not images:
            raise BadInput(f"The class folder {root / folder / name} holds no images; fill it or remove it.")
        files += [f"{folder}/{name}/{image}" for image in images]
        labels += [number[name]] * len(images)
    return Index(dataset, root, split, tuple(files), tuple(labels), tuple(classes))


def _class_folders(dataset: str, root: Path, folder: str) -> list[str]:
    if not (root / folder).is_dir():
        raise _wrong(dataset, root, f"{folder}/")
    found = _folders(root / folder)
    if not found:
        name = "<class>" if dataset in SMALL else "<wnid>"
        raise _wrong(dataset, root, f"{folder}/{name}/", "sort the images into a folder for each class, and it")
    if dataset != "imagenet100":
        return found
    wanted = sorted(imagenet100_classes())
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise BadInput(
            f"{root / folder} has {100 - len(missing)} of the 100 classes of ImageNet-100 ({missing[0]} is missing); "
            "point imagenet100 or imagenet to a folder with all of them, or use the data set imagenet."
        )
    return wanted


def cityscapes_files(root: Path, split: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the images of a split, a label map for each of them (it may not exist), and those that do not exist."""
    images = root / "leftImg8bit" / split
    if not images.is_dir():
        raise _wrong("cityscapes", root, f"leftImg8bit/{split}/")
    files: list[str] = []
    masks: list[str] = []
    missing: list[str] = []
    for city in _folders(images):
        labelled = root / "gtFine" / split / city
        there = set(_images(labelled)) if labelled.is_dir() else set()
        for name in _images(images / city):
            if not name.endswith(IMAGE_END):
                continue
            mask = name.removesuffix(IMAGE_END) + MASK_END
            files.append(f"leftImg8bit/{split}/{city}/{name}")
            masks.append(f"gtFine/{split}/{city}/{mask}")
            if mask not in there:
                missing.append(masks[-1])
    if not files:
        raise _wrong("cityscapes", root, f"leftImg8bit/{split}/<city>/*{IMAGE_END}")
    return tuple(files), tuple(masks), tuple(missing)


def _no_masks(root: Path, missing: Sequence[str]) -> str:
    ids = root / missing[0].replace("labelTrainIds", "labelIds")
    remedy = "cityscapesScripts' csCreateTrainIdLabelImgs makes it of labelIds" if ids.is_file() else "unpack gtFine"
    return f"{root / missing[0]} is missing, as are {len(missing) - 1} other label maps; {remedy}."


def _wrong(dataset: str, root: Path, looked_for: str, remedy: str = "it") -> BadInput:
    return BadInput(
        f"{root} is not laid out as {dataset}: there is no {looked_for}; {remedy} should hold {LAYOUTS[dataset]}."
    )


def _unlisted(error: OSError) -> BadInput:
    return BadInput(f"Cannot read {error.filename}: {error.strerror}; check its permissions.")


def _images(folder: Path) -> list[str]:
    """The names of the images in a folder, sorted; hidden files are none."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and os.path.splitext(entry.name)[1].lower() in SUFFIXES  # noqa: PTH122 - a million times
            and entry.is_file()
        )


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


# ------------------------------------------------------------------------------------------ fingerprint


def fingerprint(dataset: str, root: Path, cache: Path | None = None) -> str:
    """Return 16 hex digits of a data set's content: all splits' relative paths and sizes, and what is in 1,024 files.

    Where the folder lies does not matter. For a data set without a reader here, all files below its root count; where
    many images lie in one file, all of it is read. STL-10's images without labels count where they are there.

    Args:
        cache: a JSON file that keeps the result with the times of the folders, and of the files whose content was
            read; as long as these stay, only they are looked at.

    Raises BadInput as `index` does.
    """
    known = _read_cache(cache)
    key = f"{dataset}:{root.absolute()}"
    entry = known.get(key)
    try:
        if entry is not None and _stamps(root, entry["stamps"]) == entry["stamps"]:
            return entry["fingerprint"]
    except (KeyError, TypeError, AttributeError):
        pass  # written by another version, or by hand
    try:
        files = _all_files(dataset, root)
        chosen = [files[i * len(files) // SAMPLED] for i in range(SAMPLED)] if len(files) > SAMPLED else files
        folders = {file.rpartition("/")[0] for file in files}  # first, as there may be a million files
        above = folders | {parent.as_posix() for folder in folders for parent in Path(folder, "file").parents}
        stamps = _stamps(root, [*sorted(above - {""}), *chosen])  # before reading: what changes meanwhile is read again
        total = hashlib.sha256(f"{dataset}\n".encode())
        for file in files:
            total.update(f"{file}\0{(root / file).stat().st_size}\n".encode("utf-8", "surrogateescape"))
        for file in chosen:
            with (root / file).open("rb") as opened:
                total.update(hashlib.file_digest(opened, "sha256").digest())
    except OSError as error:
        raise _unlisted(error) from error
    result = total.hexdigest()[:16]
    if cache is not None:
        _write_cache(cache, known | {key: {"fingerprint": result, "stamps": stamps}})
    return result


def _all_files(dataset: str, root: Path) -> list[str]:
    if dataset not in DATASETS:
        if not root.is_dir():
            raise BadInput(f"{root} is no folder; give --data-root {dataset}=DIR.")
        below = (path for path in sorted(root.rglob("[!.]*")) if path.is_file())
        return [path.relative_to(root).as_posix() for path in below]
    found: list[str] = []
    for split in splits(dataset, root) or ("train",):  # with neither, let the reader say what it looked for
        listed = index(dataset, root, split)
        if dataset == "clips":
            for clip in listed.files:
                folder = root / clip
                found += [f"{clip}/{frame}" for frame in _images(folder)] if folder.is_dir() else [clip]
        elif listed.pixels is not None:
            found += binary.files_of(dataset, split)
        else:
            found += [*listed.files, *listed.masks]
    if binary.is_there(dataset, root):
        found += binary.files_of(dataset, "classes")
    more = unlabelled(dataset, root)
    if more is not None:
        found += more.files if more.pixels is None else [f"{binary.FOLDERS[dataset]}/{binary.UNLABELLED}"]
    return found


def _stamps(root: Path, paths: Iterable[str]) -> dict[str, list[int] | None]:
    """Return {path: [time of change, size]}, None for what is not there. A folder's size says nothing: 0."""
    stamps: dict[str, list[int] | None] = {}
    for path in paths:
        try:
            now = os.stat(root / path)  # noqa: PTH116 - one call for all that is asked
        except OSError:
            stamps[path] = None
        else:
            stamps[path] = [now.st_mtime_ns, 0 if stat.S_ISDIR(now.st_mode) else now.st_size]
    return stamps


def _read_cache(cache: Path | None) -> dict[str, Any]:
    if cache is None:
        return {}
    try:
        found = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_cache(cache: Path, content: dict[str, Any]) -> None:
    """Write whole or not at all; a cache that cannot be written costs time, and nothing else."""
    temporary = cache.with_name(f".{cache.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(cache)
