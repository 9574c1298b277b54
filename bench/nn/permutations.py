"""Permutations that are far from each other, as the classes of a jigsaw puzzle.

Source: Noroozi and Favaro, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles" (ECCV 2016),
section 4.1 and algorithm 1.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor


def far_permutations(count: int, places: int = 9) -> Tensor:
    """Return count×places int64: permutations of 0 … places−1, in the order in which they are chosen.

    The first is the identity. Each further one is, of all that are left, the farthest from those chosen: in how many
    places they differ (the Hamming distance), at the least, and among equals in the sum (algorithm 1 has the sum alone,
    by which a pair may be as near as two places), and among equals the first in lexicographic order. So the first m of
    any count are the same.

    Raises ValueError for more than there are.
    """
    if not 1 <= count <= math.factorial(places):
        raise ValueError(f"there are {math.factorial(places)} permutations of {places} places, not {count}")
    return torch.from_numpy(_chosen(count, places))


@cache
def _chosen(count: int, places: int) -> np.ndarray:
    everything = np.zeros((1, 1), dtype=np.int8)  # places×(places)!, lexicographic
    for k in range(2, places + 1):
        parts = [np.vstack([np.full((1, everything.shape[1]), i), everything + (everything >= i)]) for i in range(k)]
        everything = np.concatenate(parts, axis=1).astype(np.int8)
    nearest = np.full(everything.shape[1], places, dtype=np.int64)
    total = np.zeros_like(nearest)
    chosen = [0]
    while len(chosen) < count:
        distance = np.zeros(everything.shape[1], dtype=np.int8)
        for place in everything:
            distance += place != place[chosen[-1]]
        np.minimum(nearest, distance, out=nearest)  # 0 for those chosen: they are never chosen again
        total += distance
        chosen.append(int(np.argmax(nearest * (count * places + 1) + total)))
    return everything[:, chosen].T.astype(np.int64)
