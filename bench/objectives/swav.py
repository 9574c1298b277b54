"""SwAV: predict which prototypes another view of the image is assigned to; assignments share prototypes equally.

Claim:     75.3 % ImageNet linear top-1 with ResNet-50 (800 epochs, batch 4096, 2×224 + 6×96; the reference's README).
Paper:     Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (NeurIPS 2020),
           eq. 1 to 6.
Equation:  loss = mean over full views i of the mean over views v ≠ i of −Σ_c q_i·log softmax(s_v/τ); s = n(z)·Cᵀ of
           projections z and unit prototypes C; q = Sinkhorn(s/ε) over the whole batch, no gradient. Small crops
           predict and are not assigned.
Reference: facebookresearch/swav, main_swav.py and src/resnet50.py.
Departs from it: Sinkhorn is done on logarithms and by every rank for all images, instead of sums over ranks: equal
           codes. The queue is one for all ranks, is filled from the first step on, and assigns from `queue_start` of
           the run on (there: filled from that epoch on, and used once it is full). LARS divides by ‖g + λw‖ (there,
           apex's LARC: by ‖g‖ + λ‖w‖). Linear layers before a norm have no bias (there they do; the norm takes it out).
           Images are divided by ImageNet's deviation of red, .229 (there: .228). Shares of the run are counted in
           steps. Norms are over groups of `norm_images` (there: main_swav.py:159-163, 8 processes with 64 images each),
           whose running statistics are means over the groups (there: those of the first). With gradient accumulation
           codes are of the micro-batch (of all ranks), with the queue, which takes in each micro-batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.config.setting_types import AreaRange, Count, Positive, Share, Whole
from bench.data.views import SIMCLR_VIEWS, Batch, View
from bench.losses.float32 import at_least_float32
from bench.losses.swapped import prototype_scores, swapped_prediction
from bench.nn.collectives import gather, rank_rows, world
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.multi_crop import project_together
from bench.nn.queue import Queue
from bench.nn.seeding import seeded
from bench.objectives.base import ParamGroup
from bench.objectives.small_crops import SmallCrops


@torch.no_grad()
@at_least_float32
def sinkhorn(scores: Tensor, epsilon: float, iterations: int = 3) -> Tensor:
    """Return the codes Q of images that share the prototypes equally: scores N×C -> N×C, rows sum to 1, no gradient.

    Q starts as exp(scores/ε). Each iteration gives every prototype the same total over the images, then every image
    the total 1 (Sinkhorn and Knopp's iterations, as in Cuturi, "Sinkhorn Distances", 2013; values agree with
    lightly's). This is done on logarithms, so that nothing overflows or vanishes, however small ε is.

    Args:
        scores: of all ranks' images, or the partition is not of the whole batch.
        epsilon: ε, the smaller, the harder the codes.
        iterations: 0 gives a softmax of scores/ε, which is no equal partition.
    """
    log_q = scores / epsilon
    for _ in range(iterations):
        log_q = log_q - log_q.logsumexp(0, keepdim=True)
        log_q = log_q - log_q.logsumexp(1, keepdim=True)
    return log_q.softmax(1)


class SwAV(SmallCrops):
    """SwAV: predict another view's assignment to prototypes, which all images of a batch share equally."""

    needs_several_for = "images that share the prototypes"
    # 2: one forward of the head for all resolutions; LARS adapts biases and norms, too.
    definition: ClassVar[int] = 2
    norm_groups: ClassVar[bool] = True

    queue_on: Tensor
    queued: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        prototypes: Count = 3000,
        hidden_dim: Count = 2048,
        projection_dim: Count = 128,
        temperature: Positive = 0.1,
        epsilon: Positive = 0.05,
        iterations: Count = 3,
        freeze_share: Share = 0.00125,  # of the run, in which prototypes stay as they are: 1 epoch of 800
        queue_size: Whole = 0,
        queue_start: Share = 0.075,  # share of the run from which the queue is used: epoch 15 of 200
        global_scale: AreaRange = (0.14, 1.0),
        crops: Whole = 6,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, crops=crops, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, hidden_dim, projection_dim))
            self.prototypes = nn.Linear(projection_dim, prototypes, bias=False)  # C
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations
        self.freeze_share, self.queue_size, self.queue_start = freeze_share, queue_size, queue_start
        self.global_scale = (float(global_scale[0]), float(global_scale[1]))
        if queue_size:
            made = [Queue(queue_size, projection_dim, encoder.seed + i) for i in (0, 1)]
            self.queues = nn.ModuleList(made)
            self.register_buffer("queue_on", torch.zeros((), dtype=torch.bool))
            self.register_buffer("queued", torch.zeros((), dtype=torch.int64))  # rows that were pushed, of each view

    def views(self, size: int) -> tuple[View, ...]:
        """Two full views, then the small crops, all with SimCLR's colours."""
        full = replace(SIMCLR_VIEWS(size)[0], scale=self.global_scale, interpolation="bilinear")
        return (full, full, *self.small_crops(full))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch of one image, and one that the queue is no multiple of."""
        super().check(batch_size, view_size)
        if self.queue_size:
            self._queue(0).check(batch_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))  # C×D, unit rows
        c = self.prototypes.weight
        z = project_together(self.encoder, self.projector, batch.views)  # N×D of each view
        scores = [prototype_scores(each, c) for each in z]  # N×C
        codes = [self._codes(z[i].detach(), i) for i in (0, 1)]  # N×C
        if self.queue_size:
            self.queued += len(z[0]) * world()
        return {"loss": swapped_prediction(scores, codes, self.temperature)}

    def _queue(self, view: int) -> Queue:
        queue = self.queues[view]
        assert isinstance(queue, Queue)
        return queue

    @torch.no_grad()
    def _codes(self, z: Tensor, view: int) -> Tensor:
        """The codes of this rank's embeddings z N×D of a full view: N×C; they join that view's queue afterwards."""
        c, z_all = self.prototypes.weight, gather(z)  # all ranks' rows
        rows = rank_rows(len(z))
        scores = prototype_scores(z_all, c)
        q = sinkhorn(scores, self.epsilon, self.iterations)[rows]
        if not self.queue_size:
            return q
        queue = self._queue(view)
        past = prototype_scores(queue.keys, c)  # K×C, by the prototypes as they are now
        with_queue = sinkhorn(torch.cat([scores, past]), self.epsilon, self.iterations)[rows]
        queue.push(F.normalize(z, dim=1))
        return torch.where(self.queue_on & (self.queued >= self.queue_size), with_queue, q)

    def before_step(self, progress: float) -> None:
        """Hold the prototypes at the start of the run."""
        if progress < self.freeze_share:
            self.prototypes.weight.grad = None

    def after_step(self, progress: float) -> None:
        """Let the queue take part from its share of the run on."""
        if self.queue_size:
            self.queue_on.fill_(progress >= self.queue_start)

    def param_groups(self) -> list[ParamGroup]:
        """As everywhere, but LARS adapts all parameters, biases and norms, too (main_swav.py:171-177)."""
        return [{**group, "adapt": True} for group in super().param_groups()]
