"""The back ends `fast` and `device` against `reference`: the same parameters, images equal within what is stated."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, permutations, product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from torchvision.transforms import functional as TF

from bench.data import decode, images
from bench.data.decode import Undecodable, read_array, read_labels, read_rgb
from bench.data.images import EvalDataset, ViewDataset, in_order, loader
from bench.data.label_maps import wrong_form
from bench.data.roots import resolve_roots
from bench.data.sampler import DrawSampler
from bench.data.sets import Index, index
from bench.data.views import BYOL_VIEWS, SUPERVISED_VIEW, View
from bench.data.views import device as device_views
from bench.data.views import opencv as fast_views
from bench.data.views.device import Drawing, collate_drawings
from bench.data.views.draw import Drawn, draw
from bench.data.views.pillow import JITTERS, apply, make_test_view
from bench.errors import BadInput
from bench.randomness import generator

Paint = Callable[..., Path]
SIZE = 64
ALL = View(size=SIZE, solarize=0.1)
NOTHING = Drawn(crop=(20, 10, SIZE, SIZE), flip=False, jitter=(), grey=False, blur=None, solarize=False)


def picture(kind: str, seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """Smooth: a few bumps of each colour; noisy: every value of every pixel at random."""
    rng = np.random.default_rng(seed)
    if kind == "noisy":
        return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def fast(pictures: list[Image.Image], view: View, drawn: list[Drawn]) -> np.ndarray:
    return np.stack([fast_views.apply(np.asarray(p), view, d) for p, d in zip(pictures, drawn, strict=True)])


def device(pictures: list[Image.Image], view: View, drawn: list[Drawn]) -> np.ndarray:
    # A second view of the whole keeps the image from being cut to the first one's crop.
    whole = [replace(NOTHING, crop=(0, 0, *p.size)) for p in pictures]
    small = SUPERVISED_VIEW(8)
    parts = [Drawing.of(np.asarray(p), [(view, d), (small, w)]) for p, d, w in zip(pictures, drawn, whole, strict=True)]
    made, _ = collate_drawings(parts).views()
    return made.permute(0, 2, 3, 1).numpy()


BACKENDS = {"fast": fast, "device": device}


def jitter(step: int, strength: float) -> Callable[[Any], Drawn]:
    low = -strength if step == 3 else 1 - strength
    high = strength if step == 3 else 1 + strength
    return lambda rng: replace(NOTHING, jitter=((step, float(rng.uniform(low, high))),))


CASES: dict[str, Callable[[Any], Drawn]] = {
    "up": lambda rng: replace(NOTHING, crop=(int(rng.integers(90)), 7, 41, 29)),
    "down": lambda rng: replace(NOTHING, crop=(int(rng.integers(20)), 3, 139, 113)),
    "brightness": jitter(0, 0.4),
    "contrast": jitter(1, 0.4),
    "saturation": jitter(2, 0.8),
    "hue": jitter(3, 0.1),
    "grey": lambda rng: replace(NOTHING, grey=True),
    "blur": lambda rng: replace(NOTHING, blur=float(rng.uniform(0.1, 2.0))),
    "solarize": lambda rng: replace(NOTHING, solarize=True),
    "grey first": lambda rng: replace(
        draw(replace(ALL, jitter_p=1.0, grey=1.0), 160, 120, rng), crop=NOTHING.crop, blur=None
    ),
    "chain": lambda rng: draw(replace(ALL, jitter_p=1.0, blur=1.0, solarize=0.2), 160, 120, rng),
}

# (mean absolute difference, its 99th percentile) in grey levels; bench/data/views/__init__.py states the same.
EXACT = (0.02, 1.0)
SAME = (0.0, 0.0)
COLOURS = {"hue": (1.5, 8.0), "chain": (1.5, 8.0)}  # a grey pixel has no hue that could differ
LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "fast": dict.fromkeys(CASES, EXACT)
    | dict.fromkeys(["brightness", "contrast", "saturation", "hue", "grey", "grey first"], SAME)
    | {"blur": (0.45, 3.0), "chain": (0.45, 3.0)},
    "device": dict.fromkeys(CASES, EXACT) | {"blur": (0.4, 2.0)} | COLOURS,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["smooth", "noisy"])
@pytest.mark.parametrize(
    ("case", "interpolation"), [*((case, "bicubic") for case in CASES), ("up", "bilinear"), ("down", "bilinear")]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_step_is_the_references(backend: str, case: str, kind: str, interpolation: Any) -> None:
    view = replace(ALL, interpolation=interpolation, grey_first=case == "grey first")
    pictures = [picture(kind, seed) for seed in range(12)]
    drawn = [CASES[case](generator(7, case, number)) for number in range(12)]
    truth = np.stack([np.asarray(apply(p, view, d)) for p, d in zip(pictures, drawn, strict=True)]).astype(int)
    error = np.abs(BACKENDS[backend](pictures, view, drawn) - truth)
    mean, percentile = LIMITS[backend][case]
    assert error.mean() <= mean
    assert np.percentile(error, 99) <= percentile


@pytest.mark.parametrize("backend", BACKENDS)
def test_flips_are_exact(backend: str) -> None:
    pictures = [picture("noisy", 1)]
    crop = replace(NOTHING, crop=(3, 5, 100, 90))
    plain = BACKENDS[backend](pictures, ALL, [crop])
    assert np.array_equal(BACKENDS[backend](pictures, ALL, [replace(crop, flip=True)]), plain[:, :, ::-1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_order_of_jitter_is_kept(backend: str) -> None:
    """All orders of steps that clip: in another order the pictures would differ by 5 levels and more."""
    pictures = [picture("smooth", 2)]
    steps = ((0, 1.4), (1, 1.4), (2, 0.2), (3, 0.1))
    orders = [(a, b, c, d) for a in steps for b in steps for c in steps for d in steps if len({a, b, c, d}) == 4]
    drawn = [replace(NOTHING, jitter=order) for order in orders]
    truth = [np.asarray(apply(pictures[0], ALL, one)).astype(int) for one in drawn]
    made = BACKENDS[backend](pictures * len(drawn), ALL, drawn)
    distances = np.array([[np.abs(view - one).mean() for one in truth] for view in made])
    assert distances.diagonal().max() < 2.5
    apart = [np.abs(a - b).mean() for a in truth for b in truth]
    assert max(apart) > 5
    nearest = distances.min(1)
    assert (distances.diagonal() - nearest).max() < 0.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_grey_comes_before_the_jitter_where_a_view_says_so(backend: str) -> None:
    """With a saturation between them, one order gives a grey picture twice, and they differ by levels."""
    first, last = (replace(ALL, grey_first=first) for first in (True, False))
    pictures = [picture("smooth", seed) for seed in range(4)]
    drawn = [replace(NOTHING, jitter=((2, 3.0), (0, 1.3), (1, 0.7)), grey=grey) for grey in (True, True, True, False)]
    made = [BACKENDS[backend](pictures, view, drawn).astype(int) for view in (first, last)]
    for view, views in zip((first, last), made, strict=True):
        truth = np.stack([np.asarray(apply(p, view, d)) for p, d in zip(pictures, drawn, strict=True)]).astype(int)
        assert np.abs(views - truth).max() <= (0 if backend == "fast" else 1)
        assert (views[:3] == views[:3, ..., :1]).all()
    assert (np.abs(made[0] - made[1])[:3].mean((1, 2, 3)) > 3).all()
    assert np.array_equal(made[0][3], made[1][3])  # without grey there is no order


def test_every_hue_is_pillows() -> None:
    """All pairs of what a colour's hue depends on, in all six parts of the circle, and all saturations."""
    high, middle = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8), indexing="ij")
    high, middle = np.maximum(high, middle), np.minimum(high, middle)
    low = np.zeros_like(high)
    colours = [np.stack(order, -1) for order in permutations([high, middle, low])]
    shown = np.concatenate([*colours, np.stack([high, middle, middle], -1)])
    for factor in (-0.5, -0.1, 0.0, 0.004, 0.07, 0.5):
        truth = np.asarray(TF.adjust_hue(Image.fromarray(shown), factor))
        assert np.array_equal(fast_views.recolour(shown, ((3, factor),)), truth)


