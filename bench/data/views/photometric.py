"""Photometric steps of PIRL: posterize, sharpness, solarize and autocontrast, one after another, all of them or none.

Source: facebookresearch/vissl, img_pil_random_photometric.py and pil_photometric_transforms_lib.py (their values), of
Misra and van der Maaten, "Self-Supervised Learning of Pretext-Invariant Representations" (CVPR 2020). Done by Pillow.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Photometric = tuple[int, float, int]  # bits that stay, 4 to 8; factor of the sharpness, 0.1 to 1.9; threshold, 0 to 256


def draw_photometric(rng: np.random.Generator) -> Photometric:
    """Draw the values of the steps."""
    return int(rng.integers(4, 9)), float(rng.uniform(0.1, 1.9)), int(rng.integers(257))


def change(image: Image.Image, values: Photometric) -> Image.Image:
    """Return an RGB image after the four steps."""
    bits, sharpness, threshold = values
    image = ImageEnhance.Sharpness(ImageOps.posterize(image, bits)).enhance(sharpness)
    return ImageOps.autocontrast(ImageOps.solarize(image, threshold))
