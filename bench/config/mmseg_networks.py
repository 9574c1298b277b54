"""What can be said of an mmseg config without mmseg and torch: whether a trunk fits it, and its network's other depths.

mmseg's configs are read as data. What a stage would refuse after hours of pretraining is refused here, while planning.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.architectures import WIDTH, parse_architecture
from bench.config.config_files import dialect, mmseg_config, mmseg_configs, read
from bench.config.mmseg_code import check_for_code
from bench.errors import BadInput

WANTED = ("model", "train_dataloader", "val_dataloader", "train_cfg", "optim_wrapper", "param_scheduler")


def settings_of(file: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an mmseg config says, with `overrides` (dotted keys) laid over it. Raises BadInput."""
    values, _ = read(file)
    if not overrides:
        check_for_code(values, file)
        return values
    config = dialect()(values)
    try:
        config.merge_from_dict(dict(overrides))
    except Exception as error:  # whatever mmengine makes of a key that leads nowhere
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadInput(f"{file} does not take the overrides ({reason}); correct them.") from error
    values = config.to_dict()
    for key in ("model", "model.backbone", "train_cfg", "optim_wrapper"):
        node: Any = values
        for part in key.split("."):
            node = node.get(part, {})
            if not isinstance(node, Mapping):
                raise BadInput(
                    f"overrides make {part!r} of {file} {node!r}, but it must be a dictionary; correct them."
                )
    schedulers = values.get("param_scheduler", [])
    if not all(isinstance(one, Mapping) for one in (schedulers if isinstance(schedulers, list) else [schedulers])):
        raise BadInput(f"overrides make 'param_scheduler' of {file} no list of dictionaries; correct them.")
    check_for_code(values, file)
    return values


def check_training(settings: Mapping[str, Any], name: str) -> None:
    """Raise BadInput where an mmseg config is not that of a whole training by iterations, or needs what is not here."""
    for key in WANTED:
        if settings.get(key) is None:
            raise BadInput(f"mmseg config {name} has no {key}; give the config of a whole training.")
    loop = settings["train_cfg"]
    if loop.get("type") != "IterBasedTrainLoop" or not loop.get("max_iters"):
        raise BadInput(f"mmseg config {name} trains by epochs; choose one with IterBasedTrainLoop.")
    schedulers = settings["param_scheduler"]
    for scheduler in schedulers if isinstance(schedulers, list | tuple) else [schedulers]:
        if scheduler.get("by_epoch", True):
            raise BadInput(f"mmseg config {name} has a schedule by epochs; choose one with by_epoch=False throughout.")
    for node in _dicts(settings["model"]):
        package = str(node.get("type", "")).partition(".")
        if package[0] in {"mmdet", "mmpretrain"} and package[2] and importlib.util.find_spec(package[0]) is None:
            raise BadInput(
                f"mmseg config {name} takes {node['type']} from {package[0]}, which is not installed; install it, or "
                "choose another config."
            )


def validation_steers(file: Path, overrides: Mapping[str, Any]) -> bool:
    """Return whether how often a config validates may change what it trains.

    So may a schedule that waits for the scores to stand still, and any hook of the config's own, such as one that stops
    early. Raises BadInput for a config that cannot be read.
    """
    settings = settings_of(file, overrides)
    schedulers = settings.get("param_scheduler") or []
    types = [str(one.get("type")) for one in (schedulers if isinstance(schedulers, list | tuple) else [schedulers])]
    return bool(settings.get("custom_hooks")) or any("Plateau" in name for name in types)


def check_backbone(settings: Mapping[str, Any], name: str, arch: str) -> None:
    """Raise BadInput where the backbone of an mmseg config is no plain ResNet of the depth of `arch` (`resnet50`)."""
    backbone = settings["model"].get("backbone") or {}
    kind, depth = str(backbone.get("type")), depth_of(arch)
    if kind not in {"ResNet", "ResNetV1c"}:
        raise BadInput(
            f"mmseg config {name} has the backbone {kind}, which takes no ResNet trunk; choose one with ResNet."
        )
    if backbone.get("depth") != depth:
        other = at_depth(name, depth)
        raise BadInput(
            f"mmseg config {name} has a ResNet of depth {backbone.get('depth')}, but the trunk is a {arch}; "
            f"choose {other or f'a config of depth {depth} (r{depth} in its name)'}, or another arch."
        )
    width = parse_architecture(arch).width
    of_config = backbone.get("base_channels", WIDTH), backbone.get("stem_channels", WIDTH)
    if set(of_config) != {width}:
        raise BadInput(
            f"mmseg config {name} has a ResNet of width {'/'.join(map(str, dict.fromkeys(of_config)))}, but the trunk "
            f"is a {arch} of width {width}; set model.backbone.base_channels and stem_channels to {width} in the "
            "task's overrides, and in_channels of the heads to fit, or choose another arch."
        )
    if backbone.get("style", "pytorch") != "pytorch":
        raise BadInput(
            f"mmseg config {name} has its strides in other layers (style={backbone['style']!r}), so that the trunk "
            "would compute something else; choose one with style='pytorch'."
        )
    changed = [key for key in ("plugins", "dcn", "avg_down") if backbone.get(key)]
    if changed or backbone.get("num_stages", 4) != 4:
        raise BadInput(
            f"mmseg config {name} changes the ResNet itself ({', '.join([*changed] or ['num_stages'])}), so that the "
            "trunk does not fit it; choose one with a plain ResNet."
        )


def depth_of(arch: str) -> int:
    """Return 50 for `resnet50`."""
    return parse_architecture(arch).depth


def at_depth(name: str, depth: int) -> str | None:
    """Return the name of the mmseg config of the same network, crops and data at another depth; None without one.

    The schedule may be another: of several, that of the same length, else the shortest.
    """
    folder, wanted = mmseg_configs(), _parts(name)
    if folder is None or wanted is None:
        return None
    found = [
        (parts[2] != wanted[2], parts[2], file.stem)
        for file in sorted(folder.glob("*/*.py"))
        if (parts := _parts(file.stem)) and parts[0] == wanted[0] and parts[1] == depth
    ]
    return min(found)[2] if found else None


def iterations_of(name: str) -> int:
    """Return the iterations that an mmseg config trains for. Raises BadInput for one that trains by epochs."""
    file = mmseg_config(name)
    settings = read(file)[0] if file is not None else {}
    check_training(settings, name)
    return int(settings["train_cfg"]["max_iters"])


def _parts(name: str) -> tuple[tuple[str, ...], int, int] | None:
    """What is the same at each depth, the depth, and thousands of iterations: of pspnet_r50-d8_4xb2-40k_cityscapes."""
    found = re.fullmatch(r"(\w+?_)r(\d+)((?:-d\d+)?_\d+xb\d+)-(\d+)k(_.+)", name)
    return ((found[1], found[3], found[5]), int(found[2]), int(found[4])) if found else None


def _dicts(node: Any) -> Iterator[Any]:
    """Yield every dictionary in a tree of dictionaries and sequences."""
    if isinstance(node, Mapping):
        yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from _dicts(child)
