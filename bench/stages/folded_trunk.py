"""Batch norm folded into the convolution before it: what a frozen trunk computes, in fewer passes over its maps.

In eval mode batch norm is y = γ·(x − μ)/√(σ² + ε) + β with constants, so that after a convolution x = W∗u + b it is a
convolution with the weights W·γ/√(σ² + ε) and the bias β + (b − μ)·γ/√(σ² + ε) (Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018, equation 14).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bench.nn.encoder import Encoder


class FoldedEncoder(Encoder):
    """An encoder without batch norm; made by `fold`. The pooled feature is float32, whatever type the weights have."""

    def pool(self, c5: Tensor) -> Tensor:
        """Return the mean over the positions of C5, N×D×h×w -> N×D, summed up and returned in float32 or more."""
        return c5.mean(dim=(2, 3), dtype=torch.promote_types(c5.dtype, torch.float32))


def fold(encoder: Encoder) -> FoldedEncoder:
    """Return a copy in eval mode with batch norms folded into convolutions; the encoder itself stays as it is.

    The products are taken in float64 and rounded once, so that in float32 both compute the same within rounding.

    Raises ValueError for an encoder in train mode, whose batch norms have no constants, or with a batch norm that
    follows no convolution.
    """
    if any(module.training for module in encoder.modules() if isinstance(module, _BatchNorm)):
        raise ValueError("only an encoder in eval mode can be folded")
    folded = copy.deepcopy(encoder)
    folded.__class__ = FoldedEncoder
    for module in list(folded.modules()):
        before: tuple[str, nn.Conv2d] | None = None
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                before = name, child
            elif isinstance(child, _BatchNorm):
                if before is None or before[1].out_channels != child.num_features:
                    raise ValueError(f"{name} follows no convolution that it could be folded into")
                kind = before[1].weight.dtype
                wide = fuse_conv_bn_eval(copy.deepcopy(before[1]).double(), copy.deepcopy(child).double())
                setattr(module, before[0], wide.to(kind))
                setattr(module, name, nn.Identity())
                before = None
    assert isinstance(folded, FoldedEncoder)
    return folded.requires_grad_(False).eval()
