"""solo-learn as a peer: its own BYOL transform, heads, loss and momentum update, in a plain loop.

solo-learn 1.0.2, the only release on PyPI, pins torch 1.9.1, which has no wheel for Python 3.11 or newer, so it cannot
be installed. `make peers` lays its files beside the peers' environment (benchmarks/sololearn.lock), and this module
imports the few that it needs one by one: `solo/__init__.py`, which imports everything, never runs. The one file that
needs PyTorch Lightning, `solo/methods/base.py` (the trainer), has a stand-in here.

Runs in the peers' environment, so it imports nothing of this project.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(sys.prefix) / "sololearn" / "solo"

# BYOL's asymmetric views, as solo-learn's script for ImageNet-100 has them (its bash_files/pretrain/imagenet-100).
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
ASYMMETRIC = ({"gaussian_prob": 1.0, "solarization_prob": 0.0}, {"gaussian_prob": 0.1, "solarization_prob": 0.2})


def installed(folder: Path = FOLDER) -> bool:
    """Whether `make peers` has laid the files there."""
    return (folder / "methods" / "byol.py").is_file()


def load(name: str, folder: Path = FOLDER) -> types.ModuleType:
    """Import one of its modules, such as "losses.byol", from its file, whatever its packages would import.

    Raises FileNotFoundError when the files are not there.
    """
    if not installed(folder):
        raise FileNotFoundError(f"solo-learn's files are not in {folder}; run make peers")
    for package in ("solo", "solo.losses", "solo.methods", "solo.utils"):
        if package not in sys.modules:
            bare = types.ModuleType(package)
            bare.__path__ = [str(folder.joinpath(*package.split(".")[1:]))]
            sys.modules[package] = bare
    return importlib.import_module(f"solo.{name}")


def byol_transform(size: int) -> Callable[[Any], Any]:
    """Return its transform of a Pillow image to two views; 32 pixels as it has them for CIFAR, else as for ImageNet."""
    data = load("utils.pretrain_dataloader")
    name = "cifar10" if size == 32 else "imagenet"
    each = [data.prepare_transform(name, **JITTER, **view) for view in ASYMMETRIC]
    transform: Callable[[Any], Any] = data.prepare_n_crop_transform(each, [1, 1])
    return transform


def step(
    batch: int, size: int, device: str = "cpu", bf16: bool = False, channels_last: bool = False, arch: str = "resnet50"
) -> Callable[[], int]:
    """One BYOL step a sample on noise: both views through both networks, loss, gradients, SGD, momentum update.

    Encoders are torchvision's, as solo-learn's are. The heads have BYOL's sizes (solo-learn's own defaults, 2,048 and
    512, would be less work). Its linear classifier, which it trains alongside, is left out.
    """
    import torch

    method, updater = build(arch)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    method.to(device=device, memory_format=layout).train()
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.9, weight_decay=1e-4)
    torch.manual_seed(0)
    crops = [torch.randn(batch, 3, size, size).to(device=device, memory_format=layout) for _ in range(2)]
    done = 0

    def sample() -> int:
        nonlocal done
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            feats = [method.encoder(crop) for crop in crops]
            with torch.no_grad():
                momentum_feats = [method.momentum_encoder(crop) for crop in crops]
            loss, _ = method._shared_step(feats, momentum_feats)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += 1
        for pair in method.momentum_pairs:
            updater.update(*pair)
        updater.update_tau(cur_step=done, max_steps=1_000_000)
        return batch

    return sample


def build(arch: str) -> tuple[Any, Any]:
    """Return (its BYOL method with online and momentum networks, its momentum updater)."""
    import torchvision
    from torch import nn

    momentum = load("utils.momentum")

    class BaseMomentumMethod(nn.Module):
        """What BYOL needs of solo-learn's base class: two encoders, without the trainer around them."""

        num_large_crops = num_crops = 2
        learnable_params: list[dict[str, Any]] = []

        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.momentum_encoder = (getattr(torchvision.models, arch)(weights=None) for _ in range(2))
            self.features_dim = self.encoder.fc.in_features
            self.encoder.fc, self.momentum_encoder.fc = nn.Identity(), nn.Identity()
            momentum.initialize_momentum_params(self.encoder, self.momentum_encoder)

        @property
        def momentum_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
            return [(self.encoder, self.momentum_encoder)]

    stand_in: Any = types.ModuleType("solo.methods.base")
    stand_in.BaseMomentumMethod = BaseMomentumMethod
    sys.modules["solo.methods.base"] = stand_in
    sys.modules.pop("solo.methods.byol", None)
    method = load("methods.byol").BYOL(proj_output_dim=256, proj_hidden_dim=4096, pred_hidden_dim=4096)
    return method, momentum.MomentumUpdater(0.99, 1.0)
