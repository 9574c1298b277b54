"""What MoCo and objectives like it share: a head, copies of encoder and head that make keys, and a queue of past keys.

Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (MoCo, CVPR 2020), section 3.2.
"""

from __future__ import annotations

from typing import Any, ClassVar

from bench.nn.ema import target_of
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.queue import Queue
from bench.nn.seeding import seeded
from bench.objectives.moving_copies import MovingCopies


class MomentumContrast(MovingCopies):
    """An objective with a queue of keys from networks that move by the same share at every step.

    Args:
        encoder: of the queries.
        dims: of the head after the encoder's features: hidden …, out. ReLUs in between, no norms.
        queue_size: keys in the queue.
        temperature: τ of the softmax over keys.
        momentum: share of itself that a key's network keeps at a step.
        small_crops: their settings.

    The names of the networks are the same everywhere, so that a checkpoint of one objective can start another. Keys are
    made by `bench.nn.shuffle.shuffled`.
    """

    norm_groups: ClassVar[bool] = True
    shuffles_keys: ClassVar[bool] = True

    def __init__(
        self,
        encoder: Encoder,
        dims: tuple[int, ...],
        queue_size: int,
        temperature: float,
        momentum: float,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, *dims), batch_norm=False)
        self.key_encoder, self.key_projector = target_of(encoder), target_of(self.projector)
        self.queue = Queue(queue_size, dims[-1], encoder.seed)
        self.temperature, self.momentum = temperature, momentum

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch that the queue is no multiple of."""
        self.queue.check(batch_size)

    def kept_share(self, progress: float) -> float:
        """Return the momentum, at every step the same."""
        return self.momentum
