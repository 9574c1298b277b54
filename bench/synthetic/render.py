"""Tiny data sets, drawn here: procedural scenes in the layouts of COCO, ImageNet and Cityscapes, clips, and
shapes in folders of PNG for CIFAR-10, CIFAR-100 and STL-10.

They let everything run without a download, through the readers that serve the originals.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image

from bench.errors import BadInput
from bench.randomness import generator
from bench.synthetic.canvas import KIND_NAMES, KINDS, Canvas
from bench.synthetic.scenes import paint_still_life, paint_street
from bench.synthetic.shapes import SHAPES, paint_shape
from bench.synthetic.things import OBJECTS, paint_object

VERSION = 1  # raise it when the pictures change: those of another version are rendered anew
MARK = ".rendered.json"
UNLABELLED = "unlabeled"  # STL-10's folder of images without classes

COCO = {"train2017": 24, "val2017": 8}
IMAGENET = {"train": 12, "val": 4}  # of each class
CLIPS = {"train": 6, "val": 2}  # of each class
FRAMES = 16  # of a clip
# Of each class; STL-10's `unlabeled` has no classes. name -> (side in pixels, images by folder)
SMALL: dict[str, tuple[int, dict[str, int]]] = {
    "cifar10": (32, {"train": 12, "test": 4}),
    "cifar100": (32, {"train": 12, "test": 4}),
    "stl10": (96, {"train": 6, "test": 4, UNLABELLED: 60}),
}
CITYSCAPES = {"train": ("aachen", 8), "val": ("frankfurt", 4)}
# Each pair is in two training scenes and one validation scene, so that all 19 classes occur in both.
PAIRS = (("wall", "bus"), ("fence", "motorcycle"), ("truck", "terrain"), ("train", "parking"))

# Cityscapes' label ids that are evaluated, in the order of train ids; every other id becomes 255.
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
WITH_INSTANCES = (24, 25, 26, 27, 28, 31, 32, 33)
WAYS = {"down": (0, 1), "left": (-1, 0), "right": (1, 0), "up": (0, -1)}  # of the camera
Progress = Callable[[int, int], None]


def render(root: Path, seed: int = 0, progress: Progress | None = None) -> dict[str, Path]:
    """Write `coco/`, `imagenet/`, `cityscapes/`, `clips/` and so on below `root`; return {data set: folder}.

    They are equal for equal seeds. A folder that this version rendered with this seed is left as it is; one appears
    whole or not at all. `progress` is called with (images done, images in all).

    Raises BadInput when a folder of that name holds something else, or cannot be written.
    """
    total = sum(COCO.values()) + len(OBJECTS) * sum(IMAGENET.values()) + sum(n for _, n in CITYSCAPES.values())
    total += len(WAYS) * sum(CLIPS.values())
    total += sum(n * _classes(split) for _, splits in SMALL.values() for split, n in splits.items())
    numbers = itertools.count(1)

    def count() -> None:
        if progress is not None:
            progress(next(numbers), total)

    writers = _writers()
    mark = json.dumps({"version": VERSION, "seed": seed})
    try:
        root.mkdir(parents=True, exist_ok=True)
        for name, writer in writers.items():
            _whole(root / name, mark, partial(writer, seed=seed, count=count))
    except OSError as error:
        raise BadInput(f"Cannot render into {root} ({error.strerror}); choose a folder that can be written.") from error
    return {name: root / name for name in writers}


def rendered_names() -> tuple[str, ...]:
    """Return the data sets that `render` makes."""
    return tuple(_writers())


def _writers() -> dict[str, Callable[..., None]]:
    return {
        **{"coco": _coco, "imagenet": _imagenet, "cityscapes": _cityscapes, "clips": _clips},
        **{name: partial(_small, name) for name in SMALL},
    }


def _whole(place: Path, mark: str, write: Callable[[Path], None]) -> None:
    """Fill a folder beside `place` and rename it, unless `place` has the mark already."""
    present = _mark(place)
    if present == mark:
        return
    if present is None and place.exists() and any(place.iterdir()):
        raise BadInput(f"{place} exists and was not rendered by bench; choose another folder, or move it away.")
    with FileLock(place.parent / f".{place.name}.lock"):
        if _mark(place) == mark:
            return  # another process has rendered the same meanwhile
        for left in place.parent.glob(f".{place.name}.*/"):  # of processes that were killed
            shutil.rmtree(left, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        try:
            fresh.chmod(0o755)
            write(fresh)
            (fresh / MARK).write_text(mark, encoding="utf-8")
            if _mark(place) == mark:
                return  # one of an earlier version, which knows no lock, and may be reading it
            if place.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{place.name}.old.", dir=place.parent))
                place.replace(old)
                shutil.rmtree(old)
            try:
                fresh.replace(place)
            except OSError:
                if _mark(place) != mark:  # as above, a moment later
                    raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _mark(place: Path) -> str | None:
    try:
        return (place / MARK).read_text(encoding="utf-8")
    except OSError:
        return None


def _coco(folder: Path, seed: int, count: Callable[[], None]) -> None:
    names = {category: kind for kind, (_, category) in KINDS.items() if category}
    names[1] = "person"  # riders are persons, too
    number = 0
    for split, images in COCO.items():
        (folder / split).mkdir(parents=True)
        listed: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for _ in range(images):
            number += 1
            canvas, image = _coco_scene(seed, number)
            file = f"{number:012d}.jpg"
            image.save(folder / split / file, quality=92)
            listed.append({"id": number, "file_name": file, "width": image.width, "height": image.height})
            annotations += coco_annotations(canvas, number)
            count()
        content = {
            "info": {"description": "procedural scenes"},
            "licenses": [],
            "images": listed,
            "annotations": annotations,
            "categories": [{"id": key, "name": names[key], "supercategory": "thing"} for key in sorted(names)],
        }
        file_of = folder / "annotations" / f"instances_{split}.json"
        file_of.parent.mkdir(exist_ok=True)
        file_of.write_text(json.dumps(content), encoding="utf-8")


def _coco_scene(seed: int, number: int) -> tuple[Canvas, Image.Image]:
    rng = generator(seed, "render", "coco", number)
    canvas = Canvas(int(rng.integers(96, 145)), int(rng.integers(112, 161)))
    if number % 2:
        paint_street(canvas, rng, PAIRS[int(rng.integers(len(PAIRS)))], ego=False, busy=1.5)
    else:
        paint_still_life(canvas, rng)
    return canvas, canvas.image(rng)


def coco_annotations(canvas: Canvas, image: int) -> list[dict[str, Any]]:
    """Return COCO's instance annotations of what can be seen, masks as uncompressed run lengths down the columns."""
    annotations = []
    for number, kind in enumerate(canvas.instances, 1):
        mask = canvas.instance == number
        category = KINDS[kind][1]
        if not category or not mask.any():
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        flat = np.concatenate([[False], mask.T.ravel()])
        changes = np.flatnonzero(flat[1:] != flat[:-1])
        runs = np.diff(np.concatenate([[0], changes, [mask.size]]))
        annotations.append(
            {
                "id": image * 1000 + number,
                "image_id": image,
                "category_id": category,
                "segmentation": {"size": [canvas.height, canvas.width], "counts": [int(run) for run in runs]},
                "area": int(mask.sum()),
                "bbox": [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1],
                "iscrowd": 0,
            }
        )
    return annotations


