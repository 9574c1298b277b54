"""The dialects that checkpoints of a ResNet come in, and how a trunk is read from and written to each.

A *trunk* is a ResNet without its classifier, as {torchvision's key name: tensor}: `conv1.weight`, `bn1.…`,
`layer4.2.bn3.…`, 318 tensors for a ResNet-50. Dialects differ in the prefix of the names (`encoder.` in our training
checkpoints, `backbone.` in mmseg, `module.encoder_q.` in MoCo, `module.` under DDP) and in the dictionary that the
names lie in (`state_dict`, `model`, `objective`). Loading is strict: every tensor, by name and shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from bench.architectures import DEPTHS, WIDTH, WIDTHS, Architecture, parse_architecture
from bench.convert.checkpoint_file import read_checkpoint
from bench.convert.matching import Match, match_shapes
from bench.errors import BadInput
from bench.nn.encoder import check_stem

# Where a file holds several whole trunks, the online encoder goes before its average: first listed wins.
DICTIONARIES = ("objective", "state_dict", "model", "")
PREFIXES = (
    *("encoder.", "", "backbone.", "module.", "module.encoder_q.", "encoder_q.", "module.encoder.", "module.backbone."),
    *("online_encoder.", "online_network.encoder.", "model.", "trunk."),
)
COUNTER = ".num_batches_tracked"  # of a batch norm: unused in a forward pass, and absent from many foreign files
_HEADS = frozenset({"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "stem"})
_STEM_WORDS = {
    "imagenet": "the 7×7 stem of torchvision",
    "stl": "a 3×3 stem of one convolution",
    "cifar": "a 3×3 stem of one convolution",
}
_OTHERS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d")


@cache
def trunk_shapes(arch: str, stem: str = "imagenet") -> dict[str, tuple[int, ...]]:
    """Return {key name: shape} of a trunk, e.g. for `arch="resnet50"`; BadInput for an unknown arch or stem.

    The stems `cifar` and `stl` have the same shapes: what tells them apart is a max-pool, which has no weights.
    """
    check_stem(stem)
    architecture = None if arch in torchvision.models.list_models() else parse_architecture(arch)
    with torch.device("meta"):
        model = torchvision.models.get_model(f"resnet{architecture.depth}" if architecture else arch, weights=None)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if not name.startswith("fc.")}
    if stem != "imagenet":
        shapes["conv1.weight"] = (*shapes["conv1.weight"][:2], 3, 3)
    return {name: _of_width(shape, architecture) for name, shape in shapes.items()} if architecture else shapes


def _of_width(shape: tuple[int, ...], architecture: Architecture) -> tuple[int, ...]:
    """A tensor's shape in a network of another width: its first two sizes count channels, but for an image's three."""
    return tuple(n if n == 3 else architecture.scaled(n) for n in shape[:2]) + shape[2:]


def load_trunk(path: Path, arch: str, stem: str = "imagenet", prefix: str | None = None) -> dict[str, Tensor]:
    """Read the trunk of an `arch` with a stem from a checkpoint in any dialect, whatever its prefix.

    Where `prefix` is given, the names must have that one, as `target_encoder.`.

    Returns {torchvision's key name: tensor}, float32 (int64 for the batch norms' counters), in torchvision's order.

    Raises BadInput, saying how many tensors of how many matched, for another architecture or stem, and
    when no prefix matches; and for a file that is no checkpoint, carries code, or holds values that are not finite.
    """
    wanted = trunk_shapes(arch, stem)
    content = read_checkpoint(Path(path))
    candidates = [
        (where, found, _below(tensors, found))
        for where, tensors in _dictionaries(content)
        for found in _prefixes(tensors)
        if prefix in {None, found}
    ]
    whole = [(where, prefix, tensors) for where, prefix, tensors in candidates if _fit(wanted, tensors).complete]
    if not whole:
        raise BadInput(_refusal(path, arch, stem, content, [tensors for _, _, tensors in candidates]))
    _, chosen, tensors = _preferred(path, whole)
    state = {}
    for name, shape in wanted.items():
        kind = torch.int64 if name.endswith(COUNTER) else torch.float32
        tensor = tensors[name].detach() if name in tensors else torch.zeros(shape)
        state[name] = tensor.to(kind, copy=True).contiguous()  # what was read is a view of the file
        if not torch.isfinite(state[name]).all():
            raise BadInput(f"{path}: {chosen}{name} holds nan or inf; take an earlier checkpoint of that run.")
    return state


def _dictionaries(content: Any, where: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield (name, its tensors) for each dictionary in a checkpoint that holds tensors by name."""
    if not isinstance(content, Mapping) or depth > 3:
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and _is_plain(value)}
    if tensors:
        yield where, tensors
    for key, value in content.items():
        if isinstance(key, str):
            yield from _dictionaries(value, f"{where}.{key}" if where else key, depth + 1)


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor that can be taken as weights: real numbers, one after another in memory."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_meta or value.is_quantized or value.is_complex())
    )


