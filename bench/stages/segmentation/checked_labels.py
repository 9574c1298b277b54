"""Label maps are looked at where mmseg reads them, which would cut them off at 8 bits without a word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from bench.data.decode import Undecodable
from bench.data.label_maps import REMEDY, strange_id, wrong_form
from bench.errors import BadInput
from bench.stages.segmentation.label_ids import LabelIdsToTrainIds


@TRANSFORMS.register_module()
class CheckLabelMap(BaseTransform):
    """Refuse a label map that `LoadAnnotations` has just read, and should not have.

    Args:
        classes: how many the network tells apart; None: another step looks at the values.
        ignored: the value that is no class.
    """

    def __init__(self, classes: int | None = None, ignored: int = 255) -> None:
        self.classes, self.ignored = classes, ignored

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the results as they are. Raises BadInput that names the file and says what is wrong with it."""
        file, labels = results.get("seg_map_path"), results["gt_seg_map"]
        if file is None:  # it is made, and not read
            return results
        shape = results.get("ori_shape")
        try:
            wrong = wrong_form(file, None if shape is None else (int(shape[1]), int(shape[0])))
        except Undecodable:  # in a form of its own, which its reader knows
            wrong = None
        if wrong is not None:
            raise BadInput(f"{file} is no label map ({wrong}); {REMEDY}.")
        strange = None if self.classes is None else strange_id(labels, self.classes, self.ignored)
        if strange is not None:
            stored = strange + 1 if results.get("reduce_zero_label") else strange
            raise BadInput(
                f"{file} holds the label {stored}, but there are {self.classes} classes; correct it, or choose a "
                "config whose heads have as many classes as the label maps; for Cityscapes, remove the "
                "*_gtFine_labelTrainIds.png, and labels are read from *_gtFine_labelIds.png."
            )
        return results


def check_label_maps(model: Any, nodes: Iterable[Any]) -> None:
    """Add `CheckLabelMap` to the pipelines of an mmseg config, after each step that reads label maps.

    Args:
        model: the config's model, whose heads say how many classes there are and which value is none.
        nodes: dictionaries of the config's loaders.
    """
    head = model.get("decode_head") or {}
    head = head[-1] if isinstance(head, list | tuple) else head
    of_values = {"classes": head.get("num_classes"), "ignored": head.get("ignore_index", 255)}
    for node in nodes:
        pipeline = node.get("pipeline")
        if not isinstance(pipeline, list | tuple):
            continue
        names = [step.get("type") for step in pipeline]
        converted = LabelIdsToTrainIds.__name__ in names  # which refuses what is no label id
        steps: list[Any] = []
        for name, step in zip(names, pipeline, strict=True):
            steps.append(step)
            if name in {"LoadAnnotations", "mmseg.LoadAnnotations"}:
                steps.append({"type": CheckLabelMap.__name__, **({} if converted else of_values)})
        node["pipeline"] = steps
