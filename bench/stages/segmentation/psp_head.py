"""PSPNet's head without upsampled maps: the same numbers up to the rounding of float32, by half of the arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import PSPHead
from mmseg.models.decode_heads.psp_head import PPM
from torch import Tensor, nn


class SplitPSPHead(PSPHead):
    """PSPNet's head (Zhao et al. 2017) without the upsampled maps.

    mmseg's head pools the map x (N×C×H×W) to s×s for each scale s, upsamples the results bilinearly to H×W and feeds
    the concatenation to a 3×3 convolution, half of whose arithmetic goes to the upsampled maps. Convolution and
    upsampling are linear. So the kernel's nine taps are applied to the s×s maps, and the outcome is interpolated, each
    tap with its shift and with zeros beyond the border: out = K*x + Σ_s Σ_ab U_a (P_s·K_ab) U_bᵀ, where U_a is the
    matrix of bilinear interpolation along one side, shifted by the tap's offset.
    """

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return what the classifying layer reads, N×channels×H×W."""
        x = self._transform_inputs(inputs)
        conv = self.bottleneck.conv
        maps = pyramid(x, [block[0].output_size for block in self.psp_modules])
        maps = [block[1](pooled) for block, pooled in zip(self.psp_modules, maps, strict=True)]
        of_x, of_maps = conv.weight.split([x.shape[1], sum(m.shape[1] for m in maps)], dim=1)
        y = F.conv2d(x, of_x, conv.bias, padding=1)
        y = add_interpolated(y, maps, of_maps, self.align_corners)
        if self.bottleneck.with_norm:
            y = self.bottleneck.norm(y)
        return self.bottleneck.activate(y) if self.bottleneck.with_activation else y


def split_psp(head: Any) -> str | None:
    """Make a PSPHead compute by `SplitPSPHead`; return why not, if it is built in another way than expected."""
    if type(head) is not PSPHead:
        return f"{type(head).__name__} is no PSPHead"
    pools, blocks = head.psp_modules, list(head.psp_modules)
    known = type(pools) is PPM and all(
        type(block) is nn.Sequential
        and len(block) == 2
        and type(block[0]) is nn.AdaptiveAvgPool2d
        and isinstance(block[0].output_size, int)
        for block in blocks
    )
    if not known:
        return "its pyramid is not four poolings with a convolution each"
    conv = head.bottleneck.conv
    plain = (
        type(head.bottleneck) is ConvModule
        and type(conv) is nn.Conv2d
        and (conv.kernel_size, conv.padding, conv.stride, conv.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        and (conv.groups, conv.padding_mode) == (1, "zeros")
        and head.bottleneck.order == ("conv", "norm", "act")
        and not head.bottleneck.with_explicit_padding
        and not head.bottleneck.with_spectral_norm
    )
    if not plain:
        return "its bottleneck is not a plain 3×3 convolution"
    head.__class__ = SplitPSPHead
    return None


def pyramid(x: Tensor, sides: Sequence[int]) -> list[Tensor]:
    """Return `adaptive_avg_pool2d(x, s)` for each s, reading the map x (N×C×H×W) once instead of once for each.

    Sums along W for all scales at once, then along H, both as matrix products; divided by the area in float32.
    """
    height, width = x.shape[-2:]
    dtype = torch.promote_types(x.dtype, torch.float32)
    columns = torch.cat([_bins(s, width, x.dtype, x.device) for s in sides])  # Σs×W, of 0 and 1
    last = _channels_last(x)
    with torch.autocast(x.device.type, enabled=False):
        sums = columns @ x.permute(0, 2, 3, 1) if last else x @ columns.T  # N×H×Σs×C, or N×C×H×Σs
        pooled = []
        for s, part in zip(sides, sums.split(list(sides), dim=2 if last else 3), strict=True):
            rows = _bins(s, height, dtype, x.device)
            area = rows.sum(1)[:, None] * _bins(s, width, dtype, x.device).sum(1)  # s×s
            if last:
                y = (rows @ part.to(dtype).flatten(2)).unflatten(2, (s, -1)) / area[..., None]
                y = y.permute(0, 3, 1, 2)
            else:
                y = rows @ part.to(dtype) / area
            pooled.append(y.to(x.dtype))
    return pooled


def add_interpolated(y: Tensor, maps: Sequence[Tensor], weight: Tensor, align_corners: bool) -> Tensor:
    """Return y + conv3×3(concatenation of the maps, each resized to y's size), padded with zeros.

    Args:
        y: N×O×H×W.
        maps: each N×C×s×s, with a C and an s of its own.
        weight: O×ΣC×3×3.
        align_corners: as in `torch.nn.functional.interpolate`, mode "bilinear".
    """
    count, outs, height, width = y.shape
    last = _channels_last(y)
    rows, parts = [], []
    with torch.autocast(y.device.type, enabled=False):  # little arithmetic, and weights of interpolation need bits
        dtype = torch.promote_types(y.dtype, torch.float32)
        for p, w in zip(maps, weight.split([p.shape[1] for p in maps], dim=1), strict=True):
            tall, wide = p.shape[-2:]
            taps = p.to(dtype).permute(0, 2, 3, 1).flatten(0, 2) @ w.to(dtype).permute(0, 2, 3, 1).flatten(0, 2).T
            taps = taps.view(count, tall, wide, outs, 3, 3)  # n, p, q, o, a, b
            across = _taps(wide, width, align_corners, dtype, y.device)  # W×3q
            if last:
                parts.append(across @ taps.permute(0, 4, 1, 5, 2, 3).reshape(count, 3 * tall, 3 * wide, outs))
            else:
                parts.append(taps.permute(0, 3, 4, 1, 5, 2).reshape(count, outs, 3 * tall, 3 * wide) @ across.T)
            rows.append(_taps(tall, height, align_corners, dtype, y.device))
        down = torch.cat(rows, dim=1)  # H×Σ3p
        if last:
            flat = torch.cat(parts, dim=1).flatten(2)  # N×Σ3p×(W·O)
            plain = y.permute(0, 2, 3, 1).flatten(2)
            if y.dtype == dtype:
                total = torch.baddbmm(plain, down.expand(count, -1, -1), flat)
            else:
                total = (plain + down @ flat).to(y.dtype)
            return total.unflatten(2, (width, outs)).permute(0, 3, 1, 2)
        return (y + down @ torch.cat(parts, dim=2)).to(y.dtype)


@cache
def _bins(bins: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return bins×size of 0 and 1: which positions adaptive average pooling puts into which bin."""
    b, position = torch.arange(bins)[:, None], torch.arange(size)
    start, end = b * size // bins, -(-(b + 1) * size // bins)
    return ((position >= start) & (position < end)).to(device, dtype)


@cache
def _taps(points: int, size: int, align_corners: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return size×(3·points): bilinear interpolation along one side at the positions i − 1, i, i + 1 of a 3-kernel.

    Positions outside of 0 … size − 1 are padding: their rows are 0.
    """
    unit = torch.eye(points, dtype=dtype)[None, :, :, None]  # a channel for each point
    matrix = F.interpolate(unit, (size, 1), mode="bilinear", align_corners=align_corners)[0, :, :, 0].T
    padded = F.pad(matrix, (0, 0, 1, 1))
    return torch.cat([padded[a : a + size] for a in range(3)], dim=1).to(device)


def _channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
