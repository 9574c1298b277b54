"""One image file, decoded to RGB. This module does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image


class Undecodable(Exception):
    """The file is no image that can be read; the message says why, without the file's name."""


def read_rgb(file: Path | str | IO[bytes]) -> Image.Image:
    """Return the whole image in mode RGB; greyscale, palette, CMYK and 16-bit images are converted.

    EXIF orientation is left alone, as torchvision's and most others' readers do.

    Raises Undecodable when the file is missing, truncated, or no image.
    """
    try:
        with Image.open(file) as opened:
            if opened.mode.startswith("I;16"):  # convert would cut off at 255
                return Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8)).convert("RGB")
            return opened.convert("RGB")
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and what not
        raise Undecodable(reason(error)) from error


def read_labels(file: Path | str) -> np.ndarray:
    """Return a label map, H×W, as it is stored. Raises Undecodable."""
    try:
        with Image.open(file) as opened:
            return np.asarray(opened)
    except Exception as error:
        raise Undecodable(reason(error)) from error


def reason(error: Exception) -> str:
    """Return what a decoder complains of, in a few words."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return (" ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__).rstrip(".")
