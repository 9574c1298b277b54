"""A batch of views: moved to a device in uint8, and normalised there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bench.nn.colour import MEAN, STD


class PendingViews(Protocol):
    """Images of a batch whose views are still to be made, on the device where they are wanted."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PendingViews:
        """Return them on a device."""

    def pin_memory(self) -> PendingViews:
        """Return them in page-locked memory."""

    def views(self) -> list[Tensor]:
        """Return one tensor N×3×h×w uint8 for each view."""


@dataclass
class Batch:
    """What an objective gets.

    `views` has one tensor N×3×h×w for each view (a view with `count` 4 has four). They are uint8 as a loader yields
    them, and float32, normalised with ImageNet's mean and standard deviation, once `to` has moved them: a quarter is
    copied between processes and to the device. Where `pending` is given, `to` makes the views from it
    on the device first. `boxes` says for each view where it lies: N×5 float32 of (x0, y0, x1, y1, flipped), in
    [0, 1] of the image's width and height; in a flipped view the first column lies at x1. `labels` (or None) and
    `indices` (positions in the Index) are N int64. `skipped` counts the images that could not be read. `masks`, if
    not None, has a map N×h×w uint8 for each view, cut and flipped as the view is (see bench.data.maps). Of clips,
    views are N×T×3×h×w, and `flows` has for each view for which the objective asked so the optical flow between its
    frames, N×(T−1)×2×h×w float32 in pixels.
    """

    views: list[Tensor]
    boxes: list[Tensor]
    labels: Tensor | None
    indices: Tensor
    skipped: int = 0
    pending: PendingViews | None = None
    flows: list[Tensor] | None = None
    masks: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def to(
        self,
        device: torch.device | str,
        memory_format: torch.memory_format | None = None,
        non_blocking: bool = False,
    ) -> Batch:
        """Return the batch on a device, views normalised; `memory_format` is theirs (None: uint8 becomes contiguous).

        Views that are floating-point already are only moved.
        """
        views = self if self.pending is None else replace(self, views=self.pending.to(device, non_blocking).views())
        moved = views._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))
        return replace(moved, views=[normalised(view, memory_format) for view in moved.views], pending=None)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; torch's DataLoader calls this."""
        pending = None if self.pending is None else self.pending.pin_memory()
        return replace(self._each(Tensor.pin_memory), pending=pending)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            views=[change(view) for view in self.views],
            boxes=[change(box) for box in self.boxes],
            labels=None if self.labels is None else change(self.labels),
            indices=change(self.indices),
            flows=None if self.flows is None else [change(flow) for flow in self.flows],
            masks=None if self.masks is None else [change(mask) for mask in self.masks],
        )


def stack(pixels: Sequence[np.ndarray]) -> Tensor:
    """Return h×w×3 uint8 arrays as one tensor N×3×h×w uint8, channels last in memory: one copy.

    Clips T×h×w×3 become N×T×3×h×w.
    """
    return torch.from_numpy(np.stack(pixels)).movedim(-1, -3)


def normalised(images: Tensor, memory_format: torch.memory_format | None = None) -> Tensor:
    """Return N×3×h×w uint8 as float32, minus ImageNet's mean, by its standard deviation; floats stay as they are.

    Args:
        images: on any device.
        memory_format: of the result; None leaves floats as they are and makes uint8 contiguous.
    """
    if images.dim() == 5:  # clips N×T×3×h×w: as many images
        return normalised(images.flatten(0, 1), memory_format).unflatten(0, images.shape[:2])
    if images.dtype != torch.uint8:
        return images if memory_format is None else images.to(memory_format=memory_format)
    pixels = images.to(torch.float32, memory_format=memory_format or torch.contiguous_format)
    mean, std = (torch.tensor(values, device="cpu").view(1, 3, 1, 1) for values in (MEAN, STD))
    mean, std = (value.to(images.device, non_blocking=True) for value in (mean, std))
    return pixels.div_(255).sub_(mean).div_(std)
