"""CIFAR-10, CIFAR-100 and STL-10 of a few images of noise, in the authors' binary layouts and as folders of PNG."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("bird", "cat", "ship")
SIDES = {"cifar10": 32, "cifar100": 32, "stl10": 96}
COUNTS = {"train": 15, "test": 6, "unlabeled": 7}


@dataclass(frozen=True)
class Made:
    """What was written: by `train`, `test` and `unlabeled` the images in the order of their classes, and labels."""

    pixels: dict[str, np.ndarray]
    labels: dict[str, list[int]]


def noise(dataset: str) -> Made:
    rng = np.random.default_rng(len(dataset))
    side = SIDES[dataset]
    pixels = {split: rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8) for split, n in COUNTS.items()}
    return Made(pixels, {split: sorted(i % len(CLASSES) for i in range(n)) for split, n in COUNTS.items()})


def write_png(dataset: str, root: Path, test: str = "test") -> Made:
    made = noise(dataset)
    for split in ("train", "test"):
        for number, (image, label) in enumerate(zip(made.pixels[split], made.labels[split], strict=True)):
            _save(image, root / (test if split == "test" else split) / CLASSES[label] / f"{number:03d}.png")
    if dataset == "stl10":
        for number, image in enumerate(made.pixels["unlabeled"]):
            _save(image, root / "unlabeled" / f"{number:03d}.png")
    return made


def _save(image: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file)


def write_binary(dataset: str, root: Path) -> Made:
    made = noise(dataset)
    if dataset == "stl10":
        folder = root / "stl10_binary"
        folder.mkdir(parents=True)
        for split, images in made.pixels.items():
            (folder / f"{split}_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())
            if split != "unlabeled":
                (folder / f"{split}_y.bin").write_bytes(bytes(label + 1 for label in made.labels[split]))
        (folder / "class_names.txt").write_text("\n".join(CLASSES) + "\n")
        return made
    fine = "fine_" if dataset == "cifar100" else ""
    folder = root / ("cifar-100-python" if fine else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    rows = {split: images.transpose(0, 3, 1, 2).reshape(len(images), -1) for split, images in made.pixels.items()}

    def write(name: str, split: str, part: slice) -> None:
        content = {"data": np.ascontiguousarray(rows[split][part]), f"{fine}labels": made.labels[split][part]}
        (folder / name).write_bytes(pickled(content))

    (folder / ("meta" if fine else "batches.meta")).write_bytes(pickled({f"{fine}label_names": list(CLASSES)}))
    write("test" if fine else "test_batch", "test", slice(None))
    if fine:
        write("train", "train", slice(None))
    for batch in range(0 if fine else 5):
        write(f"data_batch_{batch + 1}", "train", slice(3 * batch, 3 * batch + 3))
    return made


def pickled(content: dict[str, Any]) -> bytes:
    """Return what Python 2 pickles: strings of bytes, where Python 3 would write text."""
    return b"\x80\x02" + _opcodes(content) + b"."


def _opcodes(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_opcodes(key) + _opcodes(one) for key, one in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_opcodes, value)) + b"t"
    if isinstance(value, np.ndarray):
        make = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _opcodes((0,)) + _opcodes("b") + b"tR"
        dtype = b"cnumpy\ndtype\n" + _opcodes(("u1", 0, 1)) + b"R"
        dtype += b"(" + _opcodes(3) + _opcodes("|") + b"NNN" + _opcodes(-1) + _opcodes(-1) + _opcodes(0) + b"tb"
        data = value.tobytes()
        raw = b"T" + struct.pack("<i", len(data)) + data
        return make + b"(" + _opcodes(1) + _opcodes(value.shape) + dtype + b"\x89" + raw + b"tb"
    if isinstance(value, str):
        return b"T" + struct.pack("<i", len(value)) + value.encode("ascii")
    return b"J" + struct.pack("<i", value)
