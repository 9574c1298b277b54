"""What an objective of videos asks for, and what it does to frames on the device.

Source: the disturbances of Wang et al., "Enhancing Unsupervised Video Representation Learning by Decoupling the Scene
and the Motion" (DSM, AAAI 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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


def sampled(images: Tensor, shift: Tensor) -> Tensor:
    """Return images as seen when each pixel looks `shift` pixels to the right and down: bilinear, edges repeated.

    Args:
        images: M×3×h×w.
        shift: M×2×h×w, (x, y) in pixels.
    """
    h, w = images.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(h, device=images.device, dtype=images.dtype),
        torch.arange(w, device=images.device, dtype=images.dtype),
        indexing="ij",
    )
    place = torch.stack([(x + shift[:, 0]) * 2 / (w - 1) - 1, (y + shift[:, 1]) * 2 / (h - 1) - 1], dim=-1)  # M×h×w×2
    return F.grid_sample(images, place, mode="bilinear", padding_mode="border", align_corners=True)


def spatial_warp(clips: Tensor, draws: Tensor, strength: float = 0.1) -> Tensor:
    """Return clips warped smoothly, all frames of a clip alike: what is where changes, how it moves does not.

    Args:
        clips: N×T×3×h×w.
        draws: N×2×k×k in [0, 1): how far the k×k knots go, 0.5 being nowhere.
        strength: the farthest way in shares of the image's side.
    """
    n, t, _, h, w = clips.shape
    size = torch.tensor([w, h], device=clips.device, dtype=clips.dtype).view(1, 2, 1, 1)
    knots = (2 * draws - 1) * strength * size
    shift = F.interpolate(knots, size=(h, w), mode="bicubic", align_corners=True)  # N×2×h×w
    return sampled(clips.flatten(0, 1), shift.repeat_interleave(t, dim=0)).unflatten(0, (n, t))


def scaled_flow(clips: Tensor, flows: Tensor, factors: Tensor) -> Tensor:
    """Return clips whose motion is φ times as fast: frame t + 1 is frame t, moved along φ(t)·V; frame 0 stays.

    Args:
        clips: N×T×3×h×w.
        flows: N×(T−1)×2×h×w, V from frame t to t + 1 in pixels.
        factors: N×(T−1), φ.
    """
    n, t = clips.shape[:2]
    way = -(factors[:, :, None, None, None] * flows)  # a pixel of the new frame looks back to where it came from
    moved = sampled(clips[:, :-1].flatten(0, 1), way.flatten(0, 1).to(clips.dtype)).unflatten(0, (n, t - 1))
    return torch.cat([clips[:, :1], moved], dim=1)


def motion_gate(x: Tensor, temperature: float, consistent: bool) -> Tensor:
    """Return features of frames weighed by how little they change: x·(1 + f) or x·(2 − f), f = exp(−|δx|/T).

    δx is the difference of a frame's features from those of the frame before (0 for the first). f is 1 where nothing
    changes and goes to 0 for large changes; so `consistent` doubles what stays, and its opposite what changes.

    Args:
        x: N×T×D.
        temperature: T; for T → ∞ the gate is 1 everywhere.
        consistent: which of the two.
    """
    change = torch.cat([torch.zeros_like(x[:, :1]), x[:, 1:] - x[:, :-1]], dim=1)
    f = torch.exp(-change.abs() / temperature)
    return x * (1 + f) if consistent else x * (2 - f)
