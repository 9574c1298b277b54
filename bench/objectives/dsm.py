"""DSM: triplets of a warped clip, itself with other colours (positive), and itself in another motion (negative).

Claim:     none for frames' encoders. The authors' README has 70.7 % on UCF-101 and 48.5 % on HMDB-51 for these
           triplets, of an I3D that is pretrained on UCF-101 and fine-tuned.
Paper:     Wang et al., "Enhancing Unsupervised Video Representation Learning by Decoupling the Scene and the Motion"
           (AAAI 2021).
Equation:  loss = loss_intra + loss_inter, both triplets max(0, d(a, p) − d(a, n) + α), d = ‖a − p‖ of unit vectors,
           α = .5. Anchor a, positive p and negative n are drawn from a video each by itself: crop and colours.
           a is under a smooth spatial warp, the same for all its frames (scene and place change, motion does not).
           p shows the same frames. n shows them in another motion, by `negative`:
             flow   Î(x, y, t+1) = I(x + φ(t)·V_x, y + φ(t)·V_y, t), the optical flow V scaled by φ(t) in flow_scale
             shift  x̂_i = x_{i+τ}, the clip τ = shift frames later
           loss_intra has a video's own n, loss_inter those of the other videos of the batch, over all ranks.
           Embeddings are a head's output for all T frames' features, one after another. With `gate`, features x of
           frames are first weighed by how little they change, f(δx) = exp(−|δx|/T): `consistent` x·(1 + f),
           `inconsistent` x·(2 − f), δx the difference from the frame before, T = gate_temperature.
Reference: FingerRec/DSM-decoupling-scene-motion: `train_dsm_triplet`, src/pt.py:194-263 (weights 1 and 1, margin .5,
           unsquared distances, which clip has which role); three draws, src/data/dataset.py:466-468; what is drawn,
           src/data/config.py:65-76; unit vectors, src/model/r3d.py:149-154. Its other method, `dsm`, contrasts the same
           clips by a queue.
Departs from it: the encoder is a ResNet of frames, so that it transfers as any other, and the head sees their order,
           with a hidden layer and a norm (there: a linear layer). loss_inter is a mean over all other videos instead of
           one, by flipping the batch. The three clips of a batch pass the network together (there: three forwards):
           with a forward for each role, norms could tell negatives from the rest by their batch. A warp is drawn for
           each clip and step, by 5×5 knots with cubic interpolation that go as far as those of the authors' thin-plate
           splines (.1 of half a side, src/augment/warpping/video_warpping_api.py:51-53), which their code does not
           call: it moves one to three spots by up to 10 pixels (gen_positive.py:21-37, spatial_wrap.py:115-130).
           `flow` and `shift` are the paper's; in the code the negative of a triplet is another stretch of the video.
           Clips are not turned (there: by up to 10 degrees), and all four steps of the colour jitter are done (there
           the last of them alone, by an assignment in a loop: video_transform_PIL_or_np.py:372-374). How far
           flow_scale goes is our choice. The gate has no public source: it is read from a formula.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from bench.config.setting_types import Count, Positive
from bench.data.views import SQUARE_VIEW, Batch, View
from bench.errors import BadInput
from bench.losses.float32 import at_least_float32
from bench.losses.pairwise import distances
from bench.nn import draws
from bench.nn.clip import Clip
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.seeding import seeded
from bench.objectives.base import Objective

KNOTS = 5  # of the warp, in each direction


@at_least_float32
def triplet_losses(anchor: Tensor, positive: Tensor, negatives: Tensor, margin: float, first: int = 0) -> Tensor:
    """Return intra and inter, means of the hinges max(0, d(a_i, p_i) − d(a_i, n_j) + α) over j = i and over j ≠ i.

    Args:
        anchor, positive: n×D.
        negatives: N×D, all ranks'.
        margin: α, which a hinge is where the negative is as near as the positive.
        first: the row of `negatives` that belongs to the first anchor.
    """
    near = torch.linalg.vector_norm(anchor - positive, dim=1)  # n
    hinges = (near[:, None] - distances(anchor, negatives) + margin).clamp(min=0.0)  # n×N
    own = hinges.diagonal(first)[: len(anchor)].sum()
    return torch.stack([own / len(anchor), (hinges.sum() - own) / (len(anchor) * (len(negatives) - 1))])


@torch.no_grad()
def nearer_percent(anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Return of how many anchors, in percent, the positive is nearer than the negative: n×D each -> scalar."""
    near, far = (torch.linalg.vector_norm((anchor - other).float(), dim=1) for other in (positive, negative))
    return 100.0 * (near < far).float().mean()


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
    """Return clips whose motion is φ times as fast: each frame is the one before it, moved along φ(t)·V.

    All frames are made so, and as blurred by it as any other: none is left as it was.

    Args:
        clips: N×(T+1)×3×h×w.
        flows: N×T×2×h×w, V from frame t to t + 1 in pixels.
        factors: N×T, φ.

    Returns: N×T×3×h×w, of frames 1 to T.
    """
    n, t = flows.shape[:2]
    way = -(factors[:, :, None, None, None] * flows)  # a pixel of the new frame looks back to where it came from
    return sampled(clips[:, :-1].flatten(0, 1), way.flatten(0, 1).to(clips.dtype)).unflatten(0, (n, t))


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
    """DSM: triplets of a warped clip, itself with other colours (positive), and itself in another motion (negative)."""

    needs_several_for = "other clips as negatives"
    definition: ClassVar[int] = 2  # since its three clips are drawn each by itself, with the authors' roles

    def __init__(
        self,
        encoder: Encoder,
        *,
        frames: Annotated[int, Field(ge=2)] = 8,  # motion is between frames
        stride: Count = 2,
        negative: Literal["flow", "shift"] = "flow",
        flow_scale: tuple[float, float] = (1.5, 3.0),
        shift: int = 4,
        warp: float = 0.05,
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
        """As many frames as it embeds, and for `shift` those after them; for `flow` one before, and its flow."""
        if self.negative == "shift":
            return Clip(self.frames + self.shift, self.stride)
        return Clip(self.frames + 1, self.stride, flow=(2,))

    def views(self, size: int) -> tuple[View, ...]:
        """Anchor, positive and negative, each drawn by itself: colours, and a square of 224 of 256 pixels; no flip.

        Source: src/data/config.py:65-76: frames of a short side of 256 pixels, crops of 224.
        """
        jitter = (0.5, 0.5, 0.25, 0.5)
        return (replace(SQUARE_VIEW(size, 224 / 256, flip=0.0), jitter=jitter, jitter_p=1.0),) * 3

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_intra, loss_inter, top1_percent (of the positive and the clip's own negative)."""
        anchor, positive, negative = batch.views  # N×W×3×h×w each
        n, t = len(anchor), self.frames
        if self.negative == "flow":
            assert batch.flows is not None
            (flows,) = batch.flows  # the negative's
            anchor, positive = anchor[:, 1:], positive[:, 1:]
            low, high = self.flow_scale
            negative = scaled_flow(negative, flows, low + (high - low) * draws.uniform(n, t, like=negative))
        else:
            anchor, positive, negative = anchor[:, :t], positive[:, :t], negative[:, self.shift :]
        anchor = spatial_warp(anchor, draws.uniform(n, 2, KNOTS, KNOTS, like=anchor), self.warp)
        z, z_positive, z_negative = self._embed(torch.cat([anchor, positive, negative])).chunk(3)  # N×D each
        intra, inter = triplet_losses(z, z_positive, gather(z_negative), self.margin, first=rank() * n)
        return {
            "loss": intra + inter,
            "loss_intra": intra.detach(),
            "loss_inter": inter.detach(),
            "top1_percent": nearer_percent(z, z_positive, z_negative),
        }

    def _embed(self, clips: Tensor) -> Tensor:
        """N×T×3×h×w -> unit vectors N×D."""
        x = self.encoder(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])  # N×T×F
        if self.gate != "none":
            x = motion_gate(x, self.gate_temperature, consistent=self.gate == "consistent")
        return F.normalize(self.clip_head(x.flatten(1)), dim=1)
