"""Objectives of lightly, as this harness trains objectives from outside: its losses, heads and momentum updates.

What is lightly's: the loss, the projection, prediction and prototype heads, the memory bank, the shuffling of keys, and
the update of momentum networks. What is this harness's: network, views, order of the images, optimizer, schedule,
precision, conversion and evaluation. So a run of one of these beside a run of ours differs in what is to be compared.

Each step follows the one of lightly's own that is named in its docstring, in its repository at e8d317f (1.5.26).
Settings have the names of ours, so that a config is ours with another name of the objective. All run on one process.
`peer_pairs.py` lists where lightly's own defaults are others than what stands here, and what ours have otherwise.

    bench run --pretrain benchmarks/peer_configs/control_lightly_byol.py --downstream cifar10_knn …

lightly is among what `make install` installs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss, SwaVLoss, VICRegLoss
from lightly.models.modules.heads import (
    BarlowTwinsProjectionHead,
    BYOLPredictionHead,
    BYOLProjectionHead,
    MoCoProjectionHead,
    SimCLRProjectionHead,
    SimSiamPredictionHead,
    SimSiamProjectionHead,
    SwaVProjectionHead,
    SwaVPrototypes,
    VICRegProjectionHead,
)
from lightly.models.utils import batch_shuffle, batch_unshuffle, deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from bench.config.setting_types import AreaRange, Count, Positive, Share, Weight
from bench.data.views import BYOL_VIEWS, MOCO_V2_VIEWS, SIMCLR_VIEWS, Batch, View
from bench.errors import BadInput
from bench.nn.collectives import world
from bench.nn.encoder import Encoder
from bench.nn.seeding import seeded
from bench.objectives.base import Objective, ParamGroup, groups_apart
from bench.objectives.small_crops import SmallCrops

M = TypeVar("M", bound=nn.Module)


class OneProcess(Objective):
    """What these share: one process, since lightly's losses would have to gather embeddings over several."""

    needs_several_for = "other images, or norms over several"
    norm_groups: ClassVar[bool] = True

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a single image, and several processes."""
        super().check(batch_size, view_size)
        if world() > 1:
            raise BadInput(f"{type(self).__name__} runs on one process; start it on one GPU, or on the CPU.")


class TwoViews(OneProcess):
    """Two full views, and no small crops, which lightly's step has none of either."""

    @staticmethod
    def full_views(size: int) -> tuple[View, ...]:
        """Return the views, of `size` pixels: those of the objective of ours."""
        raise NotImplementedError

    def views(self, size: int) -> tuple[View, ...]:
        """The full views."""
        return self.full_views(size)


def momentum_copy(network: M) -> M:
    """Return the copy that follows a network, as lightly's examples make it."""
    copied = copy.deepcopy(network)
    deactivate_requires_grad(copied)
    return copied


def outside_autocast(loss: Callable[..., Tensor], *outputs: Any) -> Tensor:
    """Return lightly's loss of tensors, or of lists of them, in float32 or more: none of its losses asks for that."""
    first = outputs[0] if isinstance(outputs[0], Tensor) else outputs[0][0]
    with torch.autocast(first.device.type, enabled=False):
        return loss(*(widened(each) for each in outputs)).squeeze()


def widened(outputs: Tensor | Sequence[Tensor]) -> Any:
    """Return half-precision tensors as float32; float64 stays."""
    if not isinstance(outputs, Tensor):
        return [widened(each) for each in outputs]
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs


class LightlySimCLR(TwoViews):
    """SimCLR as benchmarks/imagenet/resnet50/simclr.py has it: both views in one forward."""

    full_views = staticmethod(SIMCLR_VIEWS)

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: Positive = 0.1,
        projector_layers: Count = 2,
        hidden_dim: Count = 2048,
        projection_dim: Count = 128,
    ) -> None:
        super().__init__(encoder)
        with seeded(encoder.seed, "heads"):
            self.projector = SimCLRProjectionHead(encoder.feature_dim, hidden_dim, projection_dim, projector_layers)
        self.criterion = NTXentLoss(temperature=temperature)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        z0, z1 = self.projector(self.encoder(torch.cat(batch.views))).chunk(2)  # N×D
        return {"loss": outside_autocast(self.criterion, z0, z1)}


