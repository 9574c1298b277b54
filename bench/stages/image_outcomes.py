"""What a classifier said of each validation image, kept in its stage's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from bench.data.sets import Index
from bench.outcomes import OUTCOMES, TopOutcomes, names_digest, write


def keep_top(folder: Path, images: Index, positions: Tensor, top1: Tensor, top5: Tensor) -> None:
    """Write `outcomes.npz` into a stage's folder.

    Args:
        folder: of the stage.
        images: of the split.
        positions: of N images in it, int64, in any order; those of the others could not be read.
        top1: N booleans, whether the first class named is the image's.
        top5: the same for the first five.
    """
    every = np.zeros((3, len(images.files)), bool)  # valid, top-1, top-5
    places = positions.cpu().numpy()
    every[0, places] = True
    every[1, places], every[2, places] = top1.cpu().numpy(), top5.cpu().numpy()
    write(TopOutcomes(names_digest(images.files), *every), folder / OUTCOMES)
