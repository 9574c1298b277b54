"""BYOL and what builds on it; supervised training."""

from __future__ import annotations

from cases import Case

HEADS = {"hidden_dim": 12, "projection_dim": 6}
TARGETS = ("target_",)
TWO = frozenset({"loss", "loss1", "loss2"})
PATCH = frozenset({"loss", "loss_global", "loss_patch"})

CASES = {
    "byol": Case({"name": "byol", **HEADS}, (32, 32), frozen=TARGETS, symmetric=True),
    "byol crops": Case(
        {"name": "byol", "crops": 2, "crop_size": 32, **HEADS}, (64, 64, 32, 32), frozen=TARGETS, symmetric=True
    ),
    "two_loss least_squares": Case(
        {"name": "two_loss", "loss2": "least_squares", **HEADS}, (32, 32), TWO, frozen=TARGETS, symmetric=True
    ),
    "two_loss logistic_centred": Case(
        {"name": "two_loss", "loss2": "logistic_centred", **HEADS}, (32, 32), TWO, frozen=TARGETS, symmetric=True
    ),
    "two_loss logistic": Case({"name": "two_loss", **HEADS}, (32, 32), TWO, frozen=TARGETS, symmetric=True),
    "two_loss dense_byol": Case({"name": "two_loss", "loss2": "dense_byol", **HEADS}, (64, 64), TWO, frozen=TARGETS),
    "two_loss crops": Case(
        {"name": "two_loss", "crops": 2, "crop_size": 32, **HEADS},
        (64, 64, 32, 32),
        TWO,
        frozen=TARGETS,
        symmetric=True,
    ),
    "two_loss dense_byol crops": Case(
        {"name": "two_loss", "loss2": "dense_byol", "crops": 2, "crop_size": 32, **HEADS},
        (64, 64, 32, 32),
        TWO,
        frozen=TARGETS,
    ),
    "two_loss align_uniform": Case(
        {"name": "two_loss", "loss2": "align_uniform", **HEADS}, (32, 32), TWO, frozen=TARGETS, symmetric=True
    ),
    "two_loss variance_covariance": Case(
        {"name": "two_loss", "loss2": "variance_covariance", **HEADS}, (32, 32), TWO, frozen=TARGETS, symmetric=True
    ),
    "patch_byol grid": Case({"name": "patch_byol", "symmetric": True, **HEADS}, (64, 64), PATCH, frozen=TARGETS),
    "patch_byol gated": Case(
        {"name": "patch_byol", "gate_temperature": 0.5, **HEADS}, (64, 64), PATCH | {"gate"}, frozen=TARGETS
    ),
    "patch_byol random": Case(
        {"name": "patch_byol", "sampling": "random", "patches": 2, "symmetric": True, **HEADS},
        (32, 32, 32, 32),
        PATCH,
        frozen=TARGETS,
    ),
    "supervised": Case({"name": "supervised"}, (32,), frozenset({"loss", "top1_percent"})),
}
