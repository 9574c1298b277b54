"""Square patches of a batch of images, cut on their device so that no low-level trace tells where a patch lay.

Source: Doersch, Gupta and Efros, "Unsupervised Visual Representation Learning by Context Prediction" (ICCV 2015),
section 3: gaps, jitter and dropped colours; and its code, cdoersch/deepcontext, train.py:89-111 (prep_image): fewer
pixels, mean and contrast taken away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BadInput
from bench.nn import draws
from bench.nn.image_statistics import running_statistics_of


@dataclass(frozen=True)
class Grid:
    """side×side patches of size×size pixels, in the centre of an image.

    Args:
        side: patches in a row, and rows.
        size: of a patch in pixels.
        gap: pixels between neighbours; below 0 they overlap.
        jitter: each patch is moved by up to so many pixels each way, along both axes.

    Raises BadInput for a jitter that would let neighbours touch across their gap.
    """

    side: int
    size: int
    gap: int
    jitter: int = 0

    def __post_init__(self) -> None:
        if self.jitter and self.gap <= 2 * self.jitter - 1:
            raise BadInput(
                f"objective.jitter is {self.jitter} and objective.gap {self.gap}: patches could touch, and the edges "
                f"that go on from one to the next would tell where they lie; set objective.gap to {2 * self.jitter} "
                "or more."
            )

    @property
    def extent(self) -> int:
        """Side of the square that the patches take up, without jitter, in pixels."""
        return self.side * self.size + (self.side - 1) * self.gap

    def check(self, view_size: int) -> None:
        """Refuse views that the grid does not fit into, and patches smaller than one position of C5."""
        if self.size < 32:
            raise BadInput(f"objective.patch_size is {self.size}; set it to 32 pixels or more.")
        need = self.extent + 2 * self.jitter
        if view_size < need:
            raise BadInput(
                f"{self.side}×{self.side} patches of {self.size} pixels, {self.gap} apart and moved by up to "
                f"{self.jitter}, need views of {need} pixels, but view_size is {view_size}; set view_size to {need} "
                "or more, or lower objective.patch_size."
            )

    def cut(self, images: Tensor) -> Tensor:
        """Return the patches, row by row: N×3×H×H -> N×side²×3×size×size. Nothing is interpolated."""
        n, side = len(images), self.side
        index = torch.arange(side, device=images.device)
        corner = (images.shape[-1] - self.extent) // 2 + index * (self.size + self.gap)  # side
        corners = torch.cartesian_prod(corner, corner).expand(n, side * side, 2)  # N×side²×2: top, left
        if self.jitter:
            moved = draws.integers(n, side * side, 2, high=2 * self.jitter + 1, device=images.device)
            corners = corners + moved - self.jitter
        pixel = torch.arange(self.size, device=images.device)
        rows, columns = (corners[..., axis, None] + pixel for axis in (0, 1))  # N×side²×size
        image = torch.arange(n, device=images.device).view(n, 1, 1, 1)
        # N×side²×size×size×3: indexed by image, row and column, with all channels
        return images[image, :, rows[..., None], columns[:, :, None]].movedim(-1, 2)


def with_one_colour(patches: Tensor) -> Tensor:
    """Keep one colour channel of each patch, drawn at random, and put faint noise into the other two.

    Against chromatic aberration, by which a patch shows how far it lies from the lens's axis. The noise has a hundredth
    of the standard deviation of the channel that is kept, around 0, the mean of normalised images.

    Args:
        patches: N×P×3×s×s.
    """
    n, count = patches.shape[:2]
    kept = draws.integers(n, count, high=3, device=patches.device)  # N×P
    keep = F.one_hot(kept, 3).bool()[..., None, None]  # N×P×3×1×1
    spread = patches.std(dim=(3, 4), correction=0, keepdim=True).masked_fill(~keep, 0.0).sum(2, keepdim=True)
    noise = draws.normal(n, *patches.shape[1:], like=patches)
    return torch.where(keep, patches, 0.01 * spread * noise)


LOWEST = 10  # pixels of the side to which a patch is reduced at most


def reductions(size: int) -> Tensor:
    """Return matrices R_k, (size−10)×size×size: Rᵀ·X·R is X resampled to r×r pixels and back, r = 10 … size−1.

    Bilinear both times, without a filter before. Raises ValueError for patches of 10 pixels or fewer.
    """
    if size <= LOWEST:
        raise ValueError(f"patches of {size} pixels cannot be reduced to {LOWEST}")
    unit = torch.eye(size, dtype=torch.float64)[None]  # 1×size×size: each row one pixel
    fewer = [F.interpolate(unit, size=side, mode="linear") for side in range(LOWEST, size)]
    return torch.cat([F.interpolate(each, size=size, mode="linear") for each in fewer]).float()


def sometimes_reduced(patches: Tensor, matrices: Tensor, probability: float) -> Tensor:
    """Resample each patch with that probability to fewer pixels and back, each by its own draws.

    The number of pixels is uniform from 10² to (s − 1)²: how sharp a patch is says less about where it lies.

    Args:
        patches: N×P×3×s×s.
        matrices: `reductions(s)`.
        probability: 0 returns the patches themselves.
    """
    if probability == 0.0:
        return patches
    n, count, _, size, _ = patches.shape
    pixels = LOWEST**2 + ((size - 1) ** 2 - LOWEST**2) * draws.uniform(n, count, like=patches)
    side = pixels.sqrt().floor().long().clamp(LOWEST, size - 1)  # N×P
    chosen = draws.uniform(n, count, like=patches) < probability
    matrix = matrices[side - LOWEST].to(patches.dtype)[:, :, None]  # N×P×1×s×s
    with torch.autocast(patches.device.type, enabled=False):
        reduced = matrix.transpose(-1, -2) @ patches @ matrix
    return torch.where(chosen[..., None, None, None], reduced, patches)


def evened(patches: Tensor) -> Tensor:
    """Give each channel of a patch mean 0, and the patch a mean square of 1 over all its values; a flat one becomes 0.

    Against gradients of brightness across an image. Channels keep their relative contrast.

    Args:
        patches: N×P×3×s×s.
    """
    centred = patches - patches.mean(dim=(3, 4), keepdim=True)
    size = centred.square().mean(dim=(2, 3, 4), keepdim=True).sqrt()
    return torch.where(size > 1e-4, centred / size.clamp(min=1e-4), 0.0)


def each_patch(function: Callable[[Tensor], Tensor], patches: Tensor) -> Tensor:
    """Return what a function of rows returns of all patches, in one call: N×P×… -> N×P×….

    Rows are the first patch of every image, then the second …: norms over groups of images, which take rows i, i + G,
    …, have all patches of their images.
    """
    n, count = patches.shape[:2]
    return function(patches.transpose(0, 1).flatten(0, 1)).unflatten(0, (count, n)).transpose(0, 1)


def features_of(encoder: nn.Module, patches: Tensor, images: Tensor | None) -> Tensor:
    """Return the encoder's features of all patches, in one forward: N×P×3×s×s -> N×P×F.

    Args:
        encoder: N×3×h×w -> N×F.
        patches: the input with gradients.
        images: N×3×H×H, from which its running statistics are taken, in a second forward without gradient: those of
            patches, with zeros padded all around, serve a frozen trunk badly. None takes those of patches.
    """
    with running_statistics_of(images, encoder):
        return each_patch(encoder, patches)
