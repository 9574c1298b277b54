"""Joint embedding without negatives: SimSiam, SwAV, Barlow Twins, VICReg, VICRegL, DINO."""

from __future__ import annotations

from cases import Case

SWAV = {"name": "swav", "prototypes": 7, "hidden_dim": 12, "projection_dim": 6}

VICREG = frozenset({"loss", "invariance", "variance", "covariance"})
DINO = {"name": "dino", "outputs_dim": 9, "hidden_dim": 12, "bottleneck_dim": 6}

CASES = {
    "simsiam": Case(
        {"name": "simsiam", "projection_dim": 10, "hidden_dim": 5}, (32, 32), frozenset({"loss", "std"}), symmetric=True
    ),
    "simsiam crops": Case(
        {"name": "simsiam", "projection_dim": 10, "hidden_dim": 5, "crops": 2, "crop_size": 32},
        (64, 64, 32, 32),
        frozenset({"loss", "std"}),
        symmetric=True,
    ),
    "swav": Case({**SWAV, "crops": 2, "crop_size": 32}, (64, 64, 32, 32), symmetric=True),
    "swav queue": Case({**SWAV, "crops": 0, "queue_size": 8}, (32, 32), symmetric=True),
    "barlow_twins": Case(
        {"name": "barlow_twins", "projection_dim": 10},
        (32, 32),
        frozenset({"loss", "invariance", "redundancy"}),
        symmetric=True,
    ),
    "barlow_twins crops": Case(
        {"name": "barlow_twins", "projection_dim": 10, "crops": 2, "crop_size": 32},
        (64, 64, 32, 32),
        frozenset({"loss", "invariance", "redundancy"}),
        symmetric=True,
    ),
    "vicreg": Case({"name": "vicreg", "projection_dim": 10}, (32, 32), VICREG, symmetric=True),
    "vicreg crops": Case(
        {"name": "vicreg", "projection_dim": 10, "crops": 2, "crop_size": 32}, (64, 64, 32, 32), VICREG, symmetric=True
    ),
    "vicregl": Case(
        {"name": "vicregl", "projection_dim": 10, "local_dim": 6, "matches": (3, 2)},
        (64, 64),
        frozenset({"loss", "loss_global", "loss_feature", "loss_location"}),
        symmetric=True,
    ),
    "vicregl paper": Case(
        {
            "name": "vicregl",
            "projection_dim": 10,
            "local_dim": 6,
            "matches": (3, 2),
            "feature_matches": (3, 2),
            "flip_places": True,
        },
        (64, 64),
        frozenset({"loss", "loss_global", "loss_feature", "loss_location"}),
        symmetric=True,
    ),
    "vicregl crops": Case(
        {"name": "vicregl", "projection_dim": 10, "local_dim": 6, "matches": (3, 2), "crops": 2, "crop_size": 32},
        (64, 64, 32, 32),
        frozenset({"loss", "loss_global", "loss_feature", "loss_location"}),
        symmetric=True,
    ),
    "dino": Case({**DINO, "crops": 2, "crop_size": 32}, (64, 64, 32, 32), frozen=("target_",), symmetric=True),
    "dino norm": Case(
        {**DINO, "norm_in_head": True, "crops": 2, "crop_size": 32},
        (64, 64, 32, 32),
        frozen=("target_",),
        symmetric=True,
    ),
}
