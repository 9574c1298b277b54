"""mIoU as mmseg defines it, counted in integers and not rounded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from bench.errors import BadInput
from bench.outcomes import AreaOutcomes, names_digest


class UnroundedIoU(IoUMetric):
    """Intersections and unions are summed over the whole data set, in integers, before any ratio is taken.

    aAcc = ΣI/ΣL; IoU_c = I_c/U_c and mIoU its mean over the classes that occur in prediction or truth;
    Acc_c = I_c/L_c and mAcc its mean over the classes that occur in truth. Pixels labelled `ignore_index` count
    nowhere. mmseg rounds to two decimals and sums in float32, which cannot count the pixels of a large data set.

    `outcomes` has the counts of each image after the newest evaluation, on the first process alone.
    """

    outcomes: AreaOutcomes | None = None
    root = Path()  # the names of images are relative to it

    default_prefix = ""

    @staticmethod
    def intersect_and_union(
        pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (intersection, union, predicted, true) pixels per class, int64, of one H×W image."""
        truth = torch.where(label == ignore_index, -1, label.long()).flatten()
        if truth.numel() and int(truth.max()) >= num_classes:
            raise BadInput(
                f"A mask holds the label {int(truth.max())}, but there are {num_classes} classes; for Cityscapes, "
                "remove the *_gtFine_labelTrainIds.png, and labels are read from *_gtFine_labelIds.png."
            )
        # Ignored pixels have a row of their own, the first, which costs less than taking them out.
        cells = torch.add(pred_label.flatten().long() + num_classes, truth, alpha=num_classes)
        confusion = torch.bincount(cells, minlength=num_classes * (num_classes + 1)).cpu()
        confusion = confusion.reshape(num_classes + 1, num_classes)[1:]
        intersection, true, guessed = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        return intersection, true + guessed - intersection, guessed, true

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Count the pixels of some images, and keep with the counts of each its name."""
        for sample in data_samples:
            super().process(data_batch, [sample])
            self.results[-1] = (*self.results[-1], str(sample.get("img_path", "")))

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        """Return {"aAcc", "mIoU", "mAcc"} in percent and {"IoU": {class: percent, or None if it never occurs}}.

        The results are those of every image once, in their order: mmengine's sampler deals them out in turns, and its
        collecting puts them back.
        """
        columns = list(zip(*results, strict=True))
        counts = [torch.stack(column) for column in columns[:4]]
        self.outcomes = self._outcomes(counts, columns[4]) if len(columns) > 4 else None
        intersection, union, _, true = (each.sum(0).double() for each in counts)
        iou, recall = intersection / union, intersection / true  # 0/0 is nan: the class never occurs
        names = self.dataset_meta["classes"]
        return {
            "aAcc": float(100 * intersection.sum() / true.sum()),
            "mIoU": float(100 * iou.nanmean()),
            "mAcc": float(100 * recall.nanmean()),
            "IoU": {n: None if torch.isnan(v) else float(100 * v) for n, v in zip(names, iou, strict=True)},
        }

    def _outcomes(self, counts: Sequence[Tensor], files: Sequence[str]) -> AreaOutcomes:
        """Those of N images, by counts N×C: intersection, union, predicted, true."""
        intersection, _, guessed, true = (each.numpy() for each in counts)
        names = (Path(os.path.relpath(file, self.root)).as_posix() for file in files)
        classes = tuple(str(name) for name in self.dataset_meta["classes"])
        return AreaOutcomes(names_digest(names), np.ones(len(files), bool), classes, intersection, guessed, true)
