"""How each objective is trained for the canary: small heads, and a schedule of some dozen steps.

SHARED is given to every objective whose constructor has these settings, PARTICULAR to one objective. CONDITIONS are
what the expected ranges are recorded under. This module does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from bench.config.objective_settings import settings_of
from bench.config.objective_source import objectives

SHARED: dict[str, Any] = {
    "hidden_dim": 128,
    "projection_dim": 64,
    "dim": 64,
    "d0": 64,
    "local_dim": 32,
    "bottleneck_dim": 32,
    "latent_dim": 32,
    "outputs_dim": 256,
    "prototypes": 64,
    "queue_size": 384,
    "dense_queue_size": 384,
    "rkhs_dim": 64,
    "target_dim": 32,
    "context_dim": 64,
    "context_blocks": 2,
    "negatives": 256,
    "momentum": 0.99,
    "crop_size": 32,
    "width": 16,
    "depth": 3,
    "image_size": 32,
}


@dataclass(frozen=True)
class Canary:
    """How one objective is trained.

    Args:
        name: of the objective.
        settings: of the objective, in place of its defaults.
        steps: optimizer steps.
        batch_size: images per step.
        view_size: side of the global views in pixels.
        lr: Adam's learning rate after warm-up.
        norm_images: that share a batch norm's statistics; None: all of a step.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    steps: int = 64
    batch_size: int = 48
    view_size: int = 64
    lr: float = 2e-3
    norm_images: int | None = None


@dataclass(frozen=True)
class Conditions:
    """What may differ from machine to machine without anything being wrong.

    Args:
        kernels: environment variables, set before torch is imported, that make it compute as on another processor.
        threads: of one run.
        shake: which small random change of the initial weights; 0 is none.
    """

    kernels: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    shake: int = 0


AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
AVX = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX", "MKL_CBWR": "COMPATIBLE"}
SSE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
CONDITIONS = (
    Conditions(),  # the processor's best kernels
    Conditions(threads=2, shake=1),
    Conditions(AVX2),
    Conditions(AVX2, threads=2, shake=2),
    Conditions(AVX, shake=3),
    Conditions(SSE),
)

TOLD = frozenset({"taco", "dsm"})  # objectives of clips, whose `top1_percent` is measured on clips that are held out
UNTRAINED = frozenset({"random_init"})

LONG: dict[str, Any] = {"steps": 96}  # targets that follow slowly need more steps to show a mistake
PARTICULAR: dict[str, dict[str, Any]] = {
    "byol": LONG,
    "two_loss": LONG,
    "patch_byol": {"settings": {"patches": 4, "sampling": "grid"}, **LONG},
    "direct_clr": {"lr": 5e-4},  # at a higher rate three runs differ by more than a wrong temperature makes
    "moco": {"norm_images": 8, **LONG},
    "moco_v2": {"norm_images": 8, **LONG},
    "clsa": {"norm_images": 8},
    "densecl": {"norm_images": 8},
    "moco_v3": LONG,
    "swav": {"settings": {"crops": 2, "prototypes": 32, "freeze_share": 0.02}},
    "dino": {"settings": {"crops": 2, "outputs_dim": 64, "tau0": 0.95, "freeze_share": 0.02}, "lr": 5e-4},
    "taco": {"settings": {"frames": 3, "stride": 1, "transforms": ("speed", "reverse")}, "batch_size": 16},
    # Clips that are moved far enough to be told from others in so few steps.
    "dsm": {"settings": {"frames": 3, "stride": 2, "flow_scale": (4.0, 8.0)}, "batch_size": 16},
    "rotation": {"batch_size": 24},
    "relative_patch": {
        "settings": {"patch_size": 32, "gap": 12, "jitter": 3},
        "view_size": 128,
        "batch_size": 24,
    },
    "jigsaw": {
        "settings": {"permutations": 24, "patch_size": 32, "gap": 6, "jitter": 3, "patch_dim": 64},
        "view_size": 120,
        "batch_size": 16,
    },
    "pirl": {"settings": {"puzzle_size": 120, "patch_size": 32, "loss": "softmax"}, "batch_size": 16},
    "cpc": {"settings": {"directions": 1}, "batch_size": 6, "view_size": 256, "steps": 24},
    "instance_discrimination": {"settings": {"loss": "softmax"}},
    "cast": {"norm_images": 4, "batch_size": 16, "steps": 48},
    "detcon": {"batch_size": 12, "steps": 32},
    "pixel_cnn": {"settings": {"image_size": 16}, "batch_size": 32},
    "pixel_rnn": {"settings": {"image_size": 8}, "batch_size": 32},
    "bigan": {"lr": 5e-4},
    "context_encoder": {"settings": {"overlap": 3}},
}


def canaries() -> dict[str, Canary]:
    """Return {objective: how it is trained} for every objective that trains."""
    return {name: canary(name) for name in objectives() if name not in UNTRAINED}


def canary(name: str) -> Canary:
    """Return how one objective is trained."""
    accepted, particular = settings_of(name), dict(PARTICULAR.get(name, {}))
    settings = {key: value for key, value in SHARED.items() if key in accepted} | particular.pop("settings", {})
    return replace(Canary(name, settings), **particular)
