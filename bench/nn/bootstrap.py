"""The networks of a bootstrap method (BYOL and what builds on it).

Every such objective gives them the same names (`encoder`, `projector`, `predictor`, `target_encoder`,
`target_projector`), so that a checkpoint of one can start another.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from bench.errors import BadInput
from bench.nn.ema import target_of
from bench.nn.encoder import Encoder
from bench.nn.heads import mlp
from bench.nn.seeding import seeded


class BootstrapNetworks(NamedTuple):
    """The networks beside an encoder f: heads g and q, and the target's f′ and g′."""

    projector: nn.Sequential  # g: feature_dim -> D
    predictor: nn.Sequential  # q: D -> D
    target_encoder: Encoder  # f′
    target_projector: nn.Sequential  # g′


def bootstrap_networks(encoder: Encoder, hidden_dim: int, projection_dim: int, tau0: float) -> BootstrapNetworks:
    """Build the heads from the encoder's seed, and the target as a copy of the online network.

    Raises BadInput for dimensions below 1 and for a tau0 outside [0, 1].
    """
    for name, value in (("hidden_dim", hidden_dim), ("projection_dim", projection_dim)):
        if value < 1:
            raise BadInput(f"objective.{name} is {value}; set it to 1 or more.")
    if not 0.0 <= tau0 <= 1.0:
        raise BadInput(f"objective.tau0 is {tau0}; it is the target's rate at the start, set it within 0 and 1.")
    with seeded(encoder.seed, "heads"):
        projector = mlp(encoder.feature_dim, hidden_dim, projection_dim)
        predictor = mlp(projection_dim, hidden_dim, projection_dim)
    return BootstrapNetworks(projector, predictor, target_of(encoder), target_of(projector))
