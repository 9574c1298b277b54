"""How many of some verdicts were "different", with the interval of the share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """Of how many verdicts how many were "different", with the exact binomial interval of 95 %, as if independent."""

    different: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper's and Pearson's, as shares."""
        from scipy.special import betaincinv

        found, rest = self.different, self.of - self.different
        low = float(betaincinv(found, rest + 1, 0.025)) if found else 0.0
        return low, float(betaincinv(found + 1, rest, 0.975)) if rest else 1.0

    def __str__(self) -> str:
        if not self.of:
            return "none made"
        low, high = self.interval
        return f"{self.different} of {self.of} ({100 * low:.1f} to {100 * high:.1f} %)"

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.different + other.different, self.of + other.of)