def _imagenet(folder: Path, seed: int, count: Callable[[], None]) -> None:
    for split, images in IMAGENET.items():
        for wnid in OBJECTS:
            (folder / split / wnid).mkdir(parents=True)
            for number in range(images):
                rng = generator(seed, "render", "imagenet", split, wnid, number)
                image = paint_object(wnid, int(rng.integers(96, 145)), int(rng.integers(96, 161)), rng)
                name = f"{wnid}_{number}.JPEG" if split == "train" else f"ILSVRC2012_val_{wnid}_{number}.JPEG"
                image.save(folder / split / wnid / name, format="JPEG", quality=92)
                count()


def _small(name: str, folder: Path, seed: int, count: Callable[[], None]) -> None:
    side, splits = SMALL[name]
    for split, images in splits.items():
        shapes = sorted(SHAPES)
        for label in range(_classes(split)):
            place = folder / split if split == UNLABELLED else folder / split / shapes[label]
            place.mkdir(parents=True)
            for number in range(images):
                rng = generator(seed, "render", name, split, label, number)
                shape = shapes[number % len(shapes)] if split == UNLABELLED else shapes[label]
                paint_shape(shape, side, rng).save(place / f"{number:05d}.png")
                count()


def _classes(split: str) -> int:
    """How many folders of images a split of the small data sets has."""
    return 1 if split == UNLABELLED else len(SHAPES)


