"""One image file, decoded to RGB."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from bench.errors import BadInput, one_line

VARIABLE = "BENCH_MAX_PIXELS"
MOST_PIXELS = 178_956_970  # of an image: half a gigabyte in RGB, and where Pillow by itself stops


class WorkerError(BadInput):
    """Bad input that a worker meets. DataLoader raises it anew with its traceback as the text: cut off here."""

    def __init__(self, text: str) -> None:
        name = f"{type(self).__module__}.{type(self).__name__}: "
        super().__init__(text.strip().rpartition("\n")[2].removeprefix(name))


def most_pixels() -> int:
    """Return how many pixels an image may have to be decoded, whatever decodes it. Raises BadInput."""
    given = os.environ.get(VARIABLE, "").strip()
    most = int(given) if given.isascii() and given.isdigit() and len(given) < 16 else 0
    if given and not most:
        raise WorkerError(f"{VARIABLE} is {given!r}, but should be a number of pixels, such as {MOST_PIXELS}.")
    Image.MAX_IMAGE_PIXELS = most = most or MOST_PIXELS  # which Pillow warns above, and refuses twice as many
    return most


class Undecodable(Exception):
    """The file is no image that can be read; the message says why, without the file's name."""


def read_rgb(file: Path | str | bytes | IO[bytes]) -> Image.Image:
    """Return the whole image of a file, or of its content, in mode RGB.

    Greyscale, palette, CMYK and 16-bit images are converted. EXIF orientation is left alone, as torchvision's and most
    others' readers do.

    Raises Undecodable when the file is missing, truncated, too large, or no image.
    """
    try:
        with opened_image(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
            if opened.mode.startswith("I;16"):  # convert would cut off at 255
                return Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8)).convert("RGB")
            return opened.convert("RGB")
    except (Undecodable, WorkerError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and what not
        raise Undecodable(reason(error)) from error


@contextmanager
def opened_image(file: Path | str | IO[bytes]) -> Iterator[Image.Image]:
    """Give an image whose header has been read, and no pixel.

    Raises Undecodable where it has more pixels than are decoded, and for the rest what Pillow raises.
    """
    most = most_pixels()
    try:
        with Image.open(file) as opened:
            width, height = opened.size
            if width * height > most:
                raise Image.DecompressionBombError
            yield opened
    except Image.DecompressionBombError:
        raise Undecodable(f"more than {most:,} pixels; to have it decoded, raise {VARIABLE}") from None


def read_array(file: Path | str | bytes) -> np.ndarray:
    """Return the whole image H×W×3 uint8 of a file, or of its content.

    It is as `read_rgb` gives it, decoded by OpenCV where that gives the same: for greyscale and colour JPEG and PNG
    with 8 bits. All else, and what does not end as it should, is left to `read_rgb`, so that what one refuses, the
    other does. Raises Undecodable.
    """
    import cv2  # not at the top: counting and checking files do without

    try:
        content = file if isinstance(file, bytes) else Path(file).read_bytes()
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


def check_whole(file: Path | str) -> None:
    """Raise Undecodable for a JPEG or PNG that `read_rgb` refuses, for readers that decode it by OpenCV.

    It is decoded here only where OpenCV might make something else of it. Raises OSError for a file that can't be
    opened.
    """
    with open(file, "rb") as opened:
        content = opened.read()
    if content.startswith((b"\xff\xd8", b"\x89PNG\r\n\x1a\n")) and not same_in_opencv(content):
        read_rgb(io.BytesIO(content))


def same_in_opencv(content: bytes) -> bool:
    """Whether a file's content is a JPEG or PNG that OpenCV converts to RGB as Pillow does, or refuses where it does.

    False for what Pillow alone looks at: more pixels than are decoded, damage after the last line of
    pixels that is wanted, damaged or compressed text beside them. What is False here, is Pillow's to read or refuse.
    """
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return _same_png(content)
    return content[:2] == b"\xff\xd8" and content[-2:] == b"\xff\xd9" and _same_jpeg(content)


def _same_jpeg(content: bytes) -> bool:
    place, wanted = 2, False
    while place + 9 < len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if marker == 0xDA:  # start of scan
            return wanted and _ends_at_once(content, place + 2 + length)
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # start of frame
            if content[place + 4] != 8 or content[place + 9] not in {1, 3}:
                return False
            height, width = struct.unpack_from(">HH", content, place + 5)
            wanted = not _many(width, height)
            if marker != 0xC0 and marker != 0xC1:  # progressive: all of the file is read before the first pixel
                return wanted
        place += 2 + length
    return False


def _ends_at_once(content: bytes, start: int) -> bool:
    """Whether what follows the compressed pixels that begin at `start` is the end of the image.

    For another marker OpenCV fills up what is missing and returns; Pillow reads on, and refuses what makes no sense.
    """
    import cv2

    if start + 2 > len(content):
        return False
    scan = np.frombuffer(content, np.uint8, offset=start)
    following = cv2.bitwise_and(cv2.compare(scan[:-1], 0xFF, cv2.CMP_EQ), scan[1:])  # 0 where no 0xFF goes before
    if cv2.countNonZero(following) == 1:  # in most files: the last two bytes, as 0xFF among the pixels has a 0 after it
        return True
    markers = following[(following != 0) & ((following < 0xD0) | (following > 0xD7))]  # without restarts
    return markers.size > 0 and int(markers[0]) == 0xD9


def _same_png(content: bytes) -> bool:
    if len(content) < 57 or content[-8:-4] != b"IEND":
        return False
    width, height, depth, colour = struct.unpack_from(">IIBB", content, 16)
    if depth != 8 or colour not in {0, 2} or _many(width, height):
        return False
    place = 33  # after the header
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"IEND":
            return True
        if kind != b"IDAT" and not _harmless(content, place, length, kind):
            return False
        place += 12 + length
    return False


def _harmless(content: bytes, place: int, length: int, kind: bytes) -> bool:
    """Whether a chunk beside the pixels is whole, and of a kind that changes no pixel and unpacks to nothing large."""
    if _PLAIN.get(kind) != length or place + 12 + length > len(content):
        return False
    (checksum,) = struct.unpack_from(">I", content, place + 8 + length)
    return zlib.crc32(content[place + 4 : place + 8 + length]) == checksum


def _many(width: int, height: int) -> bool:
    """Whether an image has no pixels, or too many to be decoded."""
    return width == 0 or height == 0 or width * height > most_pixels()


_PLAIN = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"tIME": 7}  # kinds of chunks, and their lengths


def read_labels(file: Path | str) -> np.ndarray:
    """Return a label map, H×W, as it is stored. Raises Undecodable."""
    try:
        with opened_image(file) as opened:
            return np.asarray(opened)
    except (Undecodable, WorkerError):
        raise
    except Exception as error:
        raise Undecodable(reason(error)) from error


def reason(error: Exception) -> str:
    """Return what a decoder complains of, in a few words."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return getattr(error, "strerror", None) or one_line(error)
