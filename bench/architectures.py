"""Names of architectures: `resnet50`, `resnet18`, and either with another width, `resnet18w16`.

The number after `w` is how many channels the stem has. A ResNet has 64 of them (He et al. 2016); with another number
all channels change in that proportion, as in the width multipliers of Zagoruyko and Komodakis, "Wide Residual Networks"
(BMVC 2016), below 1. Narrow networks are for studies on small images that a few CPU cores can run.
"""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from bench.errors import BadInput, nearest_or_all

DEPTHS = (18, 50)
WIDTH = 64  # of a ResNet whose name says none
WIDTHS = range(8, 257, 8)


class Architecture(NamedTuple):
    """What a name says."""

    depth: int
    width: int = WIDTH

    @property
    def name(self) -> str:
        """Its name: with `w` and the width where that is not 64."""
        return f"resnet{self.depth}" + ("" if self.width == WIDTH else f"w{self.width}")

    def scaled(self, channels: int) -> int:
        """Return how many channels stand where a network of width 64 has `channels`, a multiple of 64."""
        return channels * self.width // WIDTH


def parse_architecture(name: str) -> Architecture:
    """Return what `resnet50` or `resnet18w16` says; BadInput for another name."""
    found = re.fullmatch(r"resnet(\d+)(?:w(\d+))?", name)
    if found is None or int(found[1]) not in DEPTHS:
        raise BadInput(f"Unknown architecture {name!r}{nearest_or_all(name, [f'resnet{depth}' for depth in DEPTHS])}")
    architecture = Architecture(int(found[1]), WIDTH if found[2] is None else int(found[2]))
    if architecture.width not in WIDTHS:
        raise BadInput(
            f"Unknown architecture {name!r}: its width must be a multiple of 8 from {WIDTHS[0]} to {WIDTHS[-1]}."
        )
    if architecture.name != name:  # one network, one name: it is part of fingerprints
        raise BadInput(f"Unknown architecture {name!r}; write {architecture.name!r}.")
    return architecture


def _check(name: str) -> str:
    try:
        return parse_architecture(name).name
    except BadInput:
        known = " or ".join(f"'resnet{depth}'" for depth in DEPTHS)
        widths = f"a width other than {WIDTH}, a multiple of 8 from {WIDTHS[0]} to {WIDTHS[-1]}"
        words = f"{known}, or one of these with {widths}, such as 'resnet18w16'"
        raise PydanticCustomError("arch", "{words}", {"words": words}) from None


ArchitectureName = Annotated[str, AfterValidator(_check)]


def parameters_of(name: str, stem: str = "imagenet") -> int:
    """Return how many parameters a ResNet has without its classifier, e.g. 23,508,032 for `resnet50`.

    He et al. 2016, table 1, with batch norms' weights and biases; the stem of `imagenet` has 7×7 weights, others 3×3.
    """
    architecture = parse_architecture(name)
    width, deep = architecture.width, architecture.depth >= 50
    blocks, growth = {18: ((2, 2, 2, 2), 1), 50: ((3, 4, 6, 3), 4)}[architecture.depth]
    count = _convolution(3, width, 7 if stem == "imagenet" else 3)
    inputs = width
    for stage, repeats in enumerate(blocks):
        inner = width * 2**stage
        outputs = inner * growth
        for number in range(repeats):
            if deep:
                count += _convolution(inputs, inner, 1) + _convolution(inner, inner, 3)
                count += _convolution(inner, outputs, 1)
            else:
                count += _convolution(inputs, inner, 3) + _convolution(inner, outputs, 3)
            if number == 0 and (stage or inputs != outputs):
                count += _convolution(inputs, outputs, 1)
            inputs = outputs
    return count


def _convolution(inputs: int, outputs: int, side: int) -> int:
    """The parameters of a convolution without bias and of the batch norm behind it."""
    return inputs * outputs * side**2 + 2 * outputs
