"""What a downstream config may say: a `Task` of one of several kinds, frozen and validated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from bench.config.recipe import (
    LATER,
    Frozen,
    ImageSet,
    Labelled,
    PackUsage,
    Precision,
    Profile,
    TrunkForm,
    ViewBackend,
)

# What segmentation computes otherwise than mmseg does, to the same result up to the rounding of float32.
FastStep = Literal[
    "psp_split",  # PSPNet's pooled maps are convolved before they are upsampled
    "argmax_accuracy",  # the training accuracy that is logged, without a top-k
    "fused_sgd",
    "one_resize",  # scores that have the file's size already are not resized to it
    "chunked_argmax",  # scores at full resolution exist for a few rows at a time
    "folded_norms",  # evaluation with batch norms folded into the convolutions
    "compiled_evaluation",  # on CPUs with AMX, where many images make up for the time it takes
]


class _Task(Frozen):
    name: str
    summary: str
    source: str
    profile: Profile
    workers: int | None = Field(default=None, ge=0)


class _FrozenTask(_Task):
    """A task that reads a frozen encoder's features of images of one size."""

    pack: PackUsage = "auto"


class SegmentationTask(_Task):
    """Fine-tuning of an mmseg model with the trunk in its backbone. None means: as the mmseg config has it."""

    kind: Literal["segmentation"]
    dataset: str = "cityscapes"
    config: str  # name or path of an mmseg config
    iterations: int | None = Field(default=None, gt=0)
    batch_size: int | None = Field(default=None, gt=0)  # over all ranks
    crop: tuple[int, int] | None = None  # (height, width)
    scale: tuple[int, int] | None = None  # (width, height) that images are resized to, before the random ratio
    lr: float | None = Field(default=None, gt=0)
    validate_every: int | None = Field(default=None, gt=0)  # iterations
    subset: int | None = Field(default=None, gt=0)  # training images
    precision: Precision = "auto"
    channels_last: bool = False
    evaluation_precision: Precision | None = Field(default=None, json_schema_extra=LATER)  # None: that of training
    fast: tuple[FastStep, ...] = Field(default=get_args(FastStep), json_schema_extra=LATER)  # (): as mmseg computes
    overrides: dict[str, Any] = {}  # dotted keys into the mmseg config


class LinearTask(_FrozenTask):
    """A linear classifier on the frozen encoder; one head per learning rate, trained side by side."""

    kind: Literal["linear"]
    dataset: Labelled
    epochs: int = Field(gt=0)
    batch_size: int = Field(default=256, gt=0)
    learning_rates: tuple[float, ...] = Field(min_length=1)  # per 256 images with SGD, as they are with Adam
    # `adam`: torch's, weight decay as its L2 on all parameters; on features that are taken once.
    optimizer: Literal["sgd", "adam"] = Field(default="sgd", json_schema_extra=LATER)
    momentum: float = Field(default=0.9, ge=0, lt=1)  # of SGD
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine", "step", "exponential"] = "step"
    # `exponential`: falls by one factor each epoch, to this share of the rate after the last.
    final_ratio: float = Field(default=0.0, ge=0, le=1, json_schema_extra=LATER)
    milestones: tuple[float, ...] = (0.6, 0.8)  # fractions of the run
    # More than one learning rate: the head is chosen on this share of the training images, never on val.
    selection_share: float = Field(default=0.0, ge=0, lt=1)
    size: int = Field(default=224, ge=32)
    resize: int = Field(default=256, ge=32)
    view_backend: ViewBackend = Field(default="reference", json_schema_extra=LATER)  # of the training views
    subset: int | None = Field(default=None, gt=0)
    precision: Precision = "auto"
    # `folded`: batch norms folded into the convolutions, weights of that precision, pooled in float32; bf16 features
    # differ from `autocast`'s by rounding. `compile_trunk` (None: where there are enough images) is for it alone.
    trunk: TrunkForm = Field(default="autocast", json_schema_extra=LATER)
    compile_trunk: bool | None = None
    reuse_features: bool = True  # of images under the test transform; bit for bit the same
    # `centre`: heads are trained on features under the test transform, taken once: no augmentation, another protocol.
    features: Literal["augmented", "centre"] = Field(default="augmented", json_schema_extra=LATER)

    @model_validator(mode="after")
    def _selection(self) -> LinearTask:
        if len(self.learning_rates) > 1 and self.selection_share == 0:
            raise ValueError("several learning_rates need selection_share > 0, so that val does not choose the head")
        if (self.schedule == "exponential") != (self.final_ratio > 0):
            raise ValueError("schedule 'exponential' and final_ratio > 0 go together; set both, or neither")
        if self.optimizer == "adam" and self.features != "centre":
            raise ValueError("optimizer 'adam' trains on features that are taken once; set features='centre' with it")
        return self


