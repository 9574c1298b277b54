"""The networks of a bootstrap method (BYOL and what builds on it).

Every such objective gives them the same names (`encoder`, `projector`, `predictor`, `target_encoder`,
`target_projector`), so that a checkpoint of one can start another.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

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


def bootstrap_networks(encoder: Encoder, hidden_dim: int, projection_dim: int) -> BootstrapNetworks:
    """Build the heads from the encoder's seed, and the target as a copy of the online network."""
    with seeded(encoder.seed, "heads"):
        projector = mlp(encoder.feature_dim, hidden_dim, projection_dim)
        predictor = mlp(projection_dim, hidden_dim, projection_dim)
    return BootstrapNetworks(projector, predictor, target_of(encoder), target_of(projector))
