"""The on-disk layouts of the data sets, as their authors ship them, and what a data set is by content.

This module does not import torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache as memo
from pathlib import Path
from typing import Any

from bench.data.roots import DATASETS
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
}

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
    one for each file (empty where there are none).
    """

    dataset: str
    root: Path
    split: str
    files: tuple[str, ...]
    labels: tuple[int, ...] | None = None
    classes: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()


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
        return _imagenet(dataset, root, split)
    except OSError as error:
        raise _unlisted(error) from error


def splits(dataset: str, root: Path) -> tuple[str, ...]:
    """Return which of `train` and `val` a folder has, whatever is in them."""
    if dataset == "coco":
        found = [split for split in SPLITS if (root / f"{split}2017").is_dir()]
        return tuple(found) or (("train",) if root.is_dir() and _images(root) else ())
    above = root / "leftImg8bit" if dataset == "cityscapes" else root
    return tuple(split for split in SPLITS if (above / split).is_dir())


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


def _imagenet(dataset: str, root: Path, split: str) -> Index:
    classes = _class_folders(dataset, root, "train")
    chosen = classes if split == "train" else _class_folders(dataset, root, split)
    unknown = sorted(set(chosen) - set(classes))
    if unknown:
        raise BadInput(
            f"{root / split} has {len(unknown)} classes that {root / 'train'} has not ({unknown[0]}); "
            "remove them, or add them to train."
        )
    files: list[str] = []
    labels: list[int] = []
    number = {name: label for label, name in enumerate(classes)}
    for name in chosen:
        images = _images(root / split / name)
        if not images:
            raise BadInput(f"The class folder {root / split / name} holds no images; fill it or remove it.")
        files += [f"{split}/{name}/{image}" for image in images]
        labels += [number[name]] * len(images)
    return Index(dataset, root, split, tuple(files), tuple(labels), tuple(classes))


def _class_folders(dataset: str, root: Path, split: str) -> list[str]:
    if not (root / split).is_dir():
        raise _wrong(dataset, root, f"{split}/")
    found = _folders(root / split)
    if not found:
        raise _wrong(dataset, root, f"{split}/<wnid>/", "sort the images into a folder for each class, and it")
    if dataset == "imagenet":
        return found
    wanted = sorted(imagenet100_classes())
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise BadInput(
            f"{root / split} has {100 - len(missing)} of the 100 classes of ImageNet-100 ({missing[0]} is missing); "
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

    Where the folder lies does not matter. For a data set without a reader here, all files below its root count.

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
        part = index(dataset, root, split)
        if dataset == "clips":
            for clip in part.files:
                folder = root / clip
                found += [f"{clip}/{frame}" for frame in _images(folder)] if folder.is_dir() else [clip]
        found += [*part.files, *part.masks] if dataset != "clips" else []
    return found


def _stamps(root: Path, paths: Iterable[str]) -> dict[str, list[int] | None]:
    """Return {path: [time of change, size]}, None for what is not there. A folder's size says nothing: 0."""
    stamps: dict[str, list[int] | None] = {}
    for path in paths:
        try:
            stat = os.stat(root / path)  # noqa: PTH116 - one call for all that is asked
        except OSError:
            stamps[path] = None
        else:
            stamps[path] = [stat.st_mtime_ns, stat.st_size if os.path.splitext(path)[1] else 0]  # noqa: PTH122
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
