"""Joint embedding without negatives: SimSiam, SwAV, Barlow Twins, VICReg, VICRegL, DINO."""

from __future__ import annotations

from cases import Case

SWAV = {"name": "swav", "prototypes": 7, "hidden_dim": 12, "projection_dim": 6}

CASES = {
    "simsiam": Case(
        {"name": "simsiam", "projection_dim": 10, "hidden_dim": 5}, (32, 32), frozenset({"loss", "std"}), symmetric=True
    ),
    "swav": Case({**SWAV, "crops": 2, "crop_size": 32}, (64, 64, 32, 32), symmetric=True),
    "swav queue": Case({**SWAV, "crops": 0, "queue_size": 8}, (32, 32), symmetric=True),
}
