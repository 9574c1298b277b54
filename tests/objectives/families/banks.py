"""Contrast with queues and memory banks, and the pairwise losses before it."""

from __future__ import annotations

from cases import Case

KEYS = ("key_",)
# bf16: a temperature multiplies what rounding does to a cosine.
QUEUE = {"queue_size": 8, "dim": 6}
BANK = {"negatives": 5, "dim": 6}
PAIRS = frozenset({"loss", "similar", "dissimilar"})

CASES = {
    "moco": Case({"name": "moco", **QUEUE}, (32, 32), frozen=KEYS, bf16=0.1),
    "moco symmetric": Case(
        {"name": "moco", "symmetric": True, **QUEUE}, (32, 32), frozen=KEYS, bf16=0.1, symmetric=True
    ),
    **{
        f"{name} {loss}": Case({"name": name, "loss": loss, **QUEUE}, (32, 32), frozen=KEYS, bf16=0.1)
        for name, loss in (("moco", "dcl"), ("moco", "hard"), ("moco_v2", "dcl"), ("moco_v2", "simple"))
    },
    "moco crops": Case(
        {"name": "moco", "symmetric": True, "crops": 2, "crop_size": 32, **QUEUE},
        (64, 64, 32, 32),
        frozen=KEYS,
        bf16=0.1,
        symmetric=True,
    ),
    "moco_v2 crops": Case(
        {"name": "moco_v2", "crops": 2, "crop_size": 32, **QUEUE}, (64, 64, 32, 32), frozen=KEYS, bf16=0.1
    ),
    "moco_v2": Case({"name": "moco_v2", **QUEUE}, (32, 32), frozen=KEYS, bf16=0.1),
    "moco_v3": Case({"name": "moco_v3", "hidden_dim": 12, "dim": 6}, (32, 32), frozen=KEYS, symmetric=True),
    "moco_v3 crops": Case(
        {"name": "moco_v3", "hidden_dim": 12, "dim": 6, "crops": 2, "crop_size": 32},
        (64, 64, 32, 32),
        frozen=KEYS,
        symmetric=True,
    ),
    "instance_discrimination": Case({"name": "instance_discrimination", **BANK}, (32,), bf16=0.1),
    "instance_discrimination softmax": Case(
        {"name": "instance_discrimination", "loss": "softmax", **BANK}, (32,), bf16=0.1
    ),
    "instance_discrimination crops": Case(
        {"name": "instance_discrimination", "crops": 2, "crop_size": 32, **BANK}, (64, 32, 32), bf16=0.1
    ),
    "pirl": Case(
        {"name": "pirl", "puzzle_size": 99, "patch_size": 32, **BANK},
        (32,) * 10,
        frozenset({"loss", "loss_image", "loss_patches"}),
        bf16=0.1,
    ),
    "cmc": Case({"name": "cmc", **BANK}, (32,), frozenset({"loss", "loss_l", "loss_ab"}), bf16=0.1),
    "contrastive_2006": Case({"name": "contrastive_2006", "margin": 4.0, "dim": 6}, (32, 32), PAIRS, symmetric=True),
    "contrastive_2006 normalise": Case(
        {"name": "contrastive_2006", "normalise": True, "dim": 6}, (32, 32), PAIRS, symmetric=True
    ),
    "contrastive_2006 crops": Case(
        {"name": "contrastive_2006", "margin": 4.0, "dim": 6, "crops": 2, "crop_size": 32},
        (64, 64, 32, 32),
        PAIRS,
        symmetric=True,
    ),
    "triplet": Case({"name": "triplet", "dim": 6}, (32, 32), symmetric=True, bf16=0.1),
    "triplet all": Case(
        {"name": "triplet", "mining": "all", "squared": False, "dim": 6}, (32, 32), symmetric=True, bf16=0.1
    ),
    "triplet crops": Case(
        {"name": "triplet", "crops": 2, "crop_size": 32, "dim": 6}, (64, 64, 32, 32), symmetric=True, bf16=0.1
    ),
    "clsa": Case(
        {"name": "clsa", **QUEUE}, (32, 32, 32), frozenset({"loss", "loss_c", "loss_d"}), frozen=KEYS, bf16=0.1
    ),
    "clsa crops": Case(
        {"name": "clsa", "weak_crops": 5, "strong_crops": 5, "beta": 0.7, **QUEUE},
        (64, 64, 64, 64, 32, 32, 64, 64, 64, 32, 32),
        frozenset({"loss", "loss_c", "loss_d"}),
        frozen=KEYS,
        bf16=0.1,
    ),
}