def _prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return what stands before a trunk's names, most frequent first."""
    counts: Counter[str] = Counter()
    for name in tensors:
        parts = name.split(".")
        counts.update({".".join([*parts[:i], ""]) if i else "" for i, part in enumerate(parts) if part in _HEADS})
    return [prefix for prefix, _ in counts.most_common()]


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors below a prefix that belong to a trunk: neither the classifier nor anything else is one."""
    cut = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in cut.items() if name.split(".")[0] in _HEADS}


def _fit(wanted: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> Match:
    """Match by name and shape; absent counters are no fault."""
    return match_shapes(
        {name: s for name, s in wanted.items() if name in tensors or not name.endswith(COUNTER)}, tensors
    )


def _preferred(path: Path, whole: list[tuple[str, str, dict[str, Tensor]]]) -> tuple[str, str, dict[str, Tensor]]:
    """Choose among several whole trunks in one file; BadInput when nothing tells which is meant."""

    def rank(candidate: tuple[str, str, dict[str, Tensor]]) -> tuple[int, int]:
        where, prefix, _ = candidate
        by_place = DICTIONARIES.index(where) if where in DICTIONARIES else len(DICTIONARIES)
        return by_place, PREFIXES.index(prefix) if prefix in PREFIXES else len(PREFIXES)

    ordered = sorted(whole, key=rank)
    if len(ordered) > 1 and rank(ordered[0]) == rank(ordered[1]):
        names = " and ".join(f"{where}:{prefix}*" for where, prefix, _ in ordered[:2])
        raise BadInput(f"{path} holds several trunks ({names}); write the one that you mean to a file of its own.")
    return ordered[0]


def _refusal(path: Path, arch: str, stem: str, content: Any, candidates: list[dict[str, Tensor]]) -> str:
    """Say in one sentence why no trunk could be read, how far it got, and the remedy."""
    wanted = trunk_shapes(arch, stem)
    best = max(candidates, key=lambda tensors: match_shapes(wanted, tensors).matched, default={})
    match = match_shapes(wanted, best)
    if match.matched == 0 and not any(name.split(".")[0] in _HEADS for name in best):
        names = [name for _, tensors in _dictionaries(content) for name in tensors]
        if not names:
            return f"{path} holds no tensors by name (0 of {match.of} wanted); give a file with a model's state_dict."
        shown = ", ".join(names[:3])
        return (
            f"{path} holds no ResNet under any prefix: {match.counts}, its first names are {shown}; "
            "rename its tensors to torchvision's names (conv1.weight, layer1.0.conv1.weight, …)."
        )
    if any(name.startswith(("stem.", "conv1.0.")) for name in best):
        return (
            f"{path} has a deep 3×3 stem (ResNetV1c or -D): {match.counts}; "
            f"give a {arch} with {_STEM_WORDS[stem]} (mmseg's type='ResNet')."
        )
    for other in ("imagenet", "cifar"):  # `stl` has the shapes of `cifar`
        if _fit(trunk_shapes(arch, other), best).complete:
            fitting = "'imagenet'" if other == "imagenet" else "'cifar' or 'stl'"
            return (
                f"{path} is a {arch} with {_STEM_WORDS[other]}, not with {_STEM_WORDS[stem]}: {match.counts}; "
                f"set stem={fitting}, or give a checkpoint with that stem."
            )
    others = (*_OTHERS, *_narrower(best))
    kind = next((other for other in others if other != arch and _fit(trunk_shapes(other, stem), best).complete), None)
    if kind:
        return f"{path} is a {kind}, not a {arch}: {match.counts}; set arch={kind!r} or give a checkpoint of a {arch}."
    return f"{path} is not a {arch}: {match.counts}, and {match.first_fault}; give a whole checkpoint of a {arch}."


def _narrower(tensors: Mapping[str, Tensor]) -> list[str]:
    """The architectures that have as many channels in their first convolution as these tensors."""
    first = tensors.get("conv1.weight")
    width = first.shape[0] if first is not None and first.ndim == 4 else WIDTH
    return [Architecture(depth, width).name for depth in DEPTHS] if width in WIDTHS and width != WIDTH else []


def to_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict for `torchvision.models.resnet50()` without `fc`, or for timm's with `num_classes=0`."""
    return {name: tensor.detach().contiguous() for name, tensor in state.items()}


def to_mmseg(state: Mapping[str, Tensor], arch: str) -> dict[str, Any]:
    """Return a checkpoint for mmseg's `init_cfg=dict(type="Pretrained", checkpoint=…, prefix="backbone.")`.

    Its backbone must be `type="ResNet"`: `ResNetV1c`, the default of many configs, has another stem.
    """
    tensors = {f"backbone.{name}": tensor for name, tensor in to_torchvision(state).items()}
    return {"meta": {"arch": arch, "backbone": "ResNet", "tensors": len(tensors)}, "state_dict": tensors}