def test_a_chain_of_colours_is_pillows_to_the_last_bit() -> None:
    """All orders, with factors that cut values off, on images whose sides are no multiple of a vector's length."""
    shown = picture("noisy", 8, 61, 37)
    factors = (1.37, 0.71, 1.8, -0.23)
    for order in permutations(range(4)):
        steps = tuple((step, factors[step]) for step in order)
        truth = shown
        for step, factor in steps:
            truth = JITTERS[step](truth, factor)
        assert np.array_equal(fast_views.recolour(np.asarray(shown), steps), np.asarray(truth)), order
        truth = shown.convert("L").convert("RGB")
        for step, factor in steps:
            truth = JITTERS[step](truth, factor)
        assert np.array_equal(fast_views.recolour(np.asarray(shown), (fast_views.GREY, *steps)), np.asarray(truth))


ALONE = """
import sys
import bench, bench.cli, bench.data.views.opencv as fast_views, numpy as np
assert "numba" not in sys.modules, "importing bench imports numba"
made = fast_views.recolour(np.full((5, 7, 3), 100, np.uint8), ((0, 1.2),))
assert (made == 120).all(), made
from bench.data.views import colour_kernels
print(colour_kernels.recolour._cache.cache_path if hasattr(colour_kernels.recolour._cache, "cache_path") else None)
"""


