"""What an objective asks for of a video."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import BadInput


@dataclass(frozen=True)
class Clip:
    """Frames of a video: how many, how many frames apart, and whether with the optical flow between them."""

    frames: int
    stride: int = 1
    flow: bool = False

    def __post_init__(self) -> None:
        for name in ("frames", "stride"):
            if getattr(self, name) < 1:
                raise BadInput(f"objective.{name} is {getattr(self, name)}; set it to 1 or more.")

    @property
    def span(self) -> int:
        """Frames of the video from the first to the last, both included."""
        return (self.frames - 1) * self.stride + 1
