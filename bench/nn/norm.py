"""Batch norm over the batches of all ranks, on CUDA (by torch's layer) and on the CPU, where torch has none.

Source: Ioffe and Szegedy 2015, with mean and variance over the global batch; as torch.nn.SyncBatchNorm, whose
state-dict keys it shares with BatchNorm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.nn.collectives import sum_over_ranks, world


class GlobalBatchNorm(_BatchNorm):
    """Batch norm with the statistics of all ranks' batches, for any device with a process group.

    Plain batch norm in eval mode and in a single process. Ranks may have batches of different size.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected a tensor N×C×…, got one of {input.dim()} dimension(s)")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise N×C×…; the result has the input's type, statistics are computed in float32 or more."""
        if not self.training or world() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        x = input if input.dtype == torch.float64 else input.float()
        over = [dim for dim in range(x.dim()) if dim != 1]
        shape = [1, -1, *([1] * (x.dim() - 2))]
        positions = x.new_full((1,), x.numel() / x.shape[1])  # of this rank, for each channel
        sums = sum_over_ranks(torch.cat([x.sum(over), positions]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = x - mean.view(shape)
        # A second pass for the variance: E[x²] − E[x]² would cancel where the mean is large.
        variance = sum_over_ranks(centred.square().sum(over)) / count
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach(), count)
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Update the running statistics (with the unbiased variance, as torch has it)."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)


def convert_sync_batchnorm(module: nn.Module, device_type: str) -> nn.Module:
    """Replace every batch norm in `module` by one over all ranks; returns the module, or its replacement.

    `cuda` gets torch.nn.SyncBatchNorm, any other device GlobalBatchNorm. Parameters and buffers are the same
    tensors, the keys of the state dict stay, and so does each layer's mode.
    """
    if device_type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    if isinstance(module, _BatchNorm):
        return module if isinstance(module, GlobalBatchNorm) else _global(module)
    for name, child in module.named_children():
        replacement = convert_sync_batchnorm(child, device_type)
        if replacement is not child:
            setattr(module, name, replacement)
    return module


def _global(norm: _BatchNorm) -> GlobalBatchNorm:
    new = GlobalBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    new.weight, new.bias = norm.weight, norm.bias
    new.running_mean, new.running_var = norm.running_mean, norm.running_var
    new.num_batches_tracked = norm.num_batches_tracked
    return new.train(norm.training)