@pytest.mark.slow
def test_kernels_work_where_nothing_can_be_cached() -> None:
    """And numba is imported by the first view alone."""
    # Numba is told to look for folders in a place of its own (in a zip file) only: there is none, whoever runs this.
    no_folder = "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n"
    where = dict(os.environ, PYTHONPATH=str(Path(fast_views.__file__).parents[3]))
    start, rest = ALONE.split("made = ", 1)
    done = subprocess.run(
        [sys.executable, "-c", f"{start}{no_folder}made = {rest}"], env=where, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "None"


def test_images_of_any_size_in_one_batch() -> None:
    """Padding is never seen, and what an image looks like does not depend on its neighbours."""
    pictures = [
        picture("noisy", n, width, height) for n, (width, height) in enumerate([(160, 120), (90, 200), (65, 64)])
    ]
    view = BYOL_VIEWS(32)[1]
    drawn = [draw(view, p.width, p.height, generator(0, number)) for number, p in enumerate(pictures)]
    together = device(pictures, view, drawn)
    for number in range(3):
        alone = device(pictures[number : number + 1], view, drawn[number : number + 1])
        assert np.abs(alone[0].astype(int) - together[number]).max() <= 1


def test_a_large_image_is_shrunk_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_views, "LONGEST", 100)
    picture_ = picture("smooth", 3, 400, 300)
    view = replace(SUPERVISED_VIEW(32), flip=1.0)
    drawn = [draw(view, 400, 300, generator(0, "large", number)) for number in range(8)]
    truth = np.stack([np.asarray(apply(picture_, view, one)) for one in drawn]).astype(int)
    assert max(Drawing.of(np.asarray(picture_), [(view, drawn[0])]).pixels.shape) == 100
    assert np.abs(device([picture_] * 8, view, drawn) - truth).mean() < 1.5


def test_the_fast_test_view(paint: Paint, tmp_path: Path) -> None:
    for width, height in [(60, 48), (48, 61), (36, 36), (101, 37)]:
        shown = picture("noisy", 0, width, height)
        truth, place = make_test_view(shown, 32, 36)
        pixels, same_place = fast_views.make_test_view(np.asarray(shown), 32, 36)
        assert same_place == place
        error = np.abs(pixels.astype(int) - truth)
        assert error.mean() <= 0.02
        assert error.max() <= 1


