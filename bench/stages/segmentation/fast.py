"""mmseg's models computed with less arithmetic and memory, changed from outside; parameters and their names stay.

Each step here computes what mmseg's own code computes, up to the rounding of float32, and has a name (`FastStep` in
config/tasks.py), so that every one can be left out. A part that is not built as expected is left alone, and a note says so. An instance is changed by giving it a subclass of its class, which survives copies.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.config.tasks import FastStep

with warnings.catch_warnings():  # about optional compiled operators, which no ResNet needs
    warnings.simplefilter("ignore")
    from mmcv.cnn import ConvModule
    from mmengine.structures import PixelData
    from mmseg.models.decode_heads import PSPHead
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
    from mmseg.models.decode_heads.psp_head import PPM
    from mmseg.models.segmentors import EncoderDecoder
    from mmseg.models.utils import resize

CHUNK = 1 << 17  # pixels whose scores are held at a time: some megabytes for 19 classes


def apply(model: nn.Module, steps: Sequence[FastStep]) -> list[str]:
    """Change a model built by mmseg so that it takes the steps named (those of training and of prediction).

    Returns a sentence for each, whether it is taken or why it is not.
    """
    notes = []
    for step, change, parts in (
        ("psp_split", split_psp, ["decode_head"]),
        ("argmax_accuracy", count_by_argmax, ["decode_head", "auxiliary_head"]),
    ):
        if step in steps:
            for name, head in _heads(model, parts):
                reason = change(head)
                notes.append(f"{step}: {name} as shipped, since {reason}" if reason else f"{step}: taken by {name}")
    of_prediction = frozenset({"one_resize", "chunked_argmax"} & set(steps))
    if of_prediction:
        reason = predict_lean(model, of_prediction)
        outcome = f"as shipped, since {reason}" if reason else "taken"
        notes += [f"{step}: {outcome}" for step in sorted(of_prediction)]
    return notes


def _heads(model: nn.Module, parts: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    for part in parts:
        head = getattr(model, part, None)
        if isinstance(head, nn.ModuleList):
            yield from ((f"{part}.{number}", one) for number, one in enumerate(head))
        elif head is not None:
            yield part, head


# ------------------------------------------------------------------------------------- the pyramid of PSPNet


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


# -------------------------------------------------------------------------------------- accuracy in training


class _CountedByArgmax(BaseDecodeHead):
    """A head that finds its training accuracy by the largest score instead of sorting them."""

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Return the losses of scores N×K×h×w at the labels' resolution, and {"acc_seg": percent}."""
        labels = self._stack_batch_gt(batch_data_samples)
        scores = resize(seg_logits, size=labels.shape[2:], mode="bilinear", align_corners=self.align_corners)
        weight = None if self.sampler is None else self.sampler.sample(scores, labels)
        labels = labels.squeeze(1)
        losses: dict[str, Tensor] = {}
        terms: Any = self.loss_decode if isinstance(self.loss_decode, nn.ModuleList) else [self.loss_decode]
        for loss in terms:
            value = loss(scores, labels, weight=weight, ignore_index=self.ignore_index)
            losses[loss.loss_name] = losses[loss.loss_name] + value if loss.loss_name in losses else value
        losses["acc_seg"] = accuracy(scores.detach(), labels, self.ignore_index)
        return losses


def count_by_argmax(head: Any) -> str | None:
    """Make a head compute by `_CountedByArgmax`; return why not, if its loss is one of its own."""
    kind: Any = type(head)
    if not isinstance(head, BaseDecodeHead) or kind.loss_by_feat is not BaseDecodeHead.loss_by_feat:
        return f"{kind.__name__} computes its loss in its own way"
    if kind not in _COUNTING:
        _COUNTING[kind] = type(kind.__name__, (_CountedByArgmax, kind), {})
    head.__class__ = _COUNTING[kind]
    return None


_COUNTING: dict[Any, Any] = {}  # a class of heads -> its subclass


@torch.no_grad()
def accuracy(scores: Tensor, labels: Tensor, ignore_index: int | None) -> Tensor:
    """Return the percentage (shape [1]) of pixels not labelled `ignore_index` whose largest score is their label's.

    mmseg's accuracy takes a top-k over scores N×K×H×W, and waits for the device to count the pixels.
    """
    found = torch.stack([argmax(one) for one in scores])
    counted = labels != ignore_index if ignore_index is not None else torch.ones_like(labels, dtype=torch.bool)
    eps = torch.finfo(torch.float32).eps  # as mmseg has it, for an image all of whose pixels are ignored
    right = ((found == labels) & counted).sum().double()
    return (100 * (right + eps) / (counted.sum() + eps)).float()[None]


# ------------------------------------------------------------------------------------------------ prediction


