"""Many tests at once: p by Holm's step-down, so that equal rows are rarely called different anywhere in a family.

Of m tests whose null hypotheses are all true, one in twenty has p < 0.05. Holm (1979, Scandinavian Journal of
Statistics 6, 65–70) multiplies the smallest p by m, the next by m − 1, and so on, and never lets a larger p become the
smaller one. Whichever of the hypotheses are true, the probability that any of them is rejected at an adjusted p < 0.05
is then at most 0.05. That holds whatever the tests share: rows their baseline, or columns their weights.
"""

from __future__ import annotations

from collections.abc import Sequence


def holm(ps: Sequence[float | None], of: int | None = None) -> list[float | None]:
    """Return the adjusted p of each test of a family, in the given order, each at most 1.

    None, a test that is undefined, stays None and counts for nothing. `of` is the size of the family where these are
    but some of its tests: the others count as if their p were higher than all of these, which adjusts more than knowing
    them would.
    """
    known = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    size = max(len(known), of or 0)
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for step, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (size - step) * p))
        adjusted[place] = highest
    return adjusted
