"""Which objective of ours and which of lightly's (`peer_objectives.py`) are compared, and what remains different.

This module imports no torch, so that pages can be made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Default:
    """Where lightly's code and documentation have something of their own, and what a comparison takes instead."""

    what: str
    lightly: str
    here: str


@dataclass(frozen=True)
class Pair:
    """An objective of ours and its counterpart.

    Args:
        ours: its name.
        theirs: a class of `peer_objectives.py`.
        must: settings that ours alone has, with the values that make it what lightly's is.
        differs: what remains different between a training of ours and of lightly's, in words; "" for nothing.
        defaults: what lightly has otherwise where its user says nothing.
        small: settings of both for comparing single steps.
        eval: whether norms are held for that, since views share them otherwise than in ours.
    """

    ours: str
    theirs: str
    must: dict[str, Any]
    differs: str
    defaults: tuple[Default, ...]
    small: dict[str, Any]
    eval: bool = False


_HEAD = Default("momentum head", "drawn by itself in its benchmark, a copy in its example", "a copy")
_APART = Default("forward", "both views together in its benchmark, each by itself in its example", "each by itself")
_UNSEEN = "lightly's last layer has a bias, which the loss does not see"

PAIRS = {
    pair.theirs: pair
    for pair in (
        Pair(
            "simclr",
            "LightlySimCLR",
            {"loss": "nt_xent", "projector": "mlp", "reduction": "mean", "crops": 0},
            "the last norm of lightly's head has a shift, which ours has not",
            (Default("temperature", "0.5, and 0.1 in its benchmark", "the recipe's"),),
            {"hidden_dim": 48, "projection_dim": 16, "temperature": 0.2},
        ),
        Pair(
            "moco_v2",
            "LightlyMoCoV2",
            {"mlp": True, "symmetric": False, "loss": "nt_xent", "crops": 0},
            "",
            (
                Default("temperature", "0.5, and 0.2 in its benchmark", "the recipe's"),
                Default("momentum", "from 0.996 to 1 in its example, 0.999 in its benchmark", "the recipe's, constant"),
                Default("views", "the query sees the second in its benchmark, the first in its example", "the first"),
                Default(
                    "memory bank", "not in checkpoints", "in them, so that a run that was stopped goes on as it was"
                ),
                _HEAD,
            ),
            {"queue_size": 48, "dim": 16, "momentum": 0.9},
        ),
        Pair(
            "byol",
            "LightlyBYOL",
            {"crops": 0},
            "each head of lightly's has a bias in its last layer, ours in the first, where a norm takes it out",
            (
                Default("loss", "half the sum of −cos in its example, twice the sum in its benchmark", "twice the sum"),
                Default("momentum", "by k/(K − 1) of half a cosine, before step k", "by k/K, after step k"),
                _HEAD,
            ),
            {"hidden_dim": 48, "projection_dim": 16, "tau0": 0.9},
        ),
        Pair(
            "simsiam",
            "LightlySimSiam",
            {"crops": 0},
            "",
            (Default("predictor's rate", "as all others'", "constant, as in the paper"),),
            {"hidden_dim": 12, "projection_dim": 48},
        ),
        Pair(
            "barlow_twins",
            "LightlyBarlowTwins",
            {"gradient_ranks": 1, "crops": 0},
            _UNSEEN,
            (
                Default("λ", "0.005", "the recipe's, by default 0.0051"),
                Default("rate of biases and norms", "as all others'", "the recipe's, by default 0.024 of that"),
                _APART,
            ),
            {"projection_dim": 48, "weight": 0.02},
        ),
        Pair(
            "vicreg",
            "LightlyVICReg",
            {"crops": 0},
            _UNSEEN,
            (Default("layers of the head", "3, and 2 in its benchmark and example", "3"), _APART),
            {"projection_dim": 48, "covariance_weight": 2.0},
        ),
        Pair(
            "swav",
            "LightlySwAV",
            {"queue_size": 0},
            "lightly's prototypes have a bias; each view has a forward of its own there, so that norms see one view, "
            "and in ours the two views share them",
            (
                Default("small crops", "6", "the recipe's"),
                Default("queue", "in its benchmark, from epoch 15 on", "none"),
            ),
            {"prototypes": 24, "hidden_dim": 48, "projection_dim": 16, "freeze_share": 0.3, "crops": 0},
            eval=True,
        ),
    )
}
