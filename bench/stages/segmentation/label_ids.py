"""Cityscapes as it is unpacked: label maps of ids, made train ids as they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from bench.data.sets.cityscapes import LABEL_IDS_END, label_end, to_train_ids
from bench.errors import BadInput


@TRANSFORMS.register_module()
class LabelIdsToTrainIds(BaseTransform):
    """Replace the label ids that `LoadAnnotations` read by train ids. Raises BadInput for what is no label id."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the results with `gt_seg_map` (H×W uint8) of train ids."""
        try:
            results["gt_seg_map"] = to_train_ids(results["gt_seg_map"])
        except ValueError as error:
            raise BadInput(
                f"{results['seg_map_path']} cannot be read as label ids: {error}; unpack gtFine anew."
            ) from error
        return results


def read_label_ids(dataset: Any, root: Path) -> None:
    """Change the settings of an mmseg CityscapesDataset in place where a split has label ids and no train ids.

    Nothing is changed for another kind of data set, nor where the settings name a suffix of their own.
    """
    folder = (dataset.get("data_prefix") or {}).get("seg_map_path")
    if dataset.get("type") != "CityscapesDataset" or folder is None or dataset.get("seg_map_suffix") is not None:
        return
    if label_end(root / folder) != LABEL_IDS_END:
        return
    dataset["seg_map_suffix"] = LABEL_IDS_END
    steps: list[Any] = []
    for step in dataset["pipeline"]:
        steps.append(step)
        if step.get("type") == "LoadAnnotations":
            steps.append({"type": LabelIdsToTrainIds.__name__})
    dataset["pipeline"] = steps
