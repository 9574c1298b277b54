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