def _clips(folder: Path, seed: int, count: Callable[[], None]) -> None:
    """A camera that pans over a thing in one of four ways, and a ball that flies by."""
    for split, clips in CLIPS.items():
        for way, (right, down) in WAYS.items():
            for number in range(clips):
                rng = generator(seed, "render", "clips", split, way, number)
                place = folder / split / way / f"{number:03}"
                place.mkdir(parents=True)
                wide = np.asarray(paint_object(str(rng.choice(list(OBJECTS))), 140, 170, rng))
                speed, colour = rng.uniform(0.5, 1.0), rng.integers(0, 256, 3)
                ball, way_of_ball = rng.uniform(20, 70, 2), rng.uniform(-5, 5, 2)
                for frame in range(FRAMES):
                    gone = speed * 2.4 * (frame - (FRAMES - 1) / 2)  # pixels of the pan, 0 in the middle
                    x, y = 21 + round(right * gone), 22 + round(down * gone)
                    picture = wide[y : y + 96, x : x + 128].copy()
                    v, u = np.mgrid[:96, :128]
                    middle = ball + frame * way_of_ball
                    picture[np.hypot(u - middle[0], v - middle[1]) < 9] = colour
                    Image.fromarray(picture).save(place / f"{frame:04}.jpg", quality=92)
                count()


def _cityscapes(folder: Path, seed: int, count: Callable[[], None]) -> None:
    for split, (city, images) in CITYSCAPES.items():
        pictures, labels = folder / "leftImg8bit" / split / city, folder / "gtFine" / split / city
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number in range(images):
            canvas, image = cityscapes_scene(seed, split, number)
            stem = f"{city}_{number:06d}_000019"
            image.save(pictures / f"{stem}_leftImg8bit.png")
            ids = label_ids(canvas)
            Image.fromarray(ids).save(labels / f"{stem}_gtFine_labelIds.png")
            Image.fromarray(train_ids(ids)).save(labels / f"{stem}_gtFine_labelTrainIds.png")
            Image.fromarray(instance_ids(canvas)).save(labels / f"{stem}_gtFine_instanceIds.png")
            count()


def cityscapes_scene(seed: int, split: str, number: int) -> tuple[Canvas, Image.Image]:
    """Return one scene of 128×256 pixels, and its image."""
    rng = generator(seed, "render", "cityscapes", split, number)
    canvas = Canvas(128, 256)
    paint_street(canvas, rng, PAIRS[number % len(PAIRS)])
    return canvas, canvas.image(rng)


def label_ids(canvas: Canvas) -> np.ndarray:
    """Return Cityscapes' label ids, H×W uint8."""
    return np.array([KINDS[kind][0] for kind in KIND_NAMES], np.uint8)[canvas.kind]


def train_ids(ids: np.ndarray) -> np.ndarray:
    """Return train ids (0 to 18, and 255 for what is not evaluated) of label ids."""
    table = np.full(256, 255, np.uint8)
    table[list(EVALUATED)] = np.arange(len(EVALUATED))
    return table[ids]


def instance_ids(canvas: Canvas) -> np.ndarray:
    """Return label id × 1000 + number where single things are told apart, else the label id: H×W uint16."""
    ids = label_ids(canvas).astype(np.uint16)
    seen: dict[int, int] = {}
    for number, kind in enumerate(canvas.instances, 1):
        label = KINDS[kind][0]
        mask = canvas.instance == number
        if label in WITH_INSTANCES and mask.any():
            ids[mask] = label * 1000 + seen.setdefault(label, 0)
            seen[label] += 1
    return ids
