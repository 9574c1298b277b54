"""What an objective asks for of a video."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import BadInput


@dataclass(frozen=True)
class Clip:
    """Frames of a video: how many, how many frames apart, and between which the optical flow is wanted.

    `flow` is for all views (True), none, or the views of these numbers; `Batch.flows` has one tensor for each of them.
    """

    frames: int
    stride: int = 1
    flow: bool | tuple[int, ...] = False

    def __post_init__(self) -> None:
        for name in ("frames", "stride"):
            if getattr(self, name) < 1:
                raise BadInput(f"objective.{name} is {getattr(self, name)}; set it to 1 or more.")

    def flows(self, view: int) -> bool:
        """Whether the flow between the frames of a view (a number from 0 on) is wanted."""
        return self.flow if isinstance(self.flow, bool) else view in self.flow

    @property
    def span(self) -> int:
        """Frames of the video from the first to the last, both included."""
        return (self.frames - 1) * self.stride + 1