# ---------------------------------------------------------------------------------------------- decoding


def test_opencv_reads_what_pillow_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colour = picture("smooth", 4)
    grey = colour.convert("L")
    turned = Image.Exif()
    turned[274] = 6  # stored on its side
    deep = np.asarray(grey).astype(np.uint16) * 257
    saved: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "colour.jpg": (colour, {}),
        "grey.jpg": (grey, {}),
        "progressive.jpg": (colour, {"progressive": True}),
        "full.jpg": (colour, {"subsampling": 0}),
        "restarts.jpg": (colour, {"restart_marker_rows": 1}),
        "turned.jpg": (colour, {"exif": turned}),
        "colour.png": (colour, {}),
        "grey.png": (grey, {}),
        "cmyk.jpg": (colour.convert("CMYK"), {}),
        "palette.png": (colour.quantize(64), {}),
        "alpha.png": (colour.convert("RGBA"), {}),
        "bits.png": (colour.convert("1"), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "picture.webp": (colour, {}),
    }
    slow: list[str] = []
    monkeypatch.setattr(decode, "read_rgb", lambda file: slow.append(Path(file).name) or read_rgb(file))
    for name, (image, options) in saved.items():
        image.save(tmp_path / name, **options)
        assert np.array_equal(read_array(tmp_path / name), np.asarray(read_rgb(tmp_path / name))), name
    assert slow == list(saved)[8:]  # the first are OpenCV's


