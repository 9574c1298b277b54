"""Batch norm whose statistics are of other images than those of one process: of several processes', or of a part.

Source: Ioffe and Szegedy 2015. Over several processes as torch.nn.SyncBatchNorm, whose state-dict keys it shares with
BatchNorm; over a part of a process's images as on a machine that has these alone.

Running statistics move once in each forward, by the mean over all groups. What the other groups of this process do is
averaged here, what those of other processes do by `average_statistics`; that is exact, since they move linearly. (With
DistributedDataParallel's defaults, as in MoCo's code, they are those of one group, the first process's: noisier, with
the same mean.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.nn.collectives import group_of, sum_over_ranks, world


class _TrackingNorm(_BatchNorm):
    """What the two below share: any number of dimensions, and running statistics."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected a tensor N×C×…, got one of {input.dim()} dimension(s)")

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased: Tensor) -> None:
        """Move the running statistics towards a mean C and an unbiased variance C."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


class GlobalBatchNorm(_TrackingNorm):
    """Batch norm with the statistics of all ranks' batches, or of a group's, for any device with a process group.

    Plain batch norm in eval mode and in a single process. Ranks may have batches of different size.
    """

    group: Any = None  # a process group; None: all ranks

    def forward(self, input: Tensor) -> Tensor:
        """Normalise N×C×…; the result has the input's type, statistics are computed in float32 or more."""
        if not self.training or world() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        x = input if input.dtype == torch.float64 else input.float()
        over = [dim for dim in range(x.dim()) if dim != 1]
        shape = [1, -1, *([1] * (x.dim() - 2))]
        positions = x.new_full((1,), x.numel() / x.shape[1])  # of this rank, for each channel
        sums = sum_over_ranks(torch.cat([x.sum(over), positions]), self.group)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = x - mean.view(shape)
        # A second pass for the variance: E[x²] − E[x]² would cancel where the mean is large.
        variance = sum_over_ranks(centred.square().sum(over), self.group) / count
        if self.track_running_stats:
            self._track(mean.detach(), (variance * count / (count - 1)).detach())
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)


class PartBatchNorm(_TrackingNorm):
    """Batch norm with statistics of its own for each of P parts of the rows: part i has the rows i, i + P, ….

    Where rows are N images, or several views of them one after another, a part has the same images of each view. Plain
    batch norm in eval mode.
    """

    parts: int = 1

    def forward(self, input: Tensor) -> Tensor:
        """Normalise N×C×…, N a multiple of the parts."""
        if not self.training or self.parts == 1:
            return super().forward(input)
        self._check_input_dim(input)
        if len(input) % self.parts:
            raise ValueError(f"{len(input)} rows do not fall into {self.parts} parts")
        # torch moves these all of the way: afterwards they are the statistics of each part.
        means, variances = self.running_mean, self.running_var
        if means is not None and variances is not None:
            means, variances = means.new_zeros(self.parts, len(means)), variances.new_zeros(self.parts, len(variances))
        if input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous():
            y = self._one_by_one(input, means, variances)
        else:
            y = self._as_channels(input, means, variances)
        if means is not None and variances is not None:
            self._track(means.mean(0), variances.mean(0))
        return y

    def _as_channels(self, input: Tensor, means: Tensor | None, variances: Tensor | None) -> Tensor:
        """One norm over P·C channels: N×C×… is N/P×(P·C)×… in the same memory."""
        wide = input.contiguous().unflatten(0, (-1, self.parts)).flatten(1, 2)
        mean, variance, weight, bias = (
            None if one is None else one.flatten() if one.dim() == 2 else one.repeat(self.parts)
            for one in (means, variances, self.weight, self.bias)
        )
        return F.batch_norm(wide, mean, variance, weight, bias, True, 1.0, self.eps).view_as(input)

    def _one_by_one(self, input: Tensor, means: Tensor | None, variances: Tensor | None) -> Tensor:
        """One norm for each part, for images in the channels-last format, which the result has, too."""
        done = [
            F.batch_norm(
                input[i :: self.parts],
                None if means is None else means[i],
                None if variances is None else variances[i],
                self.weight,
                self.bias,
                training=True,
                momentum=1.0,
                eps=self.eps,
            ).permute(0, 2, 3, 1)
            for i in range(self.parts)
        ]  # P of N/P×H×W×C
        return torch.stack(done, 1).flatten(0, 1).permute(0, 3, 1, 2)


def convert_norms(module: nn.Module, device_type: str, parts: int = 1, processes: int = 1) -> nn.Module:
    """Let every batch norm in `module` have groups of other images; returns the module, or its replacement.

    Args:
        module: whose parameters and buffers stay the same tensors, with the keys and each layer's mode.
        device_type: `cuda` gets torch.nn.SyncBatchNorm for several processes, any other GlobalBatchNorm.
        parts: groups in a process.
        processes: that share a group, all of them or every (world/processes)-th.
    """
    if processes > 1:
        return convert_sync_batchnorm(module, device_type, group_of(processes))
    return _replaced(module, lambda norm: _with(PartBatchNorm, norm, parts=parts)) if parts > 1 else module


def set_parts(module: nn.Module, parts: int) -> None:
    """Set how many parts norms that have parts have."""
    for norm in module.modules():
        if isinstance(norm, PartBatchNorm):
            norm.parts = parts


def convert_sync_batchnorm(module: nn.Module, device_type: str, group: Any = None) -> nn.Module:
    """Replace every batch norm in `module` by one over all ranks, or a group's; returns the module, or its replacement.

    `cuda` gets torch.nn.SyncBatchNorm, any other device GlobalBatchNorm. Parameters and buffers are the same
    tensors, the keys of the state dict stay, and so does each layer's mode.
    """
    if device_type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module, group)
    return _replaced(
        module,
        lambda norm: norm if isinstance(norm, GlobalBatchNorm) else _with(GlobalBatchNorm, norm, group=group),
    )


def _replaced(module: nn.Module, replacement: Callable[[_BatchNorm], nn.Module]) -> nn.Module:
    if isinstance(module, _BatchNorm):
        return replacement(module)
    for name, child in module.named_children():
        new = _replaced(child, replacement)
        if new is not child:
            setattr(module, name, new)
    return module


def _with(kind: type[_TrackingNorm], norm: _BatchNorm, **attributes: Any) -> _TrackingNorm:
    new = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    new.weight, new.bias = norm.weight, norm.bias
    new.running_mean, new.running_var = norm.running_mean, norm.running_var
    new.num_batches_tracked = norm.num_batches_tracked
    for name, value in attributes.items():
        setattr(new, name, value)
    return new.train(norm.training)


@torch.no_grad()
def average_statistics(module: nn.Module, mean_: Callable[[Tensor], Tensor]) -> None:
    """Replace the running statistics of all batch norms in `module` by their means over ranks, in place.

    `mean_` replaces a tensor by its mean over the ranks.
    """
    buffers = [
        buffer
        for norm in module.modules()
        if isinstance(norm, _BatchNorm) and norm.track_running_stats
        for buffer in (norm.running_mean, norm.running_var)
        if buffer is not None
    ]
    if not buffers:
        return
    flat = mean_(torch.cat(buffers))
    torch._foreach_copy_(buffers, list(flat.split([buffer.numel() for buffer in buffers])))
