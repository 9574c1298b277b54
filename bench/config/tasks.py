"""What a downstream config may say: a `Task` of one of several kinds, frozen and validated.

A kind is one class: its settings, and all that the rest asks it for. docs/adding_a_task.md adds one from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from bench.config.kind_facts import check_facts
from bench.config.kinds import STEPS, StageKind
from bench.config.kinds import Task as Task
from bench.config.recipe import LATER, ImageSet, Labelled, PackUsage, Precision, Recipe, TrunkForm, ViewBackend
from bench.config.segmentation_task import FastStep as FastStep
from bench.config.segmentation_task import SegmentationTask as SegmentationTask
from bench.config.trunk_inputs import TrunkInputs, check_inputs
from bench.errors import BadInput
from bench.plugins import load, locate

GROUP = "bench.tasks"  # of the entry points by which an installed package names its kinds of tasks


class TrunkTask(Task):
    """A task that reads a frozen encoder's features of images of one size."""

    pack: PackUsage = "auto"
    kind: str
    dataset: str


class LinearTask(TrunkTask):
    """A linear classifier on the frozen encoder; one head per learning rate, trained side by side."""

    metrics: ClassVar = {"top1_percent": "top-1"}
    several_gpus: ClassVar = True
    run: ClassVar = "bench.stages.linear:run"
    evaluates_from: ClassVar = ("heads.safetensors",)

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
    inputs: TrunkInputs = Field(default="rgb", json_schema_extra=LATER)  # what the trunk is shown of each image
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

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise BadInput for a trunk that has not learnt from `inputs`."""
        check_inputs(self.name, self.inputs, recipe)


class KnnTask(TrunkTask):
    """k-nearest-neighbour vote: weighted, on normalised features (Wu et al. 2018), or a majority of the nearest."""

    metrics: ClassVar = {"top1_percent": "top-1"}
    several_gpus: ClassVar = True
    run: ClassVar = "bench.stages.knn:run"
    evaluates_from: ClassVar = ()
    seeded_by: ClassVar = ("subset",)  # which images are the bank

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
    inputs: TrunkInputs = Field(default="rgb", json_schema_extra=LATER)  # as in LinearTask
    precision: Precision = "auto"
    trunk: TrunkForm = Field(default="autocast", json_schema_extra=LATER)  # as in LinearTask, with the next two
    compile_trunk: bool | None = None
    reuse_features: bool = True
    # `bf16`: a coarse search, and float32 for all that it leaves open; the neighbours are those of float32.
    search: Precision = Field(default="float32", json_schema_extra=LATER)

    @model_validator(mode="after")
    def _weights_of_cosines(self) -> KnnTask:
        if self.vote == "weighted" and self.metric != "cosine":
            raise ValueError("a weighted vote weighs cosines; set metric='cosine', or vote='majority'")
        return self

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise BadInput for a trunk that has not learnt from `inputs`."""
        check_inputs(self.name, self.inputs, recipe)


class DiagnosticsTask(TrunkTask):
    """How a pretraining's representation spreads over its dimensions: of the trunk, and of what its loss sees."""

    outputs: ClassVar = ("spectrum.json", "spectrum.svg")
    reads_training_state: ClassVar = True  # the projector is there alone
    metrics: ClassVar = {
        "backbone_rankme": "backbone RankMe",
        "backbone_uniformity": "backbone uniformity",
        "backbone_tolerance": "backbone tolerance",
        "backbone_knn_percent": "backbone kNN",
        "projector_rankme": "projector RankMe",
        "projector_effective_rank": "projector effective rank",
    }
    run: ClassVar = "bench.stages.diagnostics:run"
    evaluates_from: ClassVar = ()
    seeded_by: ClassVar = ()  # images and views are the same for all

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


# -------------------------------------------------------------------------------------- finding a kind

KINDS: dict[str, type[Task]] = {
    "segmentation": SegmentationTask,
    "linear": LinearTask,
    "knn": KnnTask,
    "diagnostics": DiagnosticsTask,
}


def full_kind(kind: str, folder: Path) -> str:
    """Return a kind as a process in another folder finds it: a relative path `file.py:Class` becomes absolute.

    Args:
        kind: a key of KINDS, an entry point of the group GROUP, `package.module:Class`, or `file.py:Class`.
        folder: of the config, where a relative path is looked for; else in the working directory.

    Raises BadInput when there is none of that name.
    """
    if kind in KINDS:
        return kind
    source = locate(kind, GROUP, folder, what="kind", known=KINDS)
    return kind if source.module is not None else str(source)


def task_class(kind: str) -> type[Task]:
    """Return the class of a kind by its full name; one from outside is imported.

    Raises BadInput when it is not there, cannot be imported, is no kind of task, or has facts that cannot be.
    """
    if kind in KINDS:
        return KINDS[kind]
    source = locate(kind, GROUP, what="kind", known=KINDS)
    loaded = load(source)
    if not (isinstance(loaded, type) and issubclass(loaded, Task)):
        raise BadInput(f"{source} is not a kind of task; derive the class from bench.config.tasks.TrunkTask.")
    check_facts(loaded, source)
    return loaded


def stage_kind(kind: str, config: object) -> type[StageKind]:
    """Return what a stage's kind says of itself; `config` is the stage's, a task or a recipe."""
    return type(config) if isinstance(config, Task) else STEPS[kind]


def portable_kind(kind: str) -> dict[str, str]:
    """Return the kind as it is fingerprinted and recorded: without a path of this machine, with its source's hash.

    {"kind": …}, and "kind_source" where the kind is not ours: an edit of its file (not of what that imports) makes
    another measurement.
    """
    if kind in KINDS:
        return {"kind": kind}
    source = locate(kind, GROUP, what="kind", known=KINDS)
    return {"kind": source.portable, "kind_source": source.hash}


def metrics_of(kind: str) -> Mapping[str, str]:
    """Return {metric: header of its column} of a kind, in the order of columns.

    {} for one that is not ours: its records carry them, so that a table imports nothing that a record names.
    """
    return KINDS[kind].metrics if kind in KINDS else {}


def _as_task(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if not isinstance(kind := value.get("kind"), str):
        raise ValueError("a task lacks its kind")
    return task_class(kind).model_validate(value)


# A field that holds a task of any kind, read and written by the class of its kind.
AnyTask = Annotated[SerializeAsAny[Task], BeforeValidator(_as_task)]