def test_broken_files_are_not_given_to_opencv(tmp_path: Path) -> None:
    for suffix in ("jpg", "png"):
        file = tmp_path / f"whole.{suffix}"
        picture("noisy", 5).save(file)
        content = file.read_bytes()
        cut = tmp_path / f"cut.{suffix}"
        for length in (0, 20, len(content) // 2, len(content) - 3):
            cut.write_bytes(content[:length])
            if (suffix, length) == ("png", len(content) - 3):  # all pixels are there
                assert np.array_equal(read_array(cut), np.asarray(read_rgb(cut)))
                continue
            with pytest.raises(Undecodable):
                read_rgb(cut)
            with pytest.raises(Undecodable):
                read_array(cut)
    with pytest.raises(Undecodable, match="no such file"):
        read_array(tmp_path / "nowhere.jpg")


def verdict(read: Any, file: Path) -> np.ndarray | None:
    """What a reader returns, None where it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large images
        try:
            return np.asarray(read(file))
        except Undecodable:
            return None


def harmed(content: bytes, rng: np.random.Generator) -> bytes:
    """A file with a bit, a stretch or its end spoilt, whose last bytes say that it is whole in most cases."""
    place, length = int(rng.integers(2, len(content) - 4)), int(rng.integers(1, 300))
    noise = rng.integers(0, 256, len(content), dtype=np.uint8).tobytes()
    end = content[-2:] if content[:1] == b"\xff" else content[-12:]
    one = bytes([content[place] ^ 1 << int(rng.integers(8))])
    return [
        content[:place] + one + content[place + 1 :],
        content[:place] + bytes(length) + content[place + length :],
        content[:place] + noise[:length] + content[place:],
        content[:place] + content[place + length :],
        content[:place] + noise[place : -len(end)] + end,
        content[:place] + end,
        content[:place],
    ][int(rng.integers(7))]


@pytest.mark.parametrize("form", ["jpg", "progressive.jpg", "restarts.jpg", "exif.jpg", "png", "chunks.png"])
def test_opencv_refuses_what_pillow_refuses(tmp_path: Path, form: str, capfd: pytest.CaptureFixture[str]) -> None:
    turned = Image.Exif()
    turned[274], turned[270] = 6, "a picture" * 9
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a picture " * 99, zip=True)
    options: dict[str, dict[str, Any]] = {
        "progressive.jpg": {"progressive": True},
        "restarts.jpg": {"restart_marker_rows": 1},
        "exif.jpg": {"exif": turned, "dpi": (72, 72)},
        "chunks.png": {"pnginfo": text, "dpi": (72, 72)},
    }
    whole, spoilt = tmp_path / f"whole.{form}", tmp_path / f"spoilt.{form}"
    picture("noisy", 5, 96, 80).save(whole, **options.get(form, {}))
    content, rng = whole.read_bytes(), np.random.default_rng(3)
    refused = 0
    for number in range(150):
        spoilt.write_bytes(harmed(content, rng))
        truth, found = verdict(read_rgb, spoilt), verdict(read_array, spoilt)
        assert (truth is None) == (found is None), number
        assert truth is None or found is None or np.array_equal(truth, found), number
        refused += truth is None
    assert refused > 30
    capfd.readouterr()  # what libjpeg and libpng say of each


def test_nonsense_after_the_pixels_is_refused(tmp_path: Path) -> None:
    picture("noisy", 5).save(file := tmp_path / "picture.jpg")
    content = file.read_bytes()
    middle = len(content) * 2 // 3
    file.write_bytes(content[:middle] + b"\xff\xc0\x00\x0b" + content[middle + 4 :])  # as OpenCV would not notice
    for read in (read_rgb, read_array):
        with pytest.raises(Undecodable, match="broken data stream"):
            read(file)


def test_a_damaged_chunk_beside_the_pixels_is_refused(tmp_path: Path) -> None:
    picture("noisy", 5).save(file := tmp_path / "picture.png", dpi=(72, 72))
    content = bytearray(file.read_bytes())
    content[content.index(b"pHYs") + 5] ^= 1
    file.write_bytes(content)
    for read in (read_rgb, read_array):
        with pytest.raises(Undecodable, match="not an image"):
            read(file)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_decompression_bombs_are_refused_by_their_header(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture("smooth", 0).save(file := tmp_path / f"bomb.{suffix}")
    content = bytearray(file.read_bytes())
    if suffix == "jpg":
        frame = content.index(b"\xff\xc0")
        content[frame + 5 : frame + 9] = struct.pack(">HH", 30000, 30000)
    else:
        content[16:24] = struct.pack(">II", 30000, 30000)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    file.write_bytes(content)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    for read in (read_rgb, read_array):
        with pytest.raises(Undecodable, match=r"^more than 178,956,970 pixels; to have it decoded, raise"):
            read(file)


def test_how_many_pixels_are_decoded_can_be_set_for_all_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture("smooth", 0).save(file := tmp_path / "picture.png")
    width, height = Image.open(file).size
    readers = (read_rgb, read_array, read_labels, wrong_form)
    for given, read in product((width * height, 2 * width * height), readers):
        monkeypatch.setenv("BENCH_MAX_PIXELS", str(given))
        read(file)
    for given, read in product((width * height - 1, width * height // 3), readers):  # Pillow warns of the first alone
        monkeypatch.setenv("BENCH_MAX_PIXELS", str(given))
        with pytest.raises(Undecodable, match=f"^more than {given:,} pixels"):
            read(file)
    for given in ("0", "-1", "many", "1e6"):
        monkeypatch.setenv("BENCH_MAX_PIXELS", given)
        for read in (*readers, lambda _: resolve_roots(["coco=x"])):
            with pytest.raises(BadInput, match=f"BENCH_MAX_PIXELS is '{given}', but should be a number of pixels"):
                read(file)


def test_a_zipped_text_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    picture("smooth", 0).save(file := tmp_path / "bomb.png", pnginfo=text)
    for read in (read_rgb, read_array):
        with pytest.raises(Undecodable, match="too large"):
            read(file)


# ----------------------------------------------------------------------------------------------- batches


@pytest.fixture
def train(coco: Path) -> Index:
    return index("coco", coco, "train")


VIEWS = (*BYOL_VIEWS(16), View(size=8, count=6))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["fast", "device"])
def test_a_batch_does_not_depend_on_workers(train: Index, backend: Any) -> None:
    dataset = ViewDataset(train, VIEWS, seed=0, backend=backend)

    def run(workers: int) -> list[torch.Tensor]:
        batches = islice(loader(dataset, DrawSampler(10, 4, 0), workers), 3)
        return [tensor for batch in batches for tensor in (*batch.to("cpu").views, *batch.boxes)]

    alone, beside = run(0), run(2)
    assert len(alone) == 3 * 16
    assert all(torch.equal(a, b) for a, b in zip(alone, beside, strict=True))
    (reference,) = islice(loader(ViewDataset(train, VIEWS, seed=0), DrawSampler(10, 4, 0)), 1)
    shown = reference.to("cpu")
    for ours, theirs in zip(alone[:8], shown.views, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().mean() < 2.5 / 255 / 0.225
    assert all(torch.equal(a, b) for a, b in zip(alone[8:16], shown.boxes, strict=True))


@pytest.mark.parametrize("backend", ["reference", "fast", "device"])
def test_an_image_is_decoded_once_for_all_its_views(
    train: Index, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    name = "read_rgb" if backend == "reference" else "read_array"
    read = getattr(images, name)
    monkeypatch.setattr(images, name, lambda file: decoded.append(file) or read(file))
    (batch,) = islice(loader(ViewDataset(train, VIEWS, seed=0, backend=backend), DrawSampler(10, 4, 0)), 1)
    assert len(batch.to("cpu").views) == 8
    assert len(decoded) == len(set(decoded)) == 4


@pytest.mark.parametrize("backend", ["reference", "fast", "device"])
def test_images_can_come_from_a_pack(train: Index, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stored:
        def positions(self, names: np.ndarray) -> np.ndarray:
            return np.arange(len(names))

        def read(self, position: int) -> np.ndarray:
            pixels = np.asarray(read_rgb(train.root / train.files[position])).copy()
            pixels.setflags(write=False)
            return pixels

    plain = ViewDataset(train, VIEWS, seed=0, backend=backend)
    packed = ViewDataset(train, VIEWS, seed=0, backend=backend, pack=Stored())
    (a,), (b,) = (islice(loader(dataset, DrawSampler(10, 4, 0)), 1) for dataset in (plain, packed))
    assert all(torch.equal(x, y) for x, y in zip(a.to("cpu").views, b.to("cpu").views, strict=True))
    if backend != "device":
        pair = (EvalDataset(train, 16, 20, backend=backend, pack=pack) for pack in (None, Stored()))
        (c,), (d,) = (islice(loader(dataset, in_order(10, 4)), 1) for dataset in pair)
        assert torch.equal(c.views[0], d.views[0])


def test_what_cannot_be_read_is_skipped_by_all(train: Index) -> None:
    (train.root / train.files[2]).write_bytes(b"spoilt")
    for backend in ("fast", "device"):
        dataset = ViewDataset(train, VIEWS, seed=0, unreadable="skip", backend=backend)  # type: ignore[arg-type]
        (batch,) = loader(dataset, [[(1, 0), (2, 1)]])
        assert batch.skipped == 1
        assert batch.indices.tolist() == [1, 3]
        assert len(batch.to("cpu").views[0]) == 2


def test_batches_are_uint8_until_they_are_moved(train: Index) -> None:
    """And then have, to the last bit, the values of normalising each image for itself."""
    dataset = ViewDataset(train, VIEWS, seed=0)
    keys = [(1, 0), (5, 1)]
    (batch,) = loader(dataset, [keys])
    assert {view.dtype for view in batch.views} == {torch.uint8}
    assert batch.views[0].is_contiguous(memory_format=torch.channels_last)
    for layout in (None, torch.channels_last):
        moved = batch.to("cpu", memory_format=layout)
        assert moved.views[0].is_contiguous(memory_format=layout or torch.contiguous_format)
        for view in range(8):
            pixels = np.stack([dataset[key].views[view] for key in keys])
            naive = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(torch.float32)
            mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
            std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
            assert torch.equal(moved.views[view], naive.div_(255).sub_(mean).div_(std))
    again = moved.to("cpu")
    assert torch.equal(again.views[0], moved.views[0])  # once normalised, never again


# ------------------------------------------------------------------------------------ random parameters


def test_parameters_are_distributed_as_torchvisions() -> None:
    """Two-sample Kolmogorov-Smirnov tests of 4,000 draws each at p = 1e-4, so that a distance of 0.05 is found.

    The test rejects from a distance of 2.2·√(2/4000) = 0.050 on; e.g. an area from 0.12 on instead of 0.08 (distance
    0.043 in itself) or factors within 0.36 instead of 0.4 (0.05) are about the least that it sees.
    """
    from scipy.stats import ks_2samp
    from torchvision import transforms

    count, view = 4000, View(jitter_p=1.0)
    drawn = [draw(view, 500, 375, generator(1, "statistics", number)) for number in range(count)]
    torch.manual_seed(0)
    theirs_crop, theirs_jitter = [], []
    shown = torch.zeros(3, 375, 500)
    for _ in range(count):
        top, left, height, width = transforms.RandomResizedCrop.get_params(shown, [0.08, 1.0], [3 / 4, 4 / 3])
        theirs_crop.append((left, top, width, height))
        _, b, c, s, h = transforms.ColorJitter.get_params((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1))
        theirs_jitter.append((b, c, s, h))
    ours, theirs = np.array([d.crop for d in drawn], float), np.array(theirs_crop, float)
    pairs = {name: (ours[:, n], theirs[:, n]) for n, name in enumerate(("left", "top", "width", "height"))}
    pairs["area"] = (ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3])
    pairs["ratio"] = (ours[:, 2] / ours[:, 3], theirs[:, 2] / theirs[:, 3])
    for step, name in enumerate(("brightness", "contrast", "saturation", "hue")):
        pairs[name] = (np.array([dict(d.jitter)[step] for d in drawn]), np.array(theirs_jitter)[:, step])
    for name, (a, b) in pairs.items():
        assert ks_2samp(a, b).pvalue > 1e-4, name
    # The power that is claimed: the same draws, a little off, are found.
    narrow = 1 + (pairs["brightness"][0] - 1) * 0.85
    assert ks_2samp(narrow, pairs["brightness"][1]).pvalue < 1e-4
    assert ks_2samp(pairs["area"][0] * 1.15, pairs["area"][1]).pvalue < 1e-4


def test_blur_is_pillows_kernel() -> None:
    for sigma in (0.1, 0.5, 1.0, 1.41, 1.42, 2.0):
        kernel = fast_views.blur_kernel(sigma)
        place = np.arange(len(kernel)) - len(kernel) // 2
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
        # The ends are cut off below 0.001: at small widths they hold a bit of the variance.
        assert (kernel * place**2).sum() == pytest.approx(sigma**2, rel=0.03, abs=0.01)


@pytest.mark.parametrize("backend", BACKENDS)
def test_blur_at_the_edges(backend: str) -> None:
    """On a steep ramp; a filter with repeated edges would be off by 4 levels, with zeros beyond them by 165."""
    ramp = np.broadcast_to(np.minimum(np.arange(SIZE) * 16, 255).astype(np.uint8)[None, :, None], (SIZE, SIZE, 3))
    shown, blurred = Image.fromarray(ramp.copy()), replace(NOTHING, crop=(0, 0, SIZE, SIZE), blur=2.0)
    error = np.abs(BACKENDS[backend]([shown], ALL, [blurred])[0].astype(int) - np.asarray(apply(shown, ALL, blurred)))
    assert error.max() <= 2


def test_opencv_starts_no_threads() -> None:
    assert cv2.getNumThreads() in {0, 1}
