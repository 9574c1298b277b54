"""Pretext tasks, and what predicts patches from patches."""

from __future__ import annotations

from cases import Case

RIGHT = frozenset({"loss", "top1_percent"})

CASES = {
    "rotation": Case({"name": "rotation"}, (32,), RIGHT),
    "relative_patch": Case(
        {"name": "relative_patch", "patch_size": 32, "gap": 8, "jitter": 3, "hidden_dim": 12}, (118,), RIGHT
    ),
    "relative_patch statistics of patches": Case(
        {
            "name": "relative_patch",
            "patch_size": 32,
            "gap": 8,
            "jitter": 3,
            "hidden_dim": 12,
            "image_statistics": False,
        },
        (118,),
        RIGHT,
    ),
    "jigsaw": Case(
        {"name": "jigsaw", "permutations": 5, "patch_size": 32, "gap": 8, "jitter": 3, "patch_dim": 6}, (118,), RIGHT
    ),
    "colorization": Case({"name": "colorization", "hidden_dim": 8}, (64,)),
    "colorization plain": Case({"name": "colorization", "hidden_dim": 8, "rebalance": False}, (64,)),
    "split_brain": Case(
        {"name": "split_brain", "hidden_dim": 8}, (64,), frozenset({"loss", "loss_colour", "loss_lightness"})
    ),
    "cpc": Case(
        {"name": "cpc", "patch_size": 32, "last_offset": 3, "target_dim": 6, "context_dim": 5, "context_blocks": 2},
        (96,),
    ),
    "amdim": Case(
        {"name": "amdim", "rkhs_dim": 6},
        (64, 64),
        frozenset({"loss", "loss_1to5", "loss_1to7", "loss_5to5", "penalty"}),
    ),
}
