"""Images to measure with: JPEG files like ImageNet's photographs, and arrays of CIFAR's size.

No photographs may be shipped, so they are rendered with the size and the entropy of ImageNet's, whose typical file has
about 500×375 pixels and 90 to 110 KB. Amplitudes of natural images fall with the spatial frequency f roughly as 1/f
(Field, "Relations between the statistics of natural images and the response properties of cortical cells", 1987). Here
such noise, with the channels correlated as in photographs, is cut by the edges of random shapes that carry textures of
their own. `--images DIR` takes real files instead.

The peers' environment reads this module, too: it has no OpenCV.
"""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "runs" / "benchmarks"
CHANNELS = np.array([[1.0, 0.25, 0.1], [1.0, 0.0, -0.15], [1.0, -0.25, 0.1]], np.float32)  # brightness and two colours
WIDTH, HEIGHT, QUALITY = 500, 375, 92
Prepared = tuple[dict[str, Any], list[str]]


def prepare(quick: bool, images: Path | None, place: Path) -> Prepared:
    """Lay out photographs as COCO does, and return {"folder": …} with a sentence on them."""
    count = 8 if quick else 64
    if images is None:
        folder = FOLDER / f"photographs-{count}"
        render(folder / "train2017", count)
    else:
        given = sorted(file for file in images.rglob("*") if file.suffix.lower() in {".jpg", ".jpeg"})
        if not given:
            raise ValueError(f"there are no JPEG files below {images}; give another --images")
        folder = place / "given"
        (folder / "train2017").mkdir(parents=True)
        for number, file in enumerate(given[:count]):
            shutil.copyfile(file, folder / "train2017" / f"{number:012d}.jpg")
    files = listed(folder)
    median = statistics.median(file.stat().st_size for file in files) / 1000
    kind = "given photographs" if images else f"rendered with the entropy of photographs, {WIDTH}x{HEIGHT} pixels"
    return {"folder": str(folder)}, [f"Images: {len(files)} JPEG files, {kind}, median {median:.0f} KB."]


def listed(folder: Path | str) -> list[Path]:
    """Return the files of a folder that `prepare` made."""
    return sorted(Path(folder, "train2017").glob("*.jpg"))


def render(folder: Path, count: int) -> None:
    """Render `count` files, unless they are there; every fourth is upright."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        file = folder / f"{number:012d}.jpg"
        if not file.is_file():
            shape = (WIDTH, HEIGHT) if number % 4 == 3 else (HEIGHT, WIDTH)
            partial = file.with_suffix(".partial.jpeg")
            cv2.imwrite(str(partial), photograph(number, *shape), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            partial.replace(file)


def photograph(number: int, height: int, width: int) -> np.ndarray:
    """Render one image H×W×3 uint8 from its number alone."""
    import cv2

    rng = np.random.Generator(np.random.Philox(number))
    image = texture(rng, height, width)
    for _ in range(int(rng.integers(6, 14))):
        mask = np.zeros((height, width), np.uint8)
        centre = (rng.random(2) * (width, height)).astype(int)
        angles = np.sort(rng.random(int(rng.integers(3, 12))) * 2 * np.pi)
        reach = rng.uniform(0.08, 0.4) * width * rng.uniform(0.6, 1.0, len(angles))
        corners = centre + np.stack([np.cos(angles) * reach, np.sin(angles) * reach], 1)
        cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_AA)
        alpha = mask[..., None].astype(np.float32) / 255
        image = image * (1 - alpha) + texture(rng, height, width) * alpha
    grain = rng.normal(0, rng.uniform(1.0, 4.0), (height, width, 1)).astype(np.float32)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return H×W×3 float32 noise whose amplitude falls as 1/f^a, a about 1.2, around a random colour."""
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    f[0, 0] = 1.0
    exponent = rng.uniform(1.0, 1.5)
    waves = np.exp(2j * np.pi * rng.random((3, *f.shape))) / f**exponent
    waves[:, 0, 0] = 0
    noise = np.fft.irfft2(waves, s=(height, width)).astype(np.float32)
    noise /= noise.std(axis=(1, 2), keepdims=True)
    contrast = rng.uniform(15, 45)
    return np.einsum("chw,dc->hwd", noise, CHANNELS) * contrast + rng.uniform(50, 200, 3).astype(np.float32)


def small(count: int) -> np.ndarray:
    """Return images N×32×32×3 uint8, smooth with grain, the same in both environments."""
    rng = np.random.default_rng(0)
    made = np.repeat(np.repeat(rng.integers(20, 236, (count, 8, 8, 3)), 4, 1), 4, 2)
    return np.clip(made + rng.normal(0, 6, made.shape), 0, 255).astype(np.uint8)
