"""Proportions of images, and two of them on the same images: intervals, McNemar's test, and its power."""

from __future__ import annotations

import math

from scipy.special import bdtr, ndtr, ndtri

LEVEL = 0.95
Z = float(ndtri(0.5 + LEVEL / 2))


def wilson(right: float, count: float, z: float = Z) -> tuple[float, float]:
    """Return Wilson's (1927) interval of a proportion `right`/`count`, between 0 and 1."""
    share, more = right / count, z * z / count
    middle = (share + more / 2) / (1 + more)
    half = z * math.sqrt(share * (1 - share) / count + more / (4 * count)) / (1 + more)
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Return the two-sided exact p-value of McNemar's test: each discordant image is either side's with chance ½."""
    discordant = only_a + only_b
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), discordant, 0.5))) if discordant else 1.0


def mcnemar_mid_p(only_a: int, only_b: int) -> float:
    """Return the mid-p value: the two-sided exact one, counting half of the chance of what was seen on each side."""
    fewer, discordant = min(only_a, only_b), only_a + only_b
    if not discordant:
        return 1.0
    up_to = float(bdtr(fewer, discordant, 0.5))
    below = float(bdtr(fewer - 1, discordant, 0.5)) if fewer else 0.0
    return min(1.0, up_to + below)


def tango(only_a: int, only_b: int, count: int, z: float = Z) -> tuple[float, float]:
    """Return Tango's (1998, Statistics in Medicine 17) score interval of the difference of paired proportions.

    Its bounds are the differences δ with (b − c − Nδ)/√(N(2q + δ(1 − δ))) = ±z, where q is the likeliest share of
    images that are b's alone if the difference is δ.
    """

    def score(delta: float) -> float:
        linear = -only_a - only_b + (2 * count - only_a + only_b) * delta
        root = math.sqrt(max(0.0, linear**2 + 8 * count * only_b * delta * (1 - delta)))
        share = (root - linear) / (4 * count)
        variance = count * (2 * share + delta * (1 - delta))
        above = only_a - only_b - count * delta
        return above / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, above) if above else 0.0

    def bound(target: float, low: float, high: float) -> float:
        for _ in range(60):  # the score falls as δ grows
            middle = (low + high) / 2
            low, high = (middle, high) if score(middle) > target else (low, middle)
        return (low + high) / 2

    seen = (only_a - only_b) / count
    return bound(z, -1.0, seen), bound(-z, seen, 1.0)


def mcnemar_power(only_a: float, only_b: float, count: int, alpha: float = 1 - LEVEL) -> float:
    """Return the chance that McNemar's test sees a difference on `count` images, by the normal approximation.

    Args:
        only_a: the share of images that side a alone has right, between 0 and 1.
        only_b: the same of side b.
        count: images, of which some dozens should be discordant.
        alpha: the level of the two-sided test.

    The formula is Connor's (1987, Biometrics 43), with both tails.
    """
    discordant, effect = only_a + only_b, only_a - only_b
    spread = discordant - effect**2
    z = float(ndtri(1 - alpha / 2))
    if spread <= 0:
        return 1.0 if effect else 0.0
    shift, reach = abs(effect) * math.sqrt(count), z * math.sqrt(discordant)
    return float(ndtr((shift - reach) / math.sqrt(spread)) + ndtr((-shift - reach) / math.sqrt(spread)))
