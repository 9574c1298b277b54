"""A trunk file as a network, for whoever wants to use it: its weights proven, and what it expects of images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bench.convert.proof import PROOF, load_proven, load_strictly
from bench.convert.trunk import TRUNK, Trunk, read_trunk
from bench.errors import BadInput
from bench.nn.colour import MEAN, STD
from bench.nn.encoder import Encoder


class TrunkNetwork(Encoder):
    """A trained backbone: images -> pooled features; `maps` gives C2 to C5.

    It expects RGB images N×3×H×W, float32, with `mean` taken from each channel and divided by `std`, both for values
    within 0 and 1; `normalised` does that.

    Attributes:
        trunk_hash: sha256 over names, shapes and contents of the tensors, as records have it (column `weights`).
        load_proven: whether a load proof lay beside the file, and held.
        mean, std: of the channels red, green, blue.
        arch, stem, feature_dim, stride: of the network; `stride` is that of C5, in pixels.
    """

    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    def __init__(self, trunk: Trunk, load_proven: bool) -> None:
        super().__init__(trunk.arch, stem=trunk.stem)
        self.trunk_hash, self.load_proven = trunk.hash, load_proven

    def normalised(self, images: Tensor) -> Tensor:
        """Return images as the network expects them.

        Args:
            images: N×3×H×W or 3×H×W, RGB: uint8 within 0 and 255, or floating within 0 and 1.
        """
        images = images / 255 if images.dtype == torch.uint8 else images
        mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (self.mean, self.std))
        normalised: Tensor = (images - mean) / std
        return normalised if images.ndim == 4 else normalised[None]


def trunk_network(file: Path, wanted: str | None = None) -> TrunkNetwork:
    """Return the network of a trunk file, in eval mode; each tensor is compared by hash after it is loaded.

    Where the file lies in a convert stage's folder, its load proof must hold, too. `wanted` is the hash that it must
    have. Raises BadInput for a file that is missing, damaged, changed, no trunk, or of other weights.
    """
    proven = file.name == TRUNK and (file.parent / PROOF).is_file()
    trunk = load_proven(file.parent) if proven else read_trunk(file)
    if wanted is not None and trunk.hash != wanted:
        raise BadInput(
            f"{file} has the weights {trunk.hash[:12]}, and the record was made with {wanted[:12]}; give the work "
            "folder that it was made in."
        )
    network = TrunkNetwork(trunk, proven)
    load_strictly(network, trunk.state, "the network")
    network.eval()
    return network
