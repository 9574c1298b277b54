"""An mmseg config with a task's settings laid over it; whatever the task leaves as None stays as shipped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from bench.config.config_files import dialect, find_mmseg, reads_plainly
from bench.config.mmseg_networks import check_backbone, check_training, settings_of
from bench.config.tasks import SegmentationTask
from bench.errors import BadInput, one_line
from bench.stages.segmentation.checked_labels import check_label_maps
from bench.stages.segmentation.label_ids import read_label_ids

# `_base_ = "mmseg::…"` asks for the distribution by the name that it had upstream.
MODULE2PACKAGE["mmseg"] = "onedl-mmsegmentation"


@dataclass(frozen=True)
class Plan:
    """What the stage runs, read off the adapted config."""

    config: Config
    iterations: int
    batch_size: int  # images of one iteration, over all processes
    validate_every: int  # iterations


def adapt(task: SegmentationTask, arch: str, root: Path, *, world: int, synchronise: bool) -> Plan:
    """Return the task's mmseg config, made ready for a trunk of `arch` and the data set at `root`.

    The batch is divided among `world` processes. With `synchronise` (several GPUs) SyncBN layers stay as they are; else
    they become plain batch norms.

    Raises BadInput when the config cannot take the trunk, or is not one of segmentation by iterations.
    """
    file = find_mmseg(task.config)
    try:
        if reads_plainly(file):
            config = dialect()(settings_of(file, task.overrides))
        else:
            config = dialect().fromfile(file)
            config.merge_from_dict(dict(task.overrides))
    except BadInput:
        raise
    except Exception as error:  # whatever a config's Python raises, the remedy is the same
        raise BadInput(
            f"{file} is not a readable mmseg config ({one_line(error)}); correct it, or the overrides."
        ) from error
    name = file.stem
    check_training(config, name)
    check_backbone(config, name, arch)
    _set_backbone(config.model)
    if not synchronise:
        for node in _dicts(config.model):
            if node.get("type") == "SyncBN":
                node["type"] = "BN"
    for node in _dicts([config.train_dataloader, config.val_dataloader]):
        if "data_root" in node:
            node["data_root"] = str(root)
            node["serialize_data"] = False  # a list of file names needs no packing, which takes half a second
            read_label_ids(node, root)
    check_label_maps(config.model, list(_dicts([config.train_dataloader, config.val_dataloader])))
    if task.crop is not None:
        _set_crop(config, task.crop)
    if task.scale is not None:
        for node in _dicts([config.train_dataloader, config.val_dataloader]):
            if node.get("type") in {"RandomResize", "Resize"} and node.get("scale") is not None:
                node["scale"] = task.scale
    iterations = _set_schedule(config, task)
    every = task.validate_every or int(config.train_cfg.get("val_interval", iterations))
    config.train_cfg["val_interval"] = every = min(every, iterations)
    return Plan(config, iterations, _batch_size(config, task, name, world), every)


def _set_backbone(model: Any) -> None:
    """Make the model's backbone a plain ResNet, without weights from elsewhere."""
    backbone: Any = model.backbone
    # ResNetV1c differs by its deep 3×3 stem alone; the trunk has the 7×7 stem.
    backbone["type"] = "ResNet"
    for holder in (model, backbone):
        for key in ("pretrained", "init_cfg"):
            holder.pop(key, None)


def _set_crop(config: Any, crop: tuple[int, int]) -> None:
    """Set the size of training crops, and of sliding windows (which move by two thirds) where a model is tested so."""
    config.model.data_preprocessor["size"] = crop
    for node in _dicts(config.train_dataloader):
        if node.get("type") == "RandomCrop":
            node["crop_size"] = crop
    test = config.model.get("test_cfg") or {}
    if test.get("mode") == "slide":
        test["crop_size"] = crop
        test["stride"] = tuple(max(1, side * 2 // 3) for side in crop)


def _set_schedule(config: Any, task: SegmentationTask) -> int:
    """Scale the schedule to the task's iterations and learning rate; return the iterations."""
    shipped = config.train_cfg.max_iters
    iterations = task.iterations or int(shipped)
    optimizer = config.optim_wrapper.optimizer
    lr = optimizer.lr if task.lr is None else task.lr
    factor = lr / optimizer.lr
    optimizer["lr"] = lr
    schedulers = config.param_scheduler if isinstance(config.param_scheduler, list) else [config.param_scheduler]
    for scheduler in schedulers:
        for key in ("begin", "end", "T_max", "total_iters", "step_size"):
            if isinstance(scheduler.get(key), int):
                scheduler[key] = round(scheduler[key] * iterations / shipped)
        if "milestones" in scheduler:
            scheduler["milestones"] = [round(step * iterations / shipped) for step in scheduler.milestones]
        if scheduler.get("eta_min"):
            scheduler["eta_min"] = scheduler.eta_min * factor  # so that the curve keeps its shape
    # A warm-up that a short schedule rounds to nothing would divide by zero.
    config.param_scheduler = [s for s in schedulers if s.get("end") is None or s["end"] > s.get("begin", 0)]
    config.train_cfg["max_iters"] = iterations
    return iterations


def _batch_size(config: Any, task: SegmentationTask, name: str, world: int) -> int:
    """Images of one iteration: the task's, else as the config's name says (4xb2 is 8), else a GPU's times GPUs."""
    per_process = int(config.train_dataloader.get("batch_size", 1))
    said = re.search(r"(?:^|_)(\d+)xb(\d+)", name)
    batch_size = task.batch_size or (int(said[1]) * int(said[2]) if said else per_process * world)
    if batch_size % world:
        raise BadInput(f"batch_size {batch_size} does not divide among {world} processes; choose a multiple.")
    return batch_size


def _dicts(node: Any) -> Iterator[Any]:
    """Yield every dictionary in a tree of dictionaries and sequences."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from _dicts(child)
