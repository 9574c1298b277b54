"""Two BYOL views at 224 of each image, on one core: images/s from a JPEG file to what a training step takes.

    python benchmarks/views.py [--rounds N] [--images DIR] [--quick]

Peers as they are shipped, with the decoder that comes with them, against the project's three back ends on three kinds
of stored images: the file as it is, a JPEG of quality 90 whose short side is 256, and such images in a memory map.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import PEERS, ROOT, Contender, measure

BASELINE = "lightly 1.6, as shipped"
GOALS = {"fast, raw JPEG": 4.0, "fast, JPEG cache (256, q90)": 9.0, "fast, uint8 map (256)": 13.0}
SIZE, SHORT = 224, 256
PER_SAMPLE = 32  # images


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=Path, help="a folder with JPEG files, instead of rendered ones")
    parser.add_argument("--quick", action="store_true", help="one round of few images: shows that it runs")
    words = parser.parse_args(arguments)
    import report
    import sololearn
    from photographs import about, photographs

    files = photographs(16 if words.quick else 64, words.images)
    count = 8 if words.quick else PER_SAMPLE
    names = [str(file) for file in files]
    caches = {kind: str(FOLDERS[kind](files)) for kind in ("jpeg", "map")}
    given = {"files": names, "count": count}
    contenders = [
        Contender(
            "torchvision v2, uint8 tensors", "views:torchvision_v2", given, "BYOL's steps on uint8 tensors", threads=1
        ),
        Contender("reference, raw JPEG", "views:ours", given | {"backend": "reference"}, "Pillow", threads=1),
        Contender(
            "fast, raw JPEG", "views:ours", given | {"backend": "fast"}, "OpenCV and torch's resampling", threads=1
        ),
        *(
            Contender(name, "views:ours", given | {"backend": "fast", kind: caches[kind]}, "the same", threads=1)
            for name, kind in [("fast, JPEG cache (256, q90)", "jpeg"), ("fast, uint8 map (256)", "map")]
        ),
        Contender(
            "device on a CPU, uint8 map (256)",
            "views:device",
            given | {"map": caches["map"], "device": "cpu"},
            "whole batches in torch",
            threads=1,
        ),
    ]
    baseline = "reference, raw JPEG"
    if PEERS.exists():
        baseline = BASELINE
        contenders.insert(0, Contender(BASELINE, "views:lightly", given, "BYOLTransform, Pillow", peer=True, threads=1))
    else:
        print("no peers' environment (make peers makes it): lightly is left out")
    if PEERS.exists() and sololearn.at_hand():
        about_solo = "its asymmetric BYOL transform, Pillow"
        contenders.insert(1, Contender("solo-learn 1.0.2", "sololearn:views", given, about_solo, peer=True, threads=1))
    else:
        print("solo-learn is left out: its files are not there (make peers fetches them)")
    measured = measure(contenders, 1 if words.quick else words.rounds)
    report.write(
        "views",
        "Two BYOL views at 224 of each image, one core",
        measured,
        unit="images",
        baseline=baseline,
        goals=GOALS,
        notes=[about(files), "peers end in normalised float32, the project's in uint8 (normalised on the device)"],
    )


# ----------------------------------------------------------------------------------------------- caches


def jpeg_cache(files: list[Path]) -> Path:
    """JPEG files of quality 90 whose short side is SHORT; returns a text file that lists them."""
    import cv2

    folder = _folder(files, "jpeg")
    listed = folder / "files.txt"
    if not listed.is_file():
        names = []
        for number, file in enumerate(files):
            names.append(str(folder / f"{number:05d}.jpg"))
            cv2.imwrite(names[-1], _shrunk(file)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        listed.write_text("\n".join(names), encoding="utf-8")
    return listed


def uint8_map(files: list[Path]) -> Path:
    """All images whose short side is SHORT, one after another in one file, and their shapes beside it."""
    import numpy as np

    folder = _folder(files, "map")
    if not (folder / "shapes.npy").is_file():
        shapes = []
        with (folder / "pixels.bin").open("wb") as out:
            for file in files:
                pixels = _shrunk(file)
                shapes.append(pixels.shape[:2])
                out.write(pixels.tobytes())
        np.save(folder / "shapes.npy", np.array(shapes))
    return folder


def _folder(files: list[Path], kind: str) -> Path:
    import hashlib

    key = hashlib.sha256("\n".join(f"{file} {file.stat().st_size}" for file in files).encode()).hexdigest()[:12]
    folder = ROOT / "runs" / "benchmarks" / f"views-{kind}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _shrunk(file: Path) -> Any:
    from bench.data.decode import read_array
    from bench.data.views.opencv import resize

    pixels = read_array(file)
    height, width = pixels.shape[:2]
    scale = SHORT / min(height, width)
    return resize(pixels, round(width * scale), round(height * scale), "bicubic")


FOLDERS: dict[str, Callable[[list[Path]], Path]] = {"jpeg": jpeg_cache, "map": uint8_map}


class Map:
    """Images of a uint8 map, by position."""

    def __init__(self, folder: Path) -> None:
        import numpy as np

        self.shapes = np.load(folder / "shapes.npy")
        self.starts = np.concatenate([[0], np.cumsum(self.shapes.prod(1) * 3)])
        self.pixels = np.memmap(folder / "pixels.bin", np.uint8, "r")

    def positions(self, names: Any) -> Any:
        import numpy as np

        return np.arange(len(names))

    def read(self, position: int) -> Any:
        height, width = self.shapes[position]
        return self.pixels[self.starts[position] : self.starts[position + 1]].reshape(height, width, 3)


# ------------------------------------------------------------------------------------------- contenders


def _endless(length: int, count: int) -> Callable[[], list[int]]:
    """Return a function that gives the next `count` positions of a cycle."""
    cycle = itertools.cycle(range(length))
    return lambda: [next(cycle) for _ in range(count)]


def lightly(files: list[str], count: int) -> Callable[[], int]:
    import torch
    from lightly.transforms import BYOLTransform, BYOLView1Transform, BYOLView2Transform
    from PIL import Image

    transform = BYOLTransform(BYOLView1Transform(input_size=SIZE), BYOLView2Transform(input_size=SIZE))
    take = _endless(len(files), count)

    def sample() -> int:
        made = []
        for position in take():
            with Image.open(files[position]) as opened:
                made.append(transform(opened.convert("RGB")))
        for views in zip(*made, strict=True):
            torch.stack(views)
        return count

    return sample


def torchvision_v2(files: list[str], count: int) -> Callable[[], int]:
    import torch
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2

    from bench.data.views import BYOL_VIEWS, MEAN, STD

    def transform(view: Any) -> Any:
        blur = v2.GaussianBlur(23, view.blur_sigma)  # a tenth of the side, as SimCLR and torchvision's users have it
        return v2.Compose(
            [
                v2.RandomResizedCrop(SIZE, view.scale, view.ratio, v2.InterpolationMode.BICUBIC, antialias=True),
                v2.RandomHorizontalFlip(view.flip),
                v2.RandomApply([v2.ColorJitter(*view.jitter)], view.jitter_p),
                v2.RandomGrayscale(view.grey),
                v2.RandomApply([blur], view.blur),
                v2.RandomSolarize(128, view.solarize),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    transforms = [transform(view) for view in BYOL_VIEWS(SIZE)]
    take = _endless(len(files), count)

    def sample() -> int:
        decoded = [decode_image(files[position], ImageReadMode.RGB) for position in take()]
        for one in transforms:
            torch.stack([one(image) for image in decoded])
        return count

    return sample


def _dataset(files: list[str], backend: Any, pack: Any = None) -> Any:
    from bench.data.images import ViewDataset
    from bench.data.sets import Index
    from bench.data.views import BYOL_VIEWS

    root = Path(os.path.commonpath([str(Path(file).parent) for file in files]))
    index = Index("coco", root, "train", tuple(str(Path(file).relative_to(root)) for file in files), None, ())
    return ViewDataset(index, BYOL_VIEWS(SIZE), seed=0, backend=backend, pack=pack)


def ours(
    files: list[str], count: int, backend: str, jpeg: str | None = None, map: str | None = None
) -> Callable[[], int]:
    """What a DataLoader's worker does: read, draw, make, collate."""
    from bench.data.images import collate

    if jpeg is not None:
        files = Path(jpeg).read_text(encoding="utf-8").split("\n")
    dataset = _dataset(files, backend, None if map is None else Map(Path(map)))
    take, draws = _endless(len(files), count), itertools.count()

    def sample() -> int:
        return len(collate([dataset[position, next(draws)] for position in take()]))

    return sample


def device(files: list[str], count: int, device: str, map: str | None = None) -> Callable[[], int]:
    """The device's part alone, on a batch that was read beforehand: views made and normalised where they are used."""
    import torch

    from bench.data.images import collate

    dataset = _dataset(files, "device", None if map is None else Map(Path(map)))
    take = _endless(len(files), count)
    batch = collate([dataset[position, draw] for draw, position in enumerate(take())])
    assert batch.undone is not None
    batch.undone = batch.undone.to(device)

    def sample() -> int:
        views = batch.to(device, memory_format=torch.channels_last).views
        if device == "cuda":
            torch.cuda.synchronize()
        return len(views[0])

    return sample


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
