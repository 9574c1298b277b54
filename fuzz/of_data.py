"""Data sets: images, label maps, annotations, manifests, lists of classes."""

from __future__ import annotations

import gzip
import io
import json
import random
import warnings
from typing import Any

import numpy as np
from changes import as_json, of_bytes, of_value
from inputs import Input, Read
from PIL import Image

from bench.data.decode import Undecodable, read_array, read_labels, read_rgb
from bench.data.label_maps import strange_id, wrong_form
from bench.data.maps import Maps, WrongMap
from bench.data.packs.manifest import Form, Manifest
from bench.data.packs.manifest import read_manifest as read_pack
from bench.data.sets import get, index
from bench.data.sets.manifests import read_manifest, write_manifest

WIDTH, HEIGHT = 24, 16


def picture(seed: int = 0) -> np.ndarray:
    """Return an image, 16×24×3 uint8."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 9 + seed, columns * 7, (rows * columns + seed) % 256], -1).astype(np.uint8)


def encoded(pixels: np.ndarray, form: str, **how: Any) -> bytes:
    """Return pixels as a file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **how)
    return stream.getvalue()


class Images(Input):
    """Image files: both decoders give what Pillow gives by itself, and refuse what it refuses."""

    name, share = "image", 5
    refusals = (Undecodable,)

    def prepare(self) -> None:
        grey = picture()[..., 0]
        self.files = [
            *(encoded(picture(), "JPEG", quality=90), encoded(picture(), "JPEG", quality=90, progressive=True)),
            *(encoded(grey, "JPEG"), encoded(picture(), "PNG"), encoded(grey, "PNG"), encoded(picture(), "WEBP")),
            *(encoded(picture(), "TIFF", compression="tiff_lzw"), encoded(picture(), "BMP"), encoded(picture(), "PPM")),
        ]
        self.file = self.folder / "image"
        warnings.simplefilter("ignore")

    def case(self, draw: random.Random) -> bytes:
        return of_bytes(draw, draw.choice([*self.files, *self.files[:4]]), self.files)

    def read(self, case: bytes) -> Read:
        self.file.write_bytes(case)
        try:
            with Image.open(self.file) as opened:
                if opened.mode.startswith("I;16"):
                    wanted = (np.asarray(opened) >> 8).astype(np.uint8)[..., None].repeat(3, 2)
                else:
                    wanted = np.asarray(opened.convert("RGB"))
        except Exception:  # whatever Pillow raises
            wanted = None
        plain = fast = refusal = None
        try:
            plain = np.asarray(read_rgb(self.file))
        except Undecodable as error:
            refusal = error
        try:
            fast = read_array(self.file)
        except Undecodable as error:
            refusal = error
        if refusal is not None and (isinstance(refusal.__cause__, MemoryError) or wanted is plain is fast is None):
            raise refusal
        if wanted is None or plain is None or fast is None:
            return "silent"
        alike = np.array_equal(plain, wanted) and np.array_equal(fast, wanted)
        return "other" if alike else "silent"  # what a changed bit makes of an image without a checksum


class LabelMaps(Input):
    """Label maps: what nothing is said of is one channel of 8 bits, as large as its image, of known values."""

    name, share = "label_map", 2
    refusals = (Undecodable,)

    def prepare(self) -> None:
        ids = picture()[..., 0] % 19
        forms: list[tuple[np.ndarray, str]] = [
            *((ids, "PNG"), (ids, "BMP"), (ids, "TIFF"), (ids, "PPM"), (np.where(ids == 3, 255, ids), "PNG")),
            *((ids.astype(np.uint16) * 257, "PNG"), (picture(), "PNG"), (ids[:8], "PNG"), (ids + 1, "PNG")),
            *((ids.astype(np.int32), "TIFF"), (ids > 3, "PNG"), (ids.astype(np.float32), "TIFF")),
        ]
        self.files = [encoded(p.astype(np.uint8) if p.dtype == np.int64 else p, form) for p, form in forms]
        palette = Image.fromarray(ids.astype(np.uint8), "P")
        palette.putpalette([0, 0, 0] * 256)
        palette.save(stream := io.BytesIO(), "PNG")
        self.files.append(stream.getvalue())
        self.file = self.folder / "map"
        warnings.simplefilter("ignore")

    def case(self, draw: random.Random) -> bytes:
        data = draw.choice(self.files)
        return data if draw.random() < 0.1 else of_bytes(draw, data, self.files)

    def read(self, case: bytes) -> Read:
        self.file.write_bytes(case)
        said = wrong_form(self.file, (WIDTH, HEIGHT))
        labels = read_labels(self.file)
        said = said or (None if (strange := strange_id(labels, 19)) is None else str(strange))
        if said:
            raise Undecodable(said)
        good = labels.shape == (HEIGHT, WIDTH) and labels.dtype in (np.uint8, np.bool_)
        return "other" if good and {*np.unique(labels).tolist()} <= {*range(19), 255} else "silent"


