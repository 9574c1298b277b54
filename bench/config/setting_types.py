"""Types of an objective's settings, by name: a number's range, or a rule that a pair obeys.

    temperature: Positive = 0.1                    a range by name, from below
    gamma: Annotated[float, Field(ge=1)] = 2.0     another range
    mining: Literal["hard", "all"] = "hard"        one of several words
    gate_temperature: Positive | None = None

Annotations are pydantic's. `bench.config.objective_settings` holds values against them: while a run is planned, read
from the source without torch, and again when the objective is built.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 < pair[0] <= pair[1] <= 1:
        raise ValueError("give two ascending shares of the area in (0, 1]")
    return pair


Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
CropSize = Annotated[int, Field(ge=32)]  # pixels: one position of C5
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Portion = Annotated[float, Field(gt=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
AreaRange = Annotated[tuple[float, float], AfterValidator(_ascending)]  # least and largest share of an image's area
