"""A resolved recipe in words: what the table of recipes holds it to.

Each aspect is a text (settings are a dictionary). Whatever decides a result has to appear: keys are taken from a copy
of the recipe one after another, and what is left over at the end is an error, as is a field of a view that nothing
names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from itertools import groupby
from typing import Any

import torch
from narrow import NarrowEncoder
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.config.recipe import Recipe
from bench.data.views import View, small_views
from bench.hashing import NOT_IN_FINGERPRINT
from bench.objectives import build
from bench.objectives.base import Objective

FEATURES = 521  # of the encoder: a prime that is no head's size, shown as F


def aspects(recipe: Recipe) -> dict[str, Any]:
    """Return {aspect: text} of a recipe, `settings` as a dictionary and `views` as a list.

    Raises AssertionError for a key that decides a result and is in no aspect.
    """
    left = {key: value for key, value in recipe.model_dump().items() if key not in NOT_IN_FINGERPRINT}
    assert left.pop("on_divergence") == left.pop("on_out_of_memory") == "stop"  # no shipped recipe goes back by itself
    left = {key: value for key, value in left.items() if key not in ("lower_lr_factor", "lower_lr_times")}
    objective = built(recipe)
    name = left["objective"].pop("name")
    texts = {
        "length": length(left, recipe),
        "network": network(left),
        "optimizer": optimizer(left.pop("optimizer"), objective),
        "schedule": schedule(left.pop("schedule"), recipe.epochs),
        "views": views(objective, recipe, left.pop("augmentation")),
        "heads": heads(objective),
        "settings": left.pop("objective"),
        "how": how(left),
    }
    assert not left, f"{sorted(left)} decide a result, and no aspect has them"
    return {"objective": name, **texts}


def built(recipe: Recipe) -> Objective:
    """Return its objective on a narrow encoder; where it can be, with weights that take no memory."""
    images = 50 if recipe.dataset != "none" else 0
    try:
        with torch.device("meta"):
            return build(recipe.objective, NarrowEncoder(width=FEATURES), 1000, images)
    except RuntimeError:  # numbers that are read while it is built
        return build(recipe.objective, NarrowEncoder(width=FEATURES), 1000, images)


def number(value: float) -> str:
    """Return a number with what seven digits show of it."""
    return f"{value:.7g}"


def length(left: dict[str, Any], recipe: Recipe) -> str:
    """`imagenet at 224 px, 100 epochs of 256`, and what it starts from."""
    size, epochs, batch = left.pop("view_size"), left.pop("epochs"), left.pop("batch_size")
    text = f"{left.pop('dataset')} at {size} px, {epochs} epochs of {batch}"
    if (parts := left.pop("accumulate")) > 1:
        text += f" in {parts} parts"
    if (subset := left.pop("subset")) is not None:
        text += f", {subset} images"
    left.pop("init")
    if recipe.init is not None:
        text += f", from {recipe.parent} after epoch {recipe.init.epoch}"
    return text


def network(left: dict[str, Any]) -> str:
    """`resnet50, norms over 32 images, last norms at 0`."""
    images, synchronised = left.pop("norm_images"), left.pop("sync_bn")
    over = f"{images} images" if images else "all images" if synchronised else "a process's images"
    text = left.pop("arch")
    if (stem := left.pop("stem")) != "imagenet":
        text += f" with {stem}'s stem"
    text += f", norms over {over}"
    text += ", norm statistics of whole images" if left.pop("norm_statistics") == "data" else ""
    return text + (", last norms at 0" if left.pop("zero_init_residual") else "")


def optimizer(settings: dict[str, Any] | None, objective: Objective) -> str:
    """`sgd 0.03 at 256, momentum 0.9, decay 0.0001 of all`, and rates of their own."""
    if settings is None:
        return "none"
    name, at = settings.pop("name"), settings.pop("lr_batch")
    text = f"{name} {number(settings.pop('lr'))}" + (f" at {at}" if at else "")
    momentum, betas, trust = settings.pop("momentum"), settings.pop("betas"), settings.pop("trust_coefficient")
    nesterov, decay, decays = settings.pop("nesterov"), settings.pop("weight_decay"), settings.pop("decay")
    if name in ("sgd", "lars"):
        text += f", {'Nesterov' if nesterov else 'momentum'} {number(momentum)}"
    else:
        text += f", betas {number(betas[0])} and {number(betas[1])}"
    if name == "lars":
        text += f", trust {number(trust)} of {which(objective, 'adapt')}"
    text += f", decay {number(decay)} of {'all' if decays == 'all' else which(objective, 'decay')}" if decay else ""
    if (norm := settings.pop("clip_norm")) is not None:
        text += f", clipped to {number(norm)}"
    if (norm := settings.pop("clip_each", None)) is not None:
        text += f", each parameter clipped to {number(norm)}"
    assert not settings, f"optimizer has {sorted(settings)}, which no aspect has"
    return "; ".join([text, *own_rates(objective)])


def which(objective: Objective, key: str) -> str:
    """Return to which trainable parameters `decay` or `adapt` of the groups applies: all, weights, …"""
    held = {
        (parameter.ndim > 1, bool(group[key])) for group in objective.param_groups() for parameter in group["params"]
    }
    applies = {matrix for matrix, yes in held if yes}
    assert len(held) == len({matrix for matrix, _ in held}), "neither all of the weights nor none"
    return {frozenset({True, False}): "all", frozenset({True}): "weights"}.get(frozenset(applies), "others")


def own_rates(objective: Objective) -> list[str]:
    """Return `predictor at a constant rate`, `encoder's biases and norms at 0.024 of the rate`, and so on."""
    owners = {id(parameter): name.split(".")[0] for name, parameter in objective.named_parameters()}
    rates: dict[str, set[tuple[bool, float, bool]]] = {}
    for group in objective.param_groups():
        for parameter in group["params"]:
            of = rates.setdefault(owners[id(parameter)], set())
            of.add((parameter.ndim > 1, float(group.get("rate", 1.0)), bool(group.get("constant", False))))
    texts: dict[str, list[str]] = {}
    for owner, kinds in rates.items():
        for (rate, constant), matrices in _by_rate(kinds).items():
            who = owner if len(matrices) == len({matrix for matrix, *_ in kinds}) else f"{owner}'s biases and norms"
            if constant or rate != 1.0:
                texts.setdefault("at a constant rate" if constant else f"at {number(rate)} of the rate", []).append(who)
    return [f"{', '.join(who)} {what}" for what, who in texts.items()]


def _by_rate(kinds: Iterable[tuple[bool, float, bool]]) -> dict[tuple[float, bool], set[bool]]:
    found: dict[tuple[float, bool], set[bool]] = {}
    for matrix, rate, constant in kinds:
        found.setdefault((rate, constant), set()).add(matrix)
    return found


def schedule(settings: dict[str, Any], epochs: int) -> str:
    """`cosine to 0.001, warm-up of 10 epochs`; `x0.1 after 120, 160, …`."""
    name, final, gamma = settings.pop("name"), settings.pop("final_ratio"), settings.pop("gamma")
    warmup, start, steps = (settings.pop(f"warmup_{key}") for key in ("epochs", "ratio", "steps"))
    after = [number(milestone * epochs) for milestone in settings.pop("milestones")]
    assert not settings, f"schedule has {sorted(settings)}, which no aspect has"
    text = name
    if name == "cosine" and final:
        text += f" to {number(final)}"
    if name == "step":
        text = f"x{number(gamma)} after {', '.join(after if len(after) < 9 else [*after[:2], '…', after[-1]])}"
    if warmup or steps:
        text += f", warm-up of {number(warmup or steps)} {'epochs' if warmup else 'steps'}"
        text += f" from {number(start)}" if start else ""
    return text if epochs else "none"


def how(left: dict[str, Any]) -> str:
    """What changes a result in its last digits, or should not change it."""
    text = f"{left.pop('precision')} precision, {'channels last' if left.pop('channels_last') else 'channels first'}"
    text += f", {left.pop('view_backend')} views"
    for key in ("compile", "cuda_graphs"):
        text += f", {key}" if left.pop(key) else ""
    exported = left.pop("export", None)
    return text + (f", exports {exported}" if exported not in (None, "online") else "")


# ------------------------------------------------------------------------------------------ views


def views(objective: Objective, recipe: Recipe, augmentation: str) -> list[str]:
    """Return the text of each view, `3 x …` where one is drawn more than once."""
    found = objective.views(recipe.view_size)
    if augmentation == "small":
        found = small_views(found, recipe.view_size, recipe.objective["name"])
    return [view_text(view) for view in found]


def view_text(view: View) -> str:
    """`224 px of 0.2 to 1, bilinear, flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2, blur 0.1 to 2 at 0.5`."""
    left = {field.name: getattr(view, field.name) for field in fields(view)}
    count, size, square, scale, ratio = (left.pop(key) for key in ("count", "size", "square", "scale", "ratio"))
    text = f"{count} x " if count > 1 else ""
    text += f"{size} px of " + (f"a square of {number(square)}" if square is not None else span(scale))
    if square is None and ratio != (3 / 4, 4 / 3):
        text += f", ratio {span(ratio)}"
    steps = [left.pop("interpolation")]
    if flip := left.pop("flip"):
        steps.append(f"flip {number(flip)}")
    if left.pop("flip_as_first", False):
        steps.append("as the first")
    jitter, jitter_p, grey, photometric = (left.pop(key, 0.0) for key in ("jitter", "jitter_p", "grey", "photometric"))
    colours = [f"jitter {' '.join(map(number, jitter))} at {number(jitter_p)}"] if jitter and jitter_p else []
    colours += [f"photometric {number(photometric)}"] if photometric else []
    greys = [f"grey {number(grey)}"] if grey else []
    steps += [*greys, *colours] if left.pop("grey_first") else [*colours, *greys]
    blur, sigma = left.pop("blur"), left.pop("blur_sigma")
    steps += [f"blur {span(sigma)} at {number(blur)}"] if blur else []
    for key in ("solarize", "strong", "overlap", "salient"):
        steps += [f"{key} {number(value)}"] if (value := left.pop(key)) else []
    if cells := left.pop("cells", None):
        steps.append(f"out of {cells[0]} x {cells[0]} cells of {cells[1]} px")
    assert not left, f"a view has {sorted(left)}, which its text has not"
    return ", ".join([text, *steps])


def span(range_: tuple[float, float]) -> str:
    """Return `0.2 to 1`."""
    return f"{number(range_[0])} to {number(range_[1])}"


# ------------------------------------------------------------------------------------------ heads

COPIES = ("key_", "target_")  # what only follows another network
STATE = ("Queue", "MemoryBank", "LogConstant")  # sizes are settings


def heads(objective: Objective) -> str:
    """Return what stands beside the encoder, `projector: 2048, relu, 128; …`; F for as many as features."""
    texts = []
    for name, module in objective.named_children():
        kinds = {type(each).__name__ for each in (module, *module.children())}
        if name == "encoder" or name.startswith(COPIES) or kinds & set(STATE):
            continue
        texts.append(f"{name}: {'an encoder' if isinstance(module, NarrowEncoder) else layers(module)}")
    return "; ".join(texts) or "none"


def layers(module: nn.Module) -> str:
    """Return a module's layers in their order, equal neighbours as `5 x (…)`."""
    children = [(name, child) for name, child in module.named_children()]
    if not children:
        return layer(module)
    named = isinstance(module, nn.Sequential | nn.ModuleList)
    texts = [layers(child) if named else f"{name} ({layers(child)})" for name, child in children]
    if isinstance(module, nn.ModuleDict):
        texts = [layers(child) for _, child in children]
    runs = [(text, len(list(run))) for text, run in groupby(texts)]
    return ", ".join(text if times == 1 else f"{times} x ({text})" for text, times in runs)


def layer(module: nn.Module) -> str:
    """`2048`, `2048 no bias`, `conv 3x3 64 /2`, `bn`, `bn plain` (no scale and shift), `relu`, …"""
    bias = "" if getattr(module, "bias", None) is not None else " no bias"
    if isinstance(module, nn.Linear):
        return f"{width(module.out_features)}{bias}"
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        name = "conv" if isinstance(module, nn.Conv2d) else "deconv"
        size, stride = module.kernel_size, module.stride[0]
        return f"{name} {size[0]}x{size[1]} {width(module.out_channels)}{f' /{stride}' if stride > 1 else ''}{bias}"
    if isinstance(module, _BatchNorm):
        if not module.affine:
            return "bn plain"
        return "bn" if module.bias.requires_grad else "bn no shift"
    if isinstance(module, nn.Dropout):
        return f"dropout {number(module.p)}"
    return {"LayerNorm": "ln"}.get(type(module).__name__, type(module).__name__.lower())


def width(channels: int) -> str:
    """Return a width, F if it is that of the features."""
    return "F" if channels == FEATURES else str(channels)
