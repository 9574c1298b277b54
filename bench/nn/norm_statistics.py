"""Running statistics of an encoder's batch norms that are those of given images, exactly, without any training.

In eval mode a batch norm normalises by its running statistics. Those of an untrained network are mean 0 and variance 1,
whatever it is shown, so that its norms change nothing and each layer's scale is the product of those before it.

Here the norms are set one after another, in the order in which an image passes them: each gets the mean and the
unbiased variance of its inputs over all images and positions, while the norms before it already normalise by theirs.
Afterwards, in eval mode, what every norm makes of these images has mean 0 and variance 1 in each channel, before its
weight and bias. That is what train mode would compute if all images were one batch (Ioffe and Szegedy 2015, algorithm
1), and depends neither on their order nor on how many are passed at once, up to rounding. Averaging the statistics of
many small batches in train mode would not do: a norm would be measured on inputs that the norms before it had
normalised by other statistics than those they end with.

The inputs of one block are kept for all images: of N images of 224 pixels 3.2 MB·N for ResNet-50, 0.8 MB·N for
ResNet-18. A block is passed as often as it has norms, and once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.nn.encoder import Encoder


class _Reached(Exception):
    """Ends a forward pass at the norm whose input is wanted."""


class Moments:
    """Mean and variance of each channel over all that was added, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0  # sum of the squared distances from the mean

    def add(self, x: Tensor) -> None:
        """Add values N×C×…; their squares are taken around their own mean, so that nothing cancels."""
        over = [dim for dim in range(x.dim()) if dim != 1]
        variance, mean = (one.double() for one in torch.var_mean(x, over, correction=0))
        count = x.numel() // x.shape[1]
        total, shift = self.count + count, mean - self.mean
        self.mean = self.mean + shift * (count / total)
        self.squares = self.squares + variance * count + shift.square() * (self.count * count / total)
        self.count = total

    def put_into(self, norm: _BatchNorm) -> None:
        """Make these the running statistics of a norm, the variance unbiased, as training has it."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        norm.running_mean.copy_(torch.as_tensor(self.mean))
        norm.running_var.copy_(torch.as_tensor(self.squares) / max(1, self.count - 1))
        norm.num_batches_tracked.fill_(1)


@torch.no_grad()
def set_statistics(encoder: Encoder, batches: Iterable[Tensor]) -> int:
    """Give the encoder's batch norms the statistics of all images in `batches`, N×3×H×W each; return how many they are.

    Its other tensors and its mode stay.
    """
    training = encoder.training
    encoder.eval()
    maps = [images for images in batches if len(images)]
    count = sum(map(len, maps))
    if count:
        for part in _parts(encoder):
            for norm in (module for module in part.modules() if isinstance(module, _BatchNorm)):
                _inputs_of(norm, part, maps).put_into(norm)
            for i, x in enumerate(maps):  # one by one, so that both are in memory for one batch alone
                maps[i] = part(x)
    encoder.train(training)
    return count


def _parts(encoder: Encoder) -> list[nn.Module]:
    """What an image passes one after another; in each the norms are listed in the order of passing."""
    stem = nn.Sequential(encoder.conv1, encoder.bn1, encoder.relu, encoder.maxpool)
    return [stem, *encoder.layer1, *encoder.layer2, *encoder.layer3, *encoder.layer4]


def _inputs_of(norm: _BatchNorm, part: nn.Module, maps: Sequence[Tensor]) -> Moments:
    """What a norm is given in all passes of `maps` through a part."""
    moments = Moments()

    def stop(_norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        moments.add(given[0])
        raise _Reached

    with norm.register_forward_pre_hook(stop):
        for x in maps:
            try:
                part(x)
            except _Reached:
                continue
    return moments
