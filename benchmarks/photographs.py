"""JPEG files with the size and the entropy of ImageNet's photographs, rendered, since no photographs may be shipped.

Amplitudes of natural images fall with the spatial frequency f roughly as 1/f (Field, "Relations between the statistics
of natural images and the response properties of cortical cells", 1987). Here such noise, with the channels correlated
as in photographs, is cut by the edges of random shapes that carry textures of their own. `--images DIR` of the
benchmarks takes real files instead. ImageNet's typical file is about 500×375 pixels and 90 to 110 KB.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from interleave import ROOT, give_up

FOLDER = ROOT / "runs" / "benchmarks"
CHANNELS = np.array([[1.0, 0.25, 0.1], [1.0, 0.0, -0.15], [1.0, -0.25, 0.1]], np.float32)  # brightness and two colours


def photographs(
    count: int = 64, images: Path | None = None, width: int = 500, height: int = 375, quality: int = 92
) -> list[Path]:
    """Return `count` JPEG files: the first ones below `images`, in order and repeated if need be, or rendered ones.

    Rendered once into runs/benchmarks/; every fourth is upright.
    """
    if images is not None:
        found = sorted(file for file in images.rglob("*") if file.suffix.lower() in {".jpg", ".jpeg"})
        if not found:
            give_up(f"there are no JPEG files below {images}; give another --images")
        return [found[number % len(found)] for number in range(count)]
    import cv2  # the peers' environment, which reads this module along with a benchmark's, has none

    folder = FOLDER / f"photographs-{width}x{height}-q{quality}"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        if not file.is_file():
            shape = (width, height) if number % 4 == 3 else (height, width)
            partial = file.with_suffix(".partial.jpg")
            cv2.imwrite(str(partial), photograph(number, *shape), [cv2.IMWRITE_JPEG_QUALITY, quality])
            partial.replace(file)
    return files


def about(files: Sequence[Path]) -> str:
    """Say what the files are, for the notes of a benchmark."""
    import cv2

    kind = "rendered with the entropy of photographs" if FOLDER in files[0].parents else "given photographs"
    median = statistics.median(file.stat().st_size for file in set(files)) / 1000
    shape = cv2.imread(str(files[0])).shape
    return f"{len(set(files))} JPEG files, {kind}, median {median:.0f} KB, the first {shape[1]}x{shape[0]} pixels"


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