class Annotations(Input):
    """COCO's annotations of objects, and the maps that are made of them."""

    name, share = "annotation", 3
    refusals = (WrongMap,)

    def prepare(self) -> None:
        for split in ("train", "val"):
            (self.folder / f"{split}2017").mkdir()
            for number in range(2):
                (self.folder / f"{split}2017" / f"{number}.jpg").write_bytes(encoded(picture(number), "JPEG"))
        (self.folder / "annotations").mkdir()
        self.file = self.folder / "annotations" / "instances_train2017.json"
        shapes: list[Any] = [
            [[1.0, 1.0, 20.0, 1.5, 12.5, 14.0], [2.0, 2.0, 4.0, 2.0, 4.0, 4.0]],
            {"size": [HEIGHT, WIDTH], "counts": [10, 20, HEIGHT * WIDTH - 30]},
            {"size": [HEIGHT, WIDTH], "counts": "08P;"},
        ]
        self.content = {
            "info": {"description": "x"},
            "images": [{"id": n, "file_name": f"{n}.jpg", "width": WIDTH, "height": HEIGHT} for n in range(2)],
            "annotations": [
                {"id": n, "image_id": n % 2, "category_id": 1, "area": 10.0 * n, "iscrowd": 0, "segmentation": shape}
                for n, shape in enumerate(shapes[:2])
            ],
            "categories": [{"id": 1, "name": "thing"}],
        }
        self.images = [picture(number) for number in range(2)]
        self.index = index("coco", self.folder, "train")

    def case(self, draw: random.Random) -> bytes:
        content: Any = self.content
        for _ in range(draw.choice((1, 1, 4))):
            content = of_value(draw, content)
        data = as_json(draw, content)
        return of_bytes(draw, data) if draw.random() < 0.3 else data

    def read(self, case: bytes) -> Read:
        self.file.write_bytes(case)
        get("coco").contents(self.folder, "train")
        maps = Maps("objects", self.index)
        for number, image in enumerate(self.images):
            made = maps.of(number, image)
            if made.dtype != np.uint8 or made.ndim != 2:
                return "silent"
        return "other"


class Manifests(Input):
    """Manifests of data sets, and of packs."""

    name, share = "manifest", 2

    def prepare(self) -> None:
        digests = {f"train/{n}.jpg": f"{n:064x}" for n in range(20)}
        write_manifest(self.folder / "data.sha256.gz", digests)
        self.data = (self.folder / "data.sha256.gz").read_bytes()
        self.digests = digests
        self.pack = Manifest(
            dataset="imagenet",
            split="train",
            fingerprint="0" * 16,
            form=Form(),
            images=3,
            stored=2,
            unreadable={1: "truncated"},
            data_bytes=(),
            index_sha256="1" * 64,
            names_sha256="2" * 64,
        ).sealed()
        self.text = self.pack.model_dump_json(indent=1).encode()

    def case(self, draw: random.Random) -> tuple[str, bytes]:
        match draw.randrange(4):
            case 0:
                return "data.sha256.gz", of_bytes(draw, self.data)
            case 1:  # whole, and of other lines
                return "other.sha256.gz", gzip.compress(of_bytes(draw, gzip.decompress(self.data)), 1, mtime=0)
            case 2:
                return "manifest.json", of_bytes(draw, self.text)
            case _:
                return "manifest.json", as_json(draw, of_value(draw, json.loads(self.text)))

    def read(self, case: tuple[str, bytes]) -> Read:
        name, data = case
        file = self.folder / name
        file.write_bytes(data)
        if name == "manifest.json":
            return "same" if read_pack(self.folder).sealed().digest == self.pack.digest else "silent"
        found, _ = read_manifest(file)
        if name == "other.sha256.gz":
            return "other"
        return "same" if found == self.digests else "silent"


class Lists(Input):
    """A list of the classes of ImageNet's validation images."""

    name = "list"

    def prepare(self) -> None:
        names = [f"n{number:08d}" for number in range(1, 4)]
        for name in names:
            (self.folder / "train" / name).mkdir(parents=True)
            (self.folder / "train" / name / f"{name}_1.JPEG").write_bytes(b"")
        (self.folder / "val").mkdir()
        files = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 7)]
        for file in files:
            (self.folder / "val" / file).write_bytes(b"")
        lines = [f"{file} {names[number % 3]}" for number, file in enumerate(files)]
        self.data = ("\n".join(lines) + "\n").encode()
        self.file = self.folder / "val" / "val.txt"

    def case(self, draw: random.Random) -> bytes:
        return of_bytes(draw, self.data)

    def read(self, case: bytes) -> Read:
        self.file.write_bytes(case)
        index("imagenet", self.folder, "val")
        return "other"


KINDS_OF_INPUT: tuple[type[Input], ...] = (Images, LabelMaps, Annotations, Manifests, Lists)
