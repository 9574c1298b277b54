"""DSM: triplets of a clip, itself spatially warped (positive), and itself in another motion (negative).

Claim:     none for frames' encoders; the paper reports action recognition with 3D networks.
Paper:     Wang et al., "Enhancing Unsupervised Video Representation Learning by Decoupling the Scene and the Motion"
           (AAAI 2021).
Equation:  loss = loss_intra + loss_inter, both triplets max(0, d(z, z⁺) − d(z, z⁻) + α), d = ‖n(z) − n(z′)‖, α = .5.
           z⁺ is the clip under a smooth spatial warp, the same for all its frames (scene and place change, motion not).
           z⁻ of loss_intra is the clip in another motion, by `negative`:
             flow   Î(x, y, t+1) = I(x + φ(t)·V_x, y + φ(t)·V_y, t), the optical flow V scaled by φ(t) in flow_scale
             shift  x̂_i = x_{i+τ}, the clip τ = shift frames later
           z⁻ of loss_inter are the other clips of the batch, warped as their own z⁺ are, over all ranks.
           z is a head's output for all T frames' features, one after another. With `gate`, features x of frames are
           first weighed by how little they change, f(δx) = exp(−|δx|/T): `consistent` x·(1 + f), `inconsistent`
           x·(2 − f), δx the difference from the frame before, T = gate_temperature.
Reference: the authors' repository for the triplets (weights 1 and 1, margin .5, unsquared distances).
Departs from it: the encoder is a ResNet of frames, so that it transfers as any other, and the head sees their order;
           embeddings are normalised; loss_inter is a mean over all other clips instead of one other by flipping the
           batch; a warp is drawn for each clip and step, by knots with cubic interpolation (there: thin-plate splines,
           drawn once an epoch). The gate has no public source: it is read from a formula.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from bench.config.setting_types import Count, Positive
from bench.data.views import Batch, View
from bench.errors import BadInput
from bench.losses.float32 import at_least_float32
from bench.losses.pairwise import triplet
from bench.nn import draws
from bench.nn.clip import Clip
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.seeding import seeded
from bench.objectives.base import Objective

KNOTS = 5  # of the warp, in each direction


@at_least_float32
def triplet_loss_of_rows(x: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Return the mean over rows of max(0, ‖x − x⁺‖ − ‖x − x⁻‖ + α): N×D each -> scalar; α where x⁻ is as near as x⁺."""
    near, far = (torch.linalg.vector_norm(x - other, dim=1) for other in (positive, negative))  # N
    return (near - far + margin).clamp(min=0.0).mean()


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


class DSM(Objective):
    """DSM: triplets of a clip, itself spatially warped (positive), and itself in another motion (negative)."""

    needs_several_for = "other clips as negatives"

    def __init__(
        self,
        encoder: Encoder,
        *,
        frames: Annotated[int, Field(ge=2)] = 8,  # motion is between frames
        stride: Count = 2,
        negative: Literal["flow", "shift"] = "flow",
        flow_scale: tuple[float, float] = (1.5, 3.0),
        shift: int = 4,
        warp: float = 0.1,
        margin: float = 0.5,
        gate: Literal["none", "consistent", "inconsistent"] = "none",
        gate_temperature: Positive = 1.0,
        hidden_dim: Count = 512,
        projection_dim: Count = 128,
    ) -> None:
        super().__init__(encoder)
        if negative == "shift" and shift < 1:
            raise BadInput(f"objective.shift is {shift}; set it to 1 frame or more.")
        self.frames, self.stride, self.negative, self.shift = frames, stride, negative, shift
        self.flow_scale, self.warp, self.margin = flow_scale, warp, margin
        self.gate, self.gate_temperature = gate, gate_temperature
        with seeded(encoder.seed, "heads"):
            self.clip_head = projection_mlp((frames * encoder.feature_dim, hidden_dim, projection_dim))

    def video(self) -> Clip:
        """As many frames as it embeds, and for `shift` those after them."""
        later = self.shift if self.negative == "shift" else 0
        return Clip(self.frames + later, self.stride, flow=self.negative == "flow")

    def views(self, size: int) -> tuple[View, ...]:
        """One view: crop, flip and colours, for all frames alike."""
        return (View(size=size, scale=(0.4, 1.0), interpolation="bilinear", jitter=(0.4, 0.4, 0.4, 0.1), blur=0.0),)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_intra, loss_inter."""
        window, t = batch.views[0], self.frames  # N×W×3×h×w
        n, clips = len(window), window[:, :t]  # N×T×3×h×w
        warped = spatial_warp(clips, draws.uniform(n, 2, KNOTS, KNOTS, like=clips), self.warp)
        if self.negative == "flow":
            assert batch.flows is not None
            low, high = self.flow_scale
            factors = low + (high - low) * draws.uniform(n, t - 1, like=clips)
            moved = scaled_flow(clips, batch.flows[0], factors)
        else:
            moved = window[:, self.shift : self.shift + t]
        z, positive, negative = self._embed(clips), self._embed(warped), self._embed(moved)  # N×D
        intra = triplet_loss_of_rows(z, positive, negative, self.margin)
        inter = triplet(z, gather(positive), self.margin, squared=False, mining="all", first=rank() * n)
        return {"loss": intra + inter, "loss_intra": intra.detach(), "loss_inter": inter.detach()}

    def _embed(self, clips: Tensor) -> Tensor:
        """N×T×3×h×w -> unit vectors N×D."""
        x = self.encoder(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])  # N×T×F
        if self.gate != "none":
            x = motion_gate(x, self.gate_temperature, consistent=self.gate == "consistent")
        return F.normalize(self.clip_head(x.flatten(1)), dim=1)
