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
}
