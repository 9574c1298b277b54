"""Views that several recipes have, in the words of `recipe_text`; where each number is from stands beside its use."""

from __future__ import annotations

# What follows a crop. BYOL's is deepmind-research@f5de0ed, byol/utils/augmentations.py:27-66 (view1, view2), SimCLR's
# simclr@383d414, data_util.py:387-475 and run.py:239-241 (strength 1), MoCo v2's moco@78b69ca, main_moco.py:225-235,
# MoCo v1's main_moco.py:238-245 of it (grey before jitter), htdt's self-supervised@d9662c8, cfg.py:32-42.
BYOL = "flip 0.5, jitter 0.4 0.4 0.2 0.1 at 0.8, grey 0.2"
SIMCLR = "flip 0.5, jitter 0.8 0.8 0.8 0.2 at 0.8, grey 0.2, blur 0.1 to 2 at 0.5"
MOCO_V2 = "flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2, blur 0.1 to 2 at 0.5"
MOCO_V1 = "flip 0.5, grey 0.2, jitter 0.4 0.4 0.4 0.4 at 1"
HTDT = "flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.1"
PLAIN = "flip 0.5"


def crop(then: str, scale: str = "0.08 to 1", size: int = 224, resize: str = "bicubic") -> str:
    """A crop of that share of the area, and what follows it."""
    return f"{size} px of {scale}, {resize}, {then}"


def byol_pair(scale: str = "0.08 to 1", resize: str = "bicubic") -> list[str]:
    """BYOL's two views: the first always blurred, the second rarely, and sometimes solarized."""
    return [
        crop(f"{BYOL}, blur 0.1 to 2 at 1", scale, resize=resize),
        crop(f"{BYOL}, blur 0.1 to 2 at 0.1, solarize 0.2", scale, resize=resize),
    ]