class LightlyMoCoV2(TwoViews):
    """MoCo v2 as benchmarks/imagenet/resnet50/mocov2.py has it, the first view being the query's as in ours."""

    full_views = staticmethod(MOCO_V2_VIEWS)
    keeps_copy: ClassVar[bool] = True
    shuffles_keys: ClassVar[bool] = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        queue_size: Count = 65536,
        temperature: Positive = 0.2,
        momentum: Share = 0.999,
        dim: Count = 128,
    ) -> None:
        super().__init__(encoder)
        width = encoder.feature_dim
        with seeded(encoder.seed, "heads"):
            self.projector = MoCoProjectionHead(width, width, dim)
        self.key_encoder, self.key_projector = momentum_copy(encoder), momentum_copy(self.projector)
        with seeded(encoder.seed, "queue"):
            self.criterion = NTXentLoss(temperature=temperature, memory_bank_size=(queue_size, dim))
        bank = self.criterion.memory_bank
        for name in ("bank", "bank_ptr"):  # lightly leaves them out of the state dict
            bank.register_buffer(name, getattr(bank, name), persistent=True)
        self.queue_size, self.momentum = queue_size, momentum

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a queue that is no multiple of the batch, of which lightly would drop keys."""
        super().check(batch_size, view_size)
        if self.queue_size % batch_size:
            near = max(1, round(self.queue_size / batch_size)) * batch_size
            raise BadInput(
                f"objective.queue_size is {self.queue_size}, no multiple of the {batch_size} images of a batch; set it "
                f"to {near}, or change batch_size."
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        v1, v2 = batch.views
        query = self.projector(self.encoder(v1))  # N×D
        with torch.no_grad():
            shuffled, order = batch_shuffle(v2)
            key = batch_unshuffle(self.key_projector(self.key_encoder(shuffled)), order)  # N×D
        return {"loss": outside_autocast(self.criterion, query, key)}

    def after_step(self, progress: float) -> None:  # noqa: ARG002
        """Move the key's networks."""
        update_momentum(self.encoder, self.key_encoder, m=self.momentum)
        update_momentum(self.projector, self.key_projector, m=self.momentum)


class LightlyBYOL(TwoViews):
    """BYOL as benchmarks/imagenet/resnet50/byol.py has it; 4 is added, so that the loss is that of the paper."""

    full_views = staticmethod(BYOL_VIEWS)
    keeps_copy: ClassVar[bool] = True

    def __init__(
        self, encoder: Encoder, *, hidden_dim: Count = 4096, projection_dim: Count = 256, tau0: Share = 0.99
    ) -> None:
        super().__init__(encoder)
        with seeded(encoder.seed, "heads"):
            self.projector = BYOLProjectionHead(encoder.feature_dim, hidden_dim, projection_dim)
            self.predictor = BYOLPredictionHead(projection_dim, hidden_dim, projection_dim)
        self.target_encoder, self.target_projector = momentum_copy(encoder), momentum_copy(self.projector)
        self.criterion = NegativeCosineSimilarity()
        self.tau0 = tau0

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        with torch.no_grad():
            z0, z1 = (self.target_projector(self.target_encoder(v)) for v in batch.views)  # N×D
        p0, p1 = (self.predictor(self.projector(self.encoder(v))) for v in batch.views)  # N×D
        loss_0 = 2 * outside_autocast(self.criterion, z0, p1)
        loss_1 = 2 * outside_autocast(self.criterion, z1, p0)
        return {"loss": loss_0 + loss_1 + 4}

    def after_step(self, progress: float) -> None:
        """Move the target, by a share that goes from tau0 to 1 along half a cosine."""
        # Of 2 steps, 0 is at the start and 1 at the end: the share of the run that is done is a step between them.
        m = cosine_schedule(step=progress, max_steps=2, start_value=self.tau0, end_value=1.0)
        update_momentum(self.encoder, self.target_encoder, m=m)
        update_momentum(self.projector, self.target_projector, m=m)


