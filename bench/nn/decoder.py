"""From features to images: the decoders of autoencoders and generators, and the small images they are compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BadInput
from bench.nn.colour import unnormalised


def doublings(start: int, size: int) -> int:
    """Return how often `start` is doubled to reach `size`. Raises BadInput if no doubling does."""
    times = (size // start).bit_length() - 1
    if size < start or start * 2**times != size:
        raise BadInput(
            f"An image of side {size} cannot be reached by doubling {start}; set it to {start}, {2 * start}, …"
        )
    return times


def map_decoder(in_dim: int, times: int, width: int) -> nn.Sequential:
    """Return N×in_dim×h×w -> N×3×(h·2^times)×(w·2^times), without a last non-linearity.

    Each doubling is nearest-neighbour, then a 3×3 convolution, batch norm, ReLU: unlike transposed convolutions it has
    no checkerboard (Odena et al. 2016). Channels halve each time and end at `width`.
    """
    layers: list[nn.Module] = []
    for after in [width * 2**i for i in reversed(range(times))]:
        layers += [nn.Upsample(scale_factor=2, mode="nearest"), *_block(in_dim, after, 3)]
        in_dim = after
    return nn.Sequential(*layers, nn.Conv2d(in_dim, 3, 3, padding=1))


def decoder_to_stride4(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Return a decoder of C5 (stride 32) to every fourth pixel: N×in_dim×h×w -> N×out_dim×8h×8w.

    A 1×1 convolution, three times ×2 (nearest) and a 3×3 convolution, batch norm and ReLU after each, then a 1×1
    convolution. It reads no earlier map, so that C5 must hold all it needs.
    """
    layers: list[nn.Module] = [*_block(in_dim, hidden_dim, 1)]
    for _ in range(3):
        layers += [nn.Upsample(scale_factor=2), *_block(hidden_dim, hidden_dim, 3)]
    return nn.Sequential(*layers, nn.Conv2d(hidden_dim, out_dim, 1))


def _block(before: int, after: int, kernel: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)


def vector_decoder(in_dim: int, size: int, width: int) -> nn.Sequential:
    """Return N×in_dim -> N×3×size×size: a linear layer to 4×4, then `map_decoder`.

    Raises BadInput unless size is 4 times a power of two.
    """
    times = doublings(4, size)
    start = width * 2 ** max(0, times - 1)
    return nn.Sequential(
        nn.Linear(in_dim, start * 16, bias=False),
        nn.Unflatten(1, (start, 4, 4)),
        nn.BatchNorm2d(start),
        nn.ReLU(inplace=True),
        *map_decoder(start, times, width),
    )


def small_rgb(images: Tensor, size: int) -> Tensor:
    """Return normalised images N×3×H×W as RGB in [0, 1], averaged over areas to N×3×size×size."""
    rgb = unnormalised(images)
    return rgb if rgb.shape[-1] == size else F.interpolate(rgb, size=(size, size), mode="area")
