"""Joint embedding without negatives: SimSiam, SwAV, Barlow Twins, VICReg, VICRegL, DINO."""

from __future__ import annotations

from cases import Case

CASES = {
    "simsiam": Case(
        {"name": "simsiam", "projection_dim": 10, "hidden_dim": 5}, (32, 32), frozenset({"loss", "std"}), symmetric=True
    ),
}
