"""What the evaluations of a frozen trunk need: a convert stage's folder, and a handful of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from bench.convert.proof import prove, write_proof
from bench.convert.trunk import TRUNK, save_trunk
from bench.nn.encoder import Encoder, build_encoder
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.load_proof import SIZES

WNIDS = ("n01440764", "n02102040", "n02979186")
COLOURS = ((200, 60, 40), (40, 180, 70), (50, 70, 210))


class _Maps(Encoder):
    """An encoder that is called like a segmentation backbone."""

    def forward(self, x: Tensor) -> Sequence[Tensor]:  # type: ignore[override]
        return self.maps(x)


def convert(folder: Path, seed: int = 0, arch: str = "resnet18w16") -> Path:
    """Write what a convert stage writes, for an untrained ResNet-18, by default a narrow one."""
    folder.mkdir(parents=True)
    encoder = build_encoder(arch, seed).eval()
    save_trunk(folder / TRUNK, encoder.state_dict(), arch)
    network = build_encoder(arch, seed)
    network.__class__ = _Maps
    write_proof(folder, prove(encoder.state_dict(), arch, encoder.maps, network))
    return folder


@pytest.fixture(scope="session")
def trunk_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convert stage's folder. Tests must not write to it."""
    return convert(tmp_path_factory.mktemp("work") / "convert")


@pytest.fixture(scope="session")
def wide_trunk_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convert stage's folder with a ResNet-18 of the usual width. Tests must not write to it."""
    return convert(tmp_path_factory.mktemp("work") / "convert", arch="resnet18")


@pytest.fixture
def new_trunk_folder(tmp_path: Path) -> Callable[[int], Path]:
    """Make a convert stage's folder, from a seed, that a test may spoil."""
    return lambda seed: convert(tmp_path / "convert", seed)


@pytest.fixture
def nudged_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every forward of a frozen trunk move a running mean, but that of its load proof."""
    features = FrozenTrunk.features

    def nudged(self: FrozenTrunk, images: Tensor) -> Tensor:
        if images.shape[-2:] == SIZES["imagenet"]:
            return features(self, images)
        self.encoder.bn1.running_mean.add_(1e-3)
        return features(self, images)

    monkeypatch.setattr(FrozenTrunk, "features", nudged)


@pytest.fixture(scope="session")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes that colour tells apart: 6 training and 3 test images of 40×48 each. Tests must not write to it."""
    root = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for wnid, colour in zip(WNIDS, COLOURS, strict=True):
            folder = root / split / wnid
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(colour) + rng.normal(0, 40, (40, 48, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{wnid}_{number}.JPEG", quality=95)
    return root
