"""The load proof through the eyes of the network downstream.

Weights can arrive whole and yet be looked at wrongly: with another ε in the norms, other strides or dilations, swapped
channels, another mean. So each stage shows one fixed image, in uint8 as it is read from a file, to the preprocessing
and the network that it is about to use, after the weights were loaded and before anything is trained or measured. What
comes out is compared with the pretraining encoder, made anew from the proven tensors, on pretraining's normalisation.
The two sides share neither the normalisation nor what dilates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.resnet import Bottleneck

from bench.convert.matching import match_contents
from bench.convert.proof import MAPS
from bench.convert.trunk import Trunk
from bench.errors import StageFailed, one_line
from bench.load_proofs import note_load_proof
from bench.nn.colour import MEAN, STD
from bench.nn.encoder import Encoder, build_encoder
from bench.train.precision import Concrete, is_bf16, without_tf32

# Largest differences that pass: in float32 of a map's largest value, in bf16 in norm. Two layouts of memory differ by
# 5e-6 at most, and bf16 by 0.04 in C5 of an untrained ResNet-50 (both measured on AVX-512).
LIMITS: dict[Concrete, float] = {"float32": 1e-4, "bf16": 0.1}
IMAGE = "uint8, 127.5 + 63 (sin((c+1)(7i+1)/11) + cos((c+2)(5j+1)/13)) rounded"
SIZES = {"imagenet": (65, 97), "stl": (41, 57), "cifar": (33, 41)}  # odd: strides and padding then show


@dataclass(frozen=True)
class Layout:
    """Where a ResNet's maps become smaller, and by what its 3×3 convolutions are dilated, stage by stage."""

    strides: tuple[int, ...] = (1, 2, 2, 2)
    dilations: tuple[int, ...] = (1, 1, 1, 1)
    contract: bool = False  # whether the first block of a dilated stage has half of its dilation
    multi_grid: tuple[int, ...] | None = None  # dilations of the last stage's blocks, in the place of its own


@dataclass(frozen=True)
class LoadProof:
    """What a stage's network was seen to compute."""

    network: str
    trunk_hash: str
    matched: int
    of: int
    differences: dict[str, float]  # "input", "C2" to "C5", "feature", with " bf16" where that was in bf16
    allowed: tuple[str, ...] = ()  # what the stage's config says openly and differs from pretraining
    image: str = field(default=IMAGE)

    @property
    def words(self) -> str:
        """The line that is printed."""
        float32 = [value for name, value in self.differences.items() if not name.endswith("bf16")]
        bf16 = [value for name, value in self.differences.items() if name.endswith("bf16")]
        said = f"maps through {self.network} differ by {max(float32):.1g}"
        said += f" (in bf16 by {max(bf16):.1g})" if bf16 else ""
        return f"load proof: {self.matched} of {self.of} tensors, {said}" + "".join(f"; {one}" for one in self.allowed)

    def note(self) -> LoadProof:
        """Keep it with what the stage of this process leaves, and return it."""
        note_load_proof(asdict(self))
        return self


def fixed_pixels(height: int, width: int) -> Tensor:
    """Return the image that is shown, 1×3×height×width uint8 in RGB: a formula, so the same everywhere."""
    c, i, j = (torch.arange(n, dtype=torch.float64) for n in (3, height, width))
    rows = torch.sin((c[:, None] + 1) * (7 * i + 1) / 11)
    columns = torch.cos((c[:, None] + 2) * (5 * j + 1) / 13)
    return (127.5 + 63 * (rows[:, :, None] + columns[:, None, :])).round().to(torch.uint8)[None]


class Reference:
    """The pretraining encoder with the proven tensors, in float32, dilated like the network that it is compared with.

    Args:
        trunk: as read with its proof.
        device: where it computes; rounding differs between devices.
        layout: of the network downstream.
    """

    def __init__(self, trunk: Trunk, device: torch.device, layout: Layout | None = None) -> None:
        with torch.device("meta"):  # no initial values
            self.encoder: Encoder = build_encoder(trunk.arch, 0, trunk.stem)
        self.encoder.load_state_dict(trunk.state, strict=True, assign=True)
        self.encoder.requires_grad_(False).eval().to(device)
        self.device, self.trunk = device, trunk
        if layout is not None:
            dilate(self.encoder, layout)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return what pretraining makes of pixels: N×3×H×W uint8 in RGB -> float32 on the device."""
        mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (MEAN, STD))
        return ((pixels.double() / 255 - mean) / std).float().to(self.device)

    @torch.inference_mode()
    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return C2, C3, C4, C5 of normalised images."""
        with without_tf32():
            return self.encoder.maps(images)

    @torch.inference_mode()
    def feature(self, images: Tensor) -> Tensor:
        """Return the mean of C5 over its positions, N×D."""
        return self.maps(images)[-1].mean(dim=(2, 3))


def dilate(encoder: Encoder, layout: Layout) -> None:
    """Give an encoder other strides and dilations, in place; its weights stay (Chen et al., "DeepLab", 2017, 3.1)."""
    stages = (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4)
    for place, (stage, stride, dilation) in enumerate(zip(stages, layout.strides, layout.dilations, strict=True)):
        grid = layout.multi_grid if place == len(stages) - 1 else None
        for number, block in enumerate(stage):
            rate = dilation if grid is None else grid[number]
            if grid is None and number == 0 and layout.contract and dilation > 1:
                rate = dilation // 2
            conv = block.conv2 if isinstance(block, Bottleneck) else block.conv1  # the one that has the stride
            conv.dilation = conv.padding = (rate, rate)
            if number == 0:
                conv.stride = (stride, stride)
                if block.downsample is not None:
                    block.downsample[0].stride = (stride, stride)


