"""Labels from scores: resizing and arg-max a few rows at a time, without keeping scores at full resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from torch import Tensor

CHUNK = 1 << 17  # pixels whose scores are held at a time: some megabytes for 19 classes


class LabelPredictor(EncoderDecoder):
    """mmseg's segmentor that keeps labels; mmseg's keeps scores, 160 MB twice for a 1024×2048 image of 19 classes."""

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


def predict_labels(model: Any, steps: frozenset[str]) -> str | None:
    """Make an EncoderDecoder predict by `LabelPredictor`; return why not, if it predicts in another way."""
    if type(model) is not EncoderDecoder:
        return f"{type(model).__name__} is no EncoderDecoder"
    head = model.decode_head
    if not isinstance(head, BaseDecodeHead):
        return f"{type(head).__name__} is no plain head"
    for name in ("predict", "predict_by_feat"):
        if getattr(type(head), name) is not getattr(BaseDecodeHead, name):
            return f"{type(head).__name__} predicts in another way"
    if model.out_channels == 1:
        return "it has one score for two classes"
    model.__class__ = LabelPredictor
    model.steps = steps
    return None


def resized_argmax(scores: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Return the arg-max (H×W, int64) of scores 1×K×h×w resized bilinearly to H×W, a few rows at a time.

    That is done where both sides grow by a power of two, as positions are then represented exactly in float32, so that
    the values are bit for bit those of the whole resize. Otherwise the whole resize is made.
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
        part, chosen = scores[:, start : start + rows], labels[start : start + rows]
        best = part[0].clone()
        for number in range(1, count):
            better = part[number] > best
            chosen.masked_fill_(better, number)
            torch.maximum(best, part[number], out=best)
    return labels.long()