class KnnTask(_FrozenTask):
    """k-nearest-neighbour vote: weighted, on normalised features (Wu et al. 2018), or a majority of the nearest."""

    kind: Literal["knn"]
    dataset: Labelled
    k: int = Field(default=200, gt=0)
    temperature: float = Field(default=0.07, gt=0)  # of the weighted vote
    # `majority`: each neighbour has one vote; of classes with as many, the lowest label wins.
    vote: Literal["weighted", "majority"] = Field(default="weighted", json_schema_extra=LATER)
    # `euclidean`: between features as they are, not normalised.
    metric: Literal["cosine", "euclidean"] = Field(default="cosine", json_schema_extra=LATER)
    batch_size: int = Field(default=256, gt=0)
    size: int = Field(default=224, ge=32)
    resize: int = Field(default=256, ge=32)
    subset: int | None = Field(default=None, gt=0)
    precision: Precision = "auto"
    # `folded`: batch norms folded into the convolutions, weights of that precision, pooled in float32; bf16 features
    # differ from `autocast`'s by rounding. `compile_trunk` (None: where there are enough images) is for it alone.
    trunk: TrunkForm = Field(default="autocast", json_schema_extra=LATER)
    compile_trunk: bool | None = None
    reuse_features: bool = True  # of images under the test transform; bit for bit the same
    # `bf16`: a coarse search, and float32 for all that it leaves open; the neighbours are those of float32.
    search: Precision = Field(default="float32", json_schema_extra=LATER)

    @model_validator(mode="after")
    def _weights_of_cosines(self) -> KnnTask:
        if self.vote == "weighted" and self.metric != "cosine":
            raise ValueError("a weighted vote weighs cosines; set metric='cosine', or vote='majority'")
        return self


class DiagnosticsTask(_FrozenTask):
    """How a pretraining's representation spreads over its dimensions: of the trunk, and of what its loss sees."""

    kind: Literal["diagnostics"]
    dataset: ImageSet  # its validation images; coco's have no classes
    images: int | None = Field(default=None, ge=2)  # drawn once, the same for every pretraining and seed; None: all
    pairs: int = Field(default=2048, ge=2)  # images whose two views alignment is of
    neighbours: int = Field(default=20, gt=0)
    temperature: float = Field(default=0.07, gt=0)
    batch_size: int = Field(default=256, gt=0)
    size: int = Field(default=224, ge=32)
    resize: int = Field(default=256, ge=32)
    # bf16 would add noise of its own to every dimension, which a spectrum shows.
    precision: Precision = "float32"


Task = SegmentationTask | LinearTask | KnnTask | DiagnosticsTask


_METRICS: dict[str, dict[str, str]] = {
    "segmentation": {"aacc_percent": "aAcc", "miou_percent": "mIoU", "macc_percent": "mAcc"},
    "linear": {"top1_percent": "top-1"},
    "knn": {"top1_percent": "top-1"},
    "diagnostics": {
        "backbone_rankme": "backbone RankMe",
        "backbone_uniformity": "backbone uniformity",
        "backbone_tolerance": "backbone tolerance",
        "backbone_knn_percent": "backbone kNN",
        "projector_rankme": "projector RankMe",
        "projector_effective_rank": "projector effective rank",
    },
}


def metrics_of(kind: str) -> Mapping[str, str]:
    """Return {metric: column header} of a kind of task, in the order of a table's columns; {} for an unknown kind."""
    return _METRICS.get(kind, {})
