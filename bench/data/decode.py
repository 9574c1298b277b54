"""One image file, decoded to RGB."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from bench.errors import BadInput, one_line


class WorkerError(BadInput):
    """Bad input that a worker meets. DataLoader raises it anew with its traceback as the text: cut off here."""

    def __init__(self, text: str) -> None:
        name = f"{type(self).__module__}.{type(self).__name__}: "
        super().__init__(text.strip().rpartition("\n")[2].removeprefix(name))


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


def read_array(file: Path | str) -> np.ndarray:
    """Return the whole image H×W×3 uint8 as `read_rgb` does, decoded by OpenCV where that gives the same.

    That is so for greyscale and colour JPEG and PNG with 8 bits; all else, and what does not end as it should, is left
    to `read_rgb`. Raises Undecodable.
    """
    import cv2  # not at the top: counting and checking files do without

    try:
        with open(file, "rb") as opened:
            content = opened.read()
    except OSError as error:
        raise Undecodable(reason(error)) from error
    if same_in_opencv(content):
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except cv2.error:
            pixels = None
        if pixels is not None:
            return pixels
    return np.asarray(read_rgb(file))


def same_in_opencv(content: bytes) -> bool:
    """Whether a file's content is a whole JPEG or PNG that OpenCV converts to RGB as Pillow does."""
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        depth, colour = content[24:26] if len(content) > 26 else (0, 0)
        return depth == 8 and colour in {0, 2} and content[-8:-4] == b"IEND"
    if content[:2] != b"\xff\xd8" or content[-2:] != b"\xff\xd9":
        return False
    place = 2
    while place + 9 < len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # start of frame
            return content[place + 4] == 8 and content[place + 9] in {1, 3}
        place += 2 + length
    return False


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
    return getattr(error, "strerror", None) or one_line(error)
