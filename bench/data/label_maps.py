"""Files of label maps: one channel of 8 bits, as large as their image, every value a class or 255.

Readers that train cut a map of 16 bits off at 255, and take a picture of colours for one: what they would not notice is
looked for here, in a file's header and in the values that were read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ImageMode

from bench.data.decode import Undecodable, WorkerError, opened_image, reason
from bench.data.sets.data_set import IGNORED

REMEDY = "store the ids of classes as one channel of 8 bits, of the size of the image (a PNG in grey or with a palette)"


def wrong_form(file: Path | str, size: tuple[int, int] | None = None) -> str | None:
    """Return what is wrong with a label map by its header, in words, if anything is; no pixel is decoded.

    Args:
        size: width and height of its image; None where they are not known.

    Raises Undecodable where the file is missing or no image.
    """
    try:
        with opened_image(file) as opened:
            mode, found = opened.mode, opened.size
    except (Undecodable, WorkerError):
        raise
    except Exception as error:
        raise Undecodable(reason(error)) from error
    channels = len(ImageMode.getmode(mode).bands)
    if channels > 1:
        return f"{channels} channels ({mode}), but a label map has one"
    if mode not in {"L", "P", "1"}:
        bits = 16 if mode.startswith("I;16") else 32
        return f"{bits} bits a pixel, but a label map has 8"
    if size is not None and found != size:
        return f"{found[0]}×{found[1]} pixels, but its image has {size[0]}×{size[1]}"
    return None


def strange_id(labels: np.ndarray, classes: int, ignored: int = IGNORED) -> int | None:
    """Return a value of a map (uint8) that is neither a class (0 to `classes` − 1) nor `ignored`; None without one."""
    if labels.size == 0 or (ignored == 255 and int((labels + np.uint8(1)).max()) <= classes):  # 255 + 1 is 0
        return None
    strange = labels[(labels >= classes) & (labels != ignored)]
    return int(strange.min()) if strange.size else None