def prove_network(
    trunk: Trunk,
    network: str,
    backbone: nn.Module,
    inputs: Tensor,
    maps: Callable[[Tensor], Sequence[Tensor]],
    *,
    pixels: Tensor,
    layout: Layout | None = None,
    indices: Sequence[int] = (0, 1, 2, 3),
    precisions: Iterable[str] = ("float32",),
    momentum: float | None = None,
    allowed: Sequence[str] = (),
) -> LoadProof:
    """Prove that a network with a trunk computes, on what its preprocessing makes of `pixels`, the trunk's maps.

    Args:
        trunk: as read with its proof.
        network: what it is called: "PSPNet's own preprocessor and backbone".
        backbone: with the trunk in it, under torchvision's names.
        inputs: what the preprocessing made of the pixels, 1×3×H×W.
        maps: the backbone in eval mode, inputs -> the maps at `indices`.
        pixels: as from `fixed_pixels`.
        layout: strides and dilations as the stage's config says them; None for those of pretraining.
        indices: of C2, C3, C4, C5.
        precisions: that the stage computes in, besides float32.
        momentum: of the norms where the config says another than pretraining's.
        allowed: what the config says openly, for the words.

    Raises StageFailed, which says what differs.
    """
    reference = Reference(trunk, inputs.device, layout)
    match = match_contents(trunk.state, backbone.state_dict())
    if not match.complete:
        raise StageFailed(f"The load proof failed: {match.counts} in {network}, and {match.first_fault}.")
    check_norms(backbone, reference, network, momentum)
    expected = reference.normalised(pixels)
    found = {"input": difference(inputs, expected)}
    check(found, network, trunk.arch)
    wanted = [reference.maps(expected)[index] for index in indices]
    for precision in dict.fromkeys(("float32", *precisions)):
        bf16 = is_bf16(precision)
        try:
            with torch.inference_mode(), without_tf32(), _computing(bf16, inputs.device):
                computed = maps(inputs)
        except (RuntimeError, ValueError, TypeError) as error:  # shapes that do not go together
            raise StageFailed(f"The load proof failed: {network} takes no image ({one_line(error)}).") from error
        if len(computed) != len(wanted):
            raise StageFailed(f"The load proof failed: {network} gives {len(computed)} maps, not {len(wanted)}.")
        for index, ours, theirs in zip(indices, computed, wanted, strict=True):
            found[MAPS[index] + (" bf16" if bf16 else "")] = difference(ours, theirs, in_norm=bf16)
        check(found, network, trunk.arch)
    return LoadProof(network, trunk.hash, match.matched, match.of, found, tuple(allowed)).note()


def check_norms(network: nn.Module, reference: Reference, what: str, momentum: float | None = None) -> None:
    """Check that each batch norm has the ε and the momentum of pretraining, or `momentum`; else StageFailed.

    Momentum shows in no map: it decides what the running statistics become while the network trains.
    """
    modules = dict(network.named_modules())
    for name, norm in reference.encoder.named_modules():
        if not isinstance(norm, _BatchNorm):
            continue
        other, wanted = modules.get(name), {"ε": norm.eps, "momentum": norm.momentum if momentum is None else momentum}
        found = {"ε": getattr(other, "eps", None), "momentum": getattr(other, "momentum", None)}
        for key, value in wanted.items():
            if found[key] != value:
                raise StageFailed(
                    f"The load proof failed: the norm {name} of {what} has {key} {found[key]}, and pretraining's has "
                    f"{value}; set it to that, or leave it out."
                )


def check(differences: dict[str, float], what: str, arch: str, limits: dict[str, float] | None = None) -> None:
    """Raise StageFailed where one is over its limit, naming the first, since those after it follow from it."""
    for name, value in differences.items():
        bf16 = name.endswith(" bf16")
        limit = (limits or {}).get(name, LIMITS["bf16" if bf16 else "float32"])
        if value <= limit:  # not a number fails, too
            continue
        if name == "input":
            remedy = "it should see RGB, less ImageNet's mean, by its standard deviation: correct its preprocessing"
        elif bf16:
            remedy = "in float32 they agree: set precision='float32'"
        else:
            remedy = "its norms, strides, dilations and padding should be those of the trunk"
        raise StageFailed(
            f"The load proof failed: {name} of a {arch} through {what} differs from pretraining's by {value:.2g} "
            f"({limit:g} is let pass); {remedy}."
        )


def difference(ours: Tensor, theirs: Tensor, *, in_norm: bool = False) -> float:
    """Return the largest difference by theirs' largest value, or that of both in norm; inf for shapes that differ."""
    if ours.shape != theirs.shape or not bool(ours.isfinite().all() and theirs.isfinite().all()):
        return float("inf")
    apart, whole = ours.float() - theirs.float(), theirs.float()
    top, bottom = (apart.norm(), whole.norm()) if in_norm else (apart.abs().max(), whole.abs().max())
    return float(top) / (float(bottom) or 1.0)


def _computing(bf16: bool, device: torch.device) -> torch.autocast | nullcontext[None]:
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()
