"""What a setting of an objective may be, beside its type: a range, or one of several choices.

A constructor says so in the annotation, where a plan reads it without torch (see `bench.signature`):

    temperature: Positive = 0.1                   a range by name, from below
    gamma: Annotated[float, Within(1)] = 2.0      a range of its own
    loss: Annotated[str, LOSSES] = "nce"          one of LOSSES, a tuple of literals at the top of some module
    gate_temperature: Positive | None = None

The constructor still refuses what it cannot work with: this says early what does not depend on anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Within:
    """A range of numbers, with its ends unless they are said to be left out.

    Args:
        low, high: its ends; None: there is none.
        above, below: whether the low or the high end itself is outside.
    """

    low: float | None = None
    high: float | None = None
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        enough = self.low is None or value > self.low or (value == self.low and not self.above)
        small = self.high is None or value < self.high or (value == self.high and not self.below)
        return enough and small and value == value  # and no NaN

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            low = f"{self.low} (excluded)" if self.above else f"{self.low}"
            return f"within {low} and {self.high}{' (excluded)' if self.below else ''}"
        if self.low is not None:
            return f"above {self.low}" if self.above else f"to {self.low} or more"
        return f"below {self.high}" if self.below else f"to {self.high} or less"


Count = Annotated[int, Within(1)]
Whole = Annotated[int, Within(0)]
CropSize = Annotated[int, Within(32)]  # pixels: one position of C5
Positive = Annotated[float, Within(0, above=True)]
Weight = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1)]
Portion = Annotated[float, Within(0, 1, above=True)]
Rate = Annotated[float, Within(0, 1, below=True)]
