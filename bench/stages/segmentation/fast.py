"""mmseg's models computed with less arithmetic and memory, changed from outside; parameters and their names stay.

Each step computes what mmseg's code computes, up to the rounding of float32; a part that is not built as expected is
left alone, and a note says so. An instance is changed by giving it a subclass of its class, which survives copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from torch import Tensor, nn

from bench.config.tasks import FastStep
from bench.stages.segmentation.prediction import argmax, predict_labels
from bench.stages.segmentation.psp_head import split_psp


def take_steps(model: nn.Module, steps: Sequence[FastStep]) -> list[str]:
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
        reason = predict_labels(model, of_prediction)
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


class _CountedByArgmax(BaseDecodeHead):
    """A head whose training accuracy is computed by the largest score, without sorting scores."""

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
    """Make a head compute by `_CountedByArgmax`; return why not, if it computes its loss in another way."""
    kind: Any = type(head)
    if not isinstance(head, BaseDecodeHead) or kind.loss_by_feat is not BaseDecodeHead.loss_by_feat:
        return f"{kind.__name__} computes its loss in another way"
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
    predicted = torch.stack([argmax(one) for one in scores])
    counted = labels != ignore_index if ignore_index is not None else torch.ones_like(labels, dtype=torch.bool)
    eps = torch.finfo(torch.float32).eps  # as mmseg has it, for an image all of whose pixels are ignored
    right = ((predicted == labels) & counted).sum().double()
    return (100 * (right + eps) / (counted.sum() + eps)).float()[None]
