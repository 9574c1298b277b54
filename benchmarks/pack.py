"""Packs: how long packing takes and how large it gets as images grow in number; how fast images are then read.

    python benchmarks/pack.py [--rounds N] [--images DIR] [--quick]

Every file is packed with a short side of 256, as `bench data pack` does by default. Reading is one core's, from files
and packs that the page cache holds.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from interleave import Contender, measure
from photographs import FOLDER, about, photographs

PIL_FILES, CV_FILES, JPEG, RAW = "files, PIL", "files, OpenCV", "JPEG pack", "uint8 pack"
FORMS = {JPEG: {"format": "jpeg"}, RAW: {"format": "uint8", "quality": None}}


# --------------------------------------------------------------------------------------------- contenders


def reading(read: Callable[[int], Any], count: int, passes: int) -> Callable[[], int]:
    """Read all images `passes` times; each one's pixels are copied, as whoever uses them would touch them all."""
    import numpy as np

    buffer = np.empty(max(read(number).size for number in range(count)), np.uint8)

    def sample() -> int:
        for _ in range(passes):
            for number in range(count):
                pixels = read(number)
                buffer[: pixels.size] = pixels.reshape(-1)
        return passes * count

    return sample


def files_by_pil(files: Sequence[str], passes: int) -> Callable[[], int]:
    import numpy as np

    from bench.data.decode import read_rgb

    return reading(lambda number: np.asarray(read_rgb(files[number])), len(files), passes)


def files_by_opencv(files: Sequence[str], passes: int) -> Callable[[], int]:
    import cv2

    cv2.setNumThreads(1)

    def read(number: int) -> Any:
        pixels = cv2.imread(files[number], cv2.IMREAD_COLOR)
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)

    return reading(read, len(files), passes)


def pack(folder: str, passes: int) -> Callable[[], int]:
    import cv2

    from bench.data.packs.reading import open_pack

    cv2.setNumThreads(1)
    opened = open_pack(Path(folder))
    return reading(opened.read, len(opened), passes)


# ------------------------------------------------------------------------------------------------- growth


def data_set(root: Path, files: Sequence[Path], count: int) -> Path:
    """Lay out `count` distinct files as COCO does: each has a few bytes after its end, which no decoder reads."""
    folder = root / f"coco-{count}" / "train2017"
    folder.mkdir(parents=True)
    for number in range(count):
        content = files[number % len(files)].read_bytes() + number.to_bytes(4, "little")
        (folder / f"{number:012d}.jpg").write_bytes(content)
    return folder.parent


def packed(root: Path, to: Path, name: str, workers: int = 1) -> tuple[float, int, Path]:
    """Pack a data set and return (seconds, bytes of the pack, its folder)."""
    from bench.data.packs.manifest import Form
    from bench.data.packs.writing import pack as write

    shutil.rmtree(to, ignore_errors=True)
    start = time.perf_counter()
    made, _ = write("coco", root, "train", Form.model_validate(FORMS[name]), to=to, workers=workers)
    seconds = time.perf_counter() - start
    return seconds, sum(file.stat().st_size for file in made.folder.iterdir()), made.folder


def growth(place: Path, files: Sequence[Path], counts: Sequence[int], rounds: int) -> tuple[dict[str, Any], list[str]]:
    """Return the curves of packing time, by number of images, and sentences on the size."""
    ways = {f"{JPEG}, 1 process": (JPEG, 1), f"{JPEG}, 2 processes": (JPEG, 2), f"{RAW}, 1 process": (RAW, 1)}
    points: dict[str, dict[int, list[dict[str, float]]]] = {way: {count: [] for count in counts} for way in ways}
    sizes: dict[str, dict[int, int]] = {JPEG: {}, RAW: {}}
    roots = {count: data_set(place, files, count) for count in counts}
    for number in range(rounds):
        for count in counts if number % 2 == 0 else reversed(counts):
            for way, (name, workers) in ways.items():
                seconds, size, _ = packed(roots[count], place / "to", name, workers)
                points[way][count].append({"seconds": seconds, "units": count})
                sizes[name][count] = size
    series = {way: [{"x": x, "samples": samples} for x, samples in found.items()] for way, found in points.items()}
    notes = []
    for name, found in sizes.items():
        slope = exponent([*found.items()])
        each = found[counts[-1]] / counts[-1] / 1000
        notes.append(
            f"{name}: {each:.1f} KB an image; its size grows with the number of images to the power {slope:.3f}."
        )
    return series, notes


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return b of y = a·x^b, by least squares on logarithms."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    return statistics.linear_regression(*zip(*logs, strict=True)).slope


def main(arguments: Sequence[str] | None = None) -> None:
    from report import write, write_curve

    parser = argparse.ArgumentParser(description="Packing and reading packs.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=Path, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="few images: whether it runs")
    options = parser.parse_args(arguments)
    rounds, count, counts = (1, 8, (4, 8)) if options.quick else (options.rounds, 64, (32, 64, 128, 256, 512))
    paths = photographs(count, options.images)
    made = f"{about(paths)}; packed with a short side of 256 pixels"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as temporary:
        place = Path(temporary)
        series, sizes = growth(place, paths, counts, 1 if options.quick else 2)
        root = data_set(place / "read", paths, count)
        folders = {name: str(packed(root, place / "read" / name, name)[2]) for name in FORMS}
        files = [str(file.resolve()) for file in sorted((root / "train2017").iterdir())]
        contenders = [
            Contender(
                PIL_FILES, "pack:files_by_pil", {"files": files, "passes": 1}, "how the reference reads", threads=1
            ),
            Contender(CV_FILES, "pack:files_by_opencv", {"files": files, "passes": 1}, "full size", threads=1),
            Contender(JPEG, "pack:pack", {"folder": folders[JPEG], "passes": 8}, "quality 90, by OpenCV", threads=1),
            Contender(RAW, "pack:pack", {"folder": folders[RAW], "passes": 200}, "mapped, and copied", threads=1),
        ]
        measured = measure(contenders, rounds)
    for one in measured.values():  # paths of a folder that is gone
        one.contender = replace(one.contender, arguments={"passes": one.contender.arguments["passes"]})
    write(
        "pack",
        "Reading images: from files and from packs, one core",
        measured,
        unit="images",
        baseline=PIL_FILES,
        notes=[f"{made}. Everything lies in the page cache; files give their full size, packs the short side.", *sizes],
    )
    write_curve(
        "pack_growth",
        "Packing: seconds by images",
        series,
        x="images",
        notes=[
            f"{made}; a repeated photograph has a few bytes after its end, so that it counts as another file.",
            "Starting the processes, the disk's flushes and the sample that says how large all will be weigh most "
            "where images are few.",
            *sizes,
        ],
    )


if __name__ == "__main__":
    main()