class LeanEncoderDecoder(EncoderDecoder):
    """mmseg's segmentor that keeps labels, and no scores at full resolution.

    mmseg's resizes the scores N×K×h×w to the size of its input, then to that of the file, takes the arg-max of all and
    keeps all scores: 160 MB for each 1024×2048 image of 19 classes, twice.
    """

    steps: frozenset[str] = frozenset()
    scorer: Callable[[Tensor], Tensor] | None = None  # takes the place of `_forward`

    def predict(self, inputs: Tensor, data_samples: Any = None) -> Any:
        """Return the samples with `pred_sem_seg` (1×H×W, int64) at the size of their files; without samples, mmseg's.

        Without `one_resize`, scores that have the right size are resized all the same; without `chunked_argmax`, the
        scores of an image are held all at once.
        """
        if data_samples is None:
            return super().predict(inputs, data_samples)
        infos = [sample.metainfo for sample in data_samples]
        if self.test_cfg.get("mode", "whole") == "slide":
            scores = self.inference(inputs, infos)
            first = tuple(scores.shape[-2:])
        else:
            scores = (self.scorer or self._forward)(inputs)
            first = tuple((infos[0]["pad_shape"] if "pad_shape" in infos[0] else infos[0]["img_shape"])[:2])
        for number, (sample, info) in enumerate(zip(data_samples, infos, strict=True)):
            labels = self._labels(scores[number : number + 1], first, info)
            sample.set_data({"pred_sem_seg": PixelData(data=labels[None])})
        return data_samples

    def _labels(self, scores: Tensor, first: tuple[int, ...], info: dict[str, Any]) -> Tensor:
        """Return the labels H×W of one image from scores 1×K×h×w resized to `first`, then to the file's size."""
        left, right, top, bottom = info.get("img_padding_size", info.get("padding_size", [0] * 4))
        last = tuple(info["ori_shape"][:2])
        inner = (first[0] - top - bottom, first[1] - left - right)
        flip = info.get("flip_direction") if info.get("flip") else None
        if "one_resize" in self.steps and inner == last == first and flip is None:
            return self._resized_argmax(scores, last)  # resizing to the same size copies
        if tuple(scores.shape[-2:]) != first:
            scores = resize(scores, size=first, mode="bilinear", align_corners=self.align_corners)
        scores = scores[:, :, top : first[0] - bottom, left : first[1] - right]
        if flip is not None:
            scores = scores.flip(dims=(3,) if flip == "horizontal" else (2,))
        return self._resized_argmax(scores, last)

    def _resized_argmax(self, scores: Tensor, size: tuple[int, ...]) -> Tensor:
        if "one_resize" in self.steps and tuple(scores.shape[-2:]) == size:
            return argmax(scores[0])
        if "chunked_argmax" in self.steps:
            return resized_argmax(scores, size, self.align_corners)
        return resize(scores, size, None, "bilinear", self.align_corners, warning=False)[0].argmax(0)


def predict_lean(model: Any, steps: frozenset[str]) -> str | None:
    """Make an EncoderDecoder predict by `LeanEncoderDecoder`; return why not, if it predicts in its own way."""
    if type(model) is not EncoderDecoder:
        return f"{type(model).__name__} is no EncoderDecoder"
    head = model.decode_head
    if not isinstance(head, BaseDecodeHead):
        return f"{type(head).__name__} is no plain head"
    for name in ("predict", "predict_by_feat"):
        if getattr(type(head), name) is not getattr(BaseDecodeHead, name):
            return f"{type(head).__name__} predicts in its own way"
    if model.out_channels == 1:
        return "it has one score for two classes"
    model.__class__ = LeanEncoderDecoder
    model.steps = steps
    return None


def resized_argmax(scores: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Return the arg-max (H×W, int64) of scores 1×K×h×w resized bilinearly to H×W, a few rows at a time.

    Where both sides grow by a power of two, the values are bit for bit those of the whole resize: positions are then
    exact in float32, wherever the rows start. Otherwise the whole resize is made.
    """
    height, width = scores.shape[-2:]
    tall, wide = size
    factors = (tall / height, wide / width)
    if align_corners or not all(f >= 1 and f.is_integer() and (int(f) & (int(f) - 1)) == 0 for f in factors):
        return argmax(resize(scores, tuple(size), None, "bilinear", align_corners)[0])
    factor = int(factors[0])
    step = max(1, CHUNK // (factor * wide))
    scores = scores.contiguous()
    labels = scores.new_empty((tall, wide), dtype=torch.int64)
    for start in range(0, height, step):
        stop = min(start + step, height)
        low, high = max(start - 1, 0), min(stop + 1, height)  # rows beyond, for the interpolation at the edges
        grown = torch.ops.aten.upsample_bilinear2d(
            scores[:, :, low:high], [(high - low) * factor, wide], False, factors[0], factors[1]
        )
        labels[start * factor : stop * factor] = argmax(grown[0, :, (start - low) * factor : (stop - low) * factor])
    return labels


def argmax(scores: Tensor) -> Tensor:
    """Return `scores.argmax(0)` of K×H×W; on a CPU by comparing the classes' maps, which is several times as fast."""
    if scores.device.type != "cpu" or scores.shape[0] > 255 or scores.requires_grad:
        return scores.argmax(0)
    count, height, width = scores.shape
    labels = torch.zeros((height, width), dtype=torch.uint8)
    rows = max(1, CHUNK // width)
    for start in range(0, height, rows):
        part, found = scores[:, start : start + rows], labels[start : start + rows]
        best = part[0].clone()
        for number in range(1, count):
            better = part[number] > best
            found.masked_fill_(better, number)
            torch.maximum(best, part[number], out=best)
    return labels.long()