class LightlySimSiam(TwoViews):
    """SimSiam as examples/pytorch/simsiam.py has it."""

    full_views = staticmethod(MOCO_V2_VIEWS)

    def __init__(self, encoder: Encoder, *, projection_dim: Count = 2048, hidden_dim: Count = 512) -> None:
        super().__init__(encoder)
        d = projection_dim
        with seeded(encoder.seed, "heads"):
            self.projector = SimSiamProjectionHead(encoder.feature_dim, d, d)
            self.predictor = SimSiamPredictionHead(d, hidden_dim, d)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        z0, z1 = (self.projector(self.encoder(v)) for v in batch.views)  # N×D
        p0, p1 = self.predictor(z0), self.predictor(z1)
        z0, z1 = z0.detach(), z1.detach()
        loss = 0.5 * (outside_autocast(self.criterion, z0, p1) + outside_autocast(self.criterion, z1, p0))
        return {"loss": loss}

    def param_groups(self) -> list[ParamGroup]:
        """As ours: the predictor's rate stays at its peak."""
        return groups_apart(super().param_groups(), self.predictor, {"constant": False}, {"constant": True})


class LightlyBarlowTwins(TwoViews):
    """Barlow Twins as examples/pytorch/barlowtwins.py has it."""

    full_views = staticmethod(BYOL_VIEWS)

    def __init__(
        self, encoder: Encoder, *, projection_dim: Count = 8192, weight: Weight = 0.0051, bias_rate: Weight = 0.024
    ) -> None:
        super().__init__(encoder)
        d = projection_dim
        with seeded(encoder.seed, "heads"):
            self.projector = BarlowTwinsProjectionHead(encoder.feature_dim, d, d)
        self.criterion = BarlowTwinsLoss(lambda_param=weight)
        self.bias_rate = bias_rate

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        z0, z1 = (self.projector(self.encoder(v)) for v in batch.views)  # N×D
        return {"loss": outside_autocast(self.criterion, z0, z1)}

    def param_groups(self) -> list[ParamGroup]:
        """As ours: biases and norms have a rate of their own."""
        weights, rest = super().param_groups()
        rest["rate"] = self.bias_rate
        return [weights, rest]


class LightlyVICReg(TwoViews):
    """VICReg as examples/pytorch/vicreg.py has it, with three layers in the head."""

    full_views = staticmethod(BYOL_VIEWS)

    def __init__(
        self,
        encoder: Encoder,
        *,
        projection_dim: Count = 8192,
        invariance_weight: Weight = 25.0,
        variance_weight: Weight = 25.0,
        covariance_weight: Weight = 1.0,
    ) -> None:
        super().__init__(encoder)
        d = projection_dim
        with seeded(encoder.seed, "heads"):
            self.projector = VICRegProjectionHead(encoder.feature_dim, d, d, num_layers=3)
        self.criterion = VICRegLoss(invariance_weight, variance_weight, covariance_weight)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        z0, z1 = (self.projector(self.encoder(v)) for v in batch.views)  # N×D
        return {"loss": outside_autocast(self.criterion, z0, z1)}


class LightlySwAV(SmallCrops, OneProcess):
    """SwAV as benchmarks/imagenet/resnet50/swav.py has it, without its queue: each view has a forward of its own."""

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
        freeze_share: Share = 0.00125,
        global_scale: AreaRange = (0.14, 1.0),
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = SwaVProjectionHead(encoder.feature_dim, hidden_dim, projection_dim)
            self.prototypes = SwaVPrototypes(projection_dim, prototypes)
        self.criterion = SwaVLoss(temperature, iterations, epsilon)
        self.freeze_share = freeze_share
        self.global_scale = (float(global_scale[0]), float(global_scale[1]))

    def views(self, size: int) -> tuple[View, ...]:
        """Two full views, then the small crops, as ours."""
        full = replace(SIMCLR_VIEWS(size)[0], scale=self.global_scale, interpolation="bilinear")
        return (full, full, *self.small_crops(full))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        self.prototypes.normalize()
        z = [F.normalize(self.projector(self.encoder(view)), dim=1) for view in batch.views]  # N×D of each view
        logits = [self.prototypes(each) for each in z]  # N×C
        if len(logits) > 2:
            return {"loss": outside_autocast(self.criterion, logits[:2], logits[2:])}
        return {"loss": outside_autocast(lambda full: self.criterion(full, []), logits)}

    def before_step(self, progress: float) -> None:
        """Hold the prototypes at the start of the run, by the share that ours has."""
        if progress < self.freeze_share:
            for parameter in self.prototypes.parameters():
                parameter.grad = None

    def param_groups(self) -> list[ParamGroup]:
        """As ours: LARS adapts all parameters."""
        return [{**group, "adapt": True} for group in super().param_groups()]
