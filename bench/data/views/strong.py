"""Strong augmentation: a few steps from a pool of fourteen, each done half of the time, with a random magnitude.

Source: Cubuk et al., "RandAugment" (2020), in the form of FixMatch (Sohn et al. 2020), with which Wang and Qi, "CLSA"
(2021), make their stronger views (five steps). With s = magnitude/10, the magnitude an integer from 1 to 9, and a
random sign ±:

| step          | what Pillow does                                     |
|---------------|------------------------------------------------------|
| autocontrast  | stretch each channel to 0…255                        |
| equalize      | a flat histogram of each channel                     |
| identity      | nothing                                              |
| brightness, colour, contrast, sharpness | enhance by a factor 0.05 + 0.9·s |
| posterize     | keep 4 + ⌊4·s⌋ bits                                  |
| solarize      | invert values from 256 − ⌊256·s⌋ on                  |
| rotate        | by ±⌊30·s⌋ degrees                                   |
| shear_x, shear_y         | by ±0.3·s                                 |
| translate_x, translate_y | by ±⌊0.3·s·side⌋ pixels                   |

What comes in from outside the image is black.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

StrongStep = tuple[str, int, bool]  # name in the pool, magnitude 1…9, whether the sign is negative

ENHANCE = {
    "brightness": ImageEnhance.Brightness,
    "colour": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}
POOL = (
    *("autocontrast", "brightness", "colour", "contrast", "equalize", "identity", "posterize", "rotate"),
    *("sharpness", "shear_x", "shear_y", "solarize", "translate_x", "translate_y"),
)


def draw_strong(count: int, rng: np.random.Generator) -> tuple[StrongStep, ...]:
    """Draw `count` steps from the pool, with replacement, and leave out those that are not done."""
    steps: list[StrongStep] = []
    for _ in range(count):
        name, magnitude = POOL[rng.integers(len(POOL))], int(rng.integers(1, 10))
        done, negative = rng.random() < 0.5, rng.random() < 0.5
        if done:
            steps.append((name, magnitude, bool(negative)))
    return tuple(steps)


def strengthen(image: Image.Image, steps: Sequence[StrongStep]) -> Image.Image:
    """Return an RGB image with the steps done."""
    for name, magnitude, negative in steps:
        image = _step(image, name, magnitude, -1 if negative else 1)
    return image


def strengthen_pixels(pixels: np.ndarray, steps: Sequence[StrongStep]) -> np.ndarray:
    """Return pixels H×W×3 uint8 with the steps done."""
    return np.asarray(strengthen(Image.fromarray(pixels), steps)) if steps else pixels


def strengthen_batch(images: Tensor, steps: Sequence[Sequence[StrongStep]]) -> Tensor:
    """Return images N×3×H×W uint8, on any device, with each one's steps done; without any they stay where they are."""
    chosen = [number for number, own in enumerate(steps) if own]
    if not chosen:
        return images
    pixels = images[chosen].permute(0, 2, 3, 1).contiguous().cpu().numpy()
    done = np.stack([strengthen_pixels(one, steps[number]) for one, number in zip(pixels, chosen, strict=True)])
    images[chosen] = torch.from_numpy(done).permute(0, 3, 1, 2).to(images.device)
    return images


def _step(image: Image.Image, name: str, magnitude: int, sign: int) -> Image.Image:
    width, height = image.size
    if name in ENHANCE:
        return ENHANCE[name](image).enhance(0.05 + 0.09 * magnitude)
    if name == "autocontrast":
        return ImageOps.autocontrast(image)
    if name == "equalize":
        return ImageOps.equalize(image)
    if name == "posterize":
        return ImageOps.posterize(image, 4 + 4 * magnitude // 10)
    if name == "solarize":
        return ImageOps.solarize(image, 256 - 256 * magnitude // 10)
    if name == "rotate":
        return image.rotate(sign * (3 * magnitude))
    matrices = {
        "shear_x": (1, sign * 0.03 * magnitude, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, sign * 0.03 * magnitude, 1, 0),
        "translate_x": (1, 0, sign * int(0.03 * magnitude * width), 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, sign * int(0.03 * magnitude * height)),
    }
    return image.transform(image.size, Image.Transform.AFFINE, matrices[name]) if name in matrices else image
