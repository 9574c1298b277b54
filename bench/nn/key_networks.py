"""The networks of momentum contrast: a head on the encoder, and slowly moving copies of both that make keys.

Every such objective gives them the same names (`encoder`, `projector`, `key_encoder`, `key_projector`), so that a
checkpoint of one can start another.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from bench.nn.ema import target_of
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.seeding import seeded


class KeyNetworks(NamedTuple):
    """The networks beside the query's encoder."""

    projector: nn.Sequential  # feature_dim -> D
    key_encoder: Encoder
    key_projector: nn.Sequential


def key_networks(encoder: Encoder, mlp: bool, dim: int) -> KeyNetworks:
    """Build the head from the encoder's seed, and the key's networks as copies.

    Args:
        encoder: of the queries.
        mlp: a hidden layer as wide as the feature with a ReLU (MoCo v2), instead of one linear layer (v1). No norms.
        dim: D.
    """
    width = encoder.feature_dim
    with seeded(encoder.seed, "heads"):
        projector = projection_mlp((width, width, dim) if mlp else (width, dim), batch_norm=False)
    return KeyNetworks(projector, target_of(encoder), target_of(projector))
