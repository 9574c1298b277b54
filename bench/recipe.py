"""The config dialect at the door: config files become frozen, validated types, once.

A pretraining config becomes a `Recipe`, a downstream config a `Task`. Files use mmengine's dialect
(plain Python assignments, `_base_`), are found by name in `./pretrain_configs` (`./downstream_configs`),
then among the shipped ones, or given as a path. A *profile* (`full`, `mini`, `smoke`) is a named overlay in
the file; `--set key=value` lays further values over it. Nothing edits a recipe after it is loaded.

This module does not import torch.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from bench.config.objective_settings import check_arguments
from bench.errors import BadInput, nearest

Profile = Literal["full", "mini", "smoke"]
# none: nothing is read, as for random init. Pretraining on stl10 sees its images without labels, too.
Dataset = Literal["coco", "imagenet", "imagenet100", "clips", "cifar10", "cifar100", "stl10", "none"]
Labelled = Literal["imagenet", "imagenet100", "cifar10", "cifar100", "stl10"]
Precision = Literal["float32", "bf16"]
PackUsage = Literal["auto", "off"]  # whether a pack that is there is read (bench data pack)
TrunkForm = Literal["autocast", "folded"]
# What stands before the first block: 7×7 of stride 2 and a max-pool; or 3×3 of stride 1, with (`stl`) and without it.
Stem = Literal["imagenet", "cifar", "stl"]
Augmentation = Literal["own", "small"]  # the objective's own views, or those of runs on small images in their place
# What makes views: Pillow, OpenCV, or the training device, of images that workers send or that lie there (`resident`).
ViewBackend = Literal["reference", "fast", "device", "resident"]
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

PACKAGE = Path(__file__).parent


# Marks a field that was added after results had been recorded: at its default, which means what was done before, it is
# in no fingerprint.
LATER: dict[str, Any] = {"later": True}


class Frozen(BaseModel):
    """Immutable, and closed: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# ------------------------------------------------------------------------------------------ pretraining


class OptimizerSettings(Frozen):
    """`lr` is multiplied by batch_size / lr_batch (the linear scaling rule) unless `lr_batch` is None."""

    name: Literal["sgd", "lars", "adam", "adamw"] = "sgd"
    lr: float = Field(gt=0)
    lr_batch: int | None = Field(default=256, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    trust_coefficient: float = Field(default=0.001, gt=0)  # LARS's eta
    betas: tuple[float, float] = (0.9, 0.999)
    # `all` lets biases and norms decay, too, as MoCo and SimSiam do.
    decay: Literal["weights", "all"] = Field(default="weights", json_schema_extra=LATER)
    clip_norm: float | None = Field(default=None, gt=0, json_schema_extra=LATER)  # of the whole gradient


class ScheduleSettings(Frozen):
    """Learning rate per step: linear warm-up from 0, then cosine (or steps of ×0.1, or constant)."""

    name: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0)
    final_ratio: float = Field(default=0.0, ge=0, le=1)
    milestones: tuple[float, ...] = ()  # fractions of the run, for `step`
    gamma: float = Field(default=0.1, gt=0, le=1, json_schema_extra=LATER)  # factor at a milestone
    warmup_ratio: float = Field(default=0.0, ge=0, le=1, json_schema_extra=LATER)  # of the peak, where it starts
    warmup_steps: int | None = Field(default=None, ge=0, json_schema_extra=LATER)  # instead of warmup_epochs

    @model_validator(mode="after")
    def _one_warmup(self) -> ScheduleSettings:
        if self.warmup_steps is not None and self.warmup_epochs:
            raise ValueError("schedule has both warmup_epochs and warmup_steps; set one of them")
        return self


class Init(Frozen):
    """Where the weights start: another recipe's checkpoint after an epoch (0-based), or a file."""

    recipe: str | None = None
    epoch: int | None = Field(default=None, ge=0)
    checkpoint: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Init:
        if (self.recipe is None) == (self.checkpoint is None):
            raise ValueError("init needs either recipe (with epoch) or checkpoint, not both")
        if self.recipe is not None and self.epoch is None:
            raise ValueError("init.recipe needs init.epoch, the 0-based epoch whose checkpoint to start from")
        return self


class CheckpointSettings(Frozen):
    """When the training state is written, and which states are kept."""

    every_steps: int | None = Field(default=None, gt=0)  # None: at the end of each epoch
    keep_every_epochs: int | None = Field(default=None, gt=0)  # besides the last: kept for ever
    background: bool = True  # written by a thread while training goes on


class DiagnosticsSettings(Frozen):
    """What is looked at on held-out images while a recipe trains; no result depends on it.

    The default costs about a hundredth of a training: 256 images as they are and as two views, and 512 for a bank of
    neighbours, are 1,280 forward passes, where an epoch of ImageNet has 7.7 million.
    """

    images: int = Field(default=256, ge=0)  # 0: nothing is looked at
    # None: after so many whole epochs that looking costs a hundredth of the training. After the last step always.
    every_steps: int | None = Field(default=None, gt=0)
    classes: int = Field(default=16, gt=0)  # that the images come from, where there are labels
    bank: int = Field(default=512, ge=0)  # training images that neighbours come from, where there are labels
    neighbours: int = Field(default=20, gt=0)
    # A collapse is seen on the projector's outputs (the backbone's, where there is none), `patience` checks in a row.
    guard: Literal["warn", "stop", "off"] = "warn"
    patience: int = Field(default=3, gt=0)
    # Of std·√D, whose square is about 1 less the mean cosine of two images: 0.02 is a mean cosine of 0.9996.
    # A ResNet-50 without training has 0.16 to 0.20 on rendered scenes, and 0.04 before its norms have seen an image.
    min_std: float = Field(default=0.02, ge=0)
    min_rank: float = Field(default=2.0, ge=0)  # effective rank: below 2, hardly more than one direction is in use


class Recipe(Frozen):
    """A pretraining: data, objective, optimisation."""

    name: str
    summary: str
    source: str  # the file it came from
    profile: Profile
    dataset: Dataset
    subset: int | None = Field(default=None, gt=0)  # use only this many images, drawn once by the seed
    objective: dict[str, Any]
    arch: Literal["resnet18", "resnet50"] = "resnet50"
    stem: Stem = Field(default="imagenet", json_schema_extra=LATER)
    view_size: int = Field(default=224, ge=32)
    augmentation: Augmentation = Field(default="own", json_schema_extra=LATER)
    view_backend: ViewBackend = Field(default="reference", json_schema_extra=LATER)
    epochs: int = Field(ge=0)
    batch_size: int = Field(default=256, gt=0)  # of one optimizer step, over all ranks and accumulated parts
    accumulate: int = Field(default=1, gt=0)
    precision: Precision = "bf16"
    channels_last: bool = True
    sync_bn: bool = True
    compile: bool = Field(default=False, json_schema_extra=LATER)  # the networks, by torch.compile
    cuda_graphs: bool = Field(default=False, json_schema_extra=LATER)  # with compile; of no effect on a CPU
    checkpoint_activations: bool = False  # less memory, a third more computing; equal results
    lars: Literal["foreach", "timm"] = "foreach"  # how LARS is computed; equal results
    optimizer: OptimizerSettings | None = None  # None only where nothing is trained
    schedule: ScheduleSettings = ScheduleSettings()
    init: Init | None = None
    checkpoint: CheckpointSettings = CheckpointSettings()
    workers: int | None = Field(default=None, ge=0)  # None: chosen by the machine. Results do not depend on it
    pack: PackUsage = "auto"
    log_every: int = Field(default=10, gt=0)
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()

    @model_validator(mode="after")
    def _whole_batches(self) -> Recipe:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}")
        if (self.dataset == "none") != (self.epochs == 0):
            raise ValueError("dataset 'none' and epochs 0 go together: set both, or neither")
        if self.augmentation != "own" and self.dataset == "clips":
            raise ValueError(f"augmentation={self.augmentation!r} is for images, not for clips; set it to 'own'")
        if self.cuda_graphs and not self.compile:
            raise ValueError("cuda_graphs records what compile makes; set compile=True with it, or cuda_graphs=False")
        if self.compile and self.checkpoint_activations:
            raise ValueError("compile and checkpoint_activations exclude each other; set one of them to False")
        if self.optimizer is None and self.epochs > 0:
            raise ValueError("a recipe that trains needs an optimizer; add optimizer=dict(name=..., lr=...)")
        return self


# ------------------------------------------------------------------------------------------- downstream


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
    precision: Precision = "float32"
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
    precision: Precision = "bf16"
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
    precision: Precision = "bf16"
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
    dataset: Literal["coco", Labelled]  # its validation images; coco's have no classes
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
_TASK: TypeAdapter[Task] = TypeAdapter(Annotated[Task, Field(discriminator="kind")])

# Keys that say how a machine runs the job and cannot change its result: no fingerprint has them. (`pack` can change it
# only by the pack that is then read, and that is in the fingerprint of the data.)
MACHINE_KEYS = frozenset(
    {
        *("workers", "log_every", "checkpoint", "checkpoint_activations", "lars", "diagnostics"),
        *("pack", "compile_trunk", "reuse_features"),
    }
)
NOT_IN_FINGERPRINT = MACHINE_KEYS | {"name", "summary", "source", "profile"}


# ---------------------------------------------------------------------------------------- finding files


def shipped(folder: str) -> Path:
    """Return the folder of shipped files: inside the installed package, or beside it in a checkout."""
    packed = PACKAGE / "shipped" / folder
    return packed if packed.is_dir() else PACKAGE.parent / folder


def config_files(folder: str) -> dict[str, Path]:
    """Return {name: file} of one folder of configs; the working directory's win over the shipped ones."""
    found: dict[str, Path] = {}
    for place in (shipped(folder), Path.cwd() / folder):
        if place.is_dir():
            found |= {file.stem: file for file in sorted(place.glob("*.py")) if not file.stem.startswith("_")}
    return dict(sorted(found.items()))


@cache
def mmseg_configs() -> Path | None:
    """Return the folder of the configs that mmseg ships, found without importing mmseg."""
    spec = importlib.util.find_spec("mmseg")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / ".mim" / "configs"
    return folder if folder.is_dir() else None


def mmseg_config(name: str) -> Path | None:
    """Return the file of the mmseg config `name` (a path, or a stem such as pspnet_r50-d8_4xb2-40k_…)."""
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    folder = mmseg_configs()
    stem = path.name.removesuffix(".py")
    if folder is None or not stem:
        return None
    return next((file for file in sorted(folder.glob("*/*.py")) if file.stem == stem), None)


def find_mmseg(name: str) -> Path:
    """Return the file of an mmseg config; BadInput when there is none."""
    file = mmseg_config(name)
    if file is None:
        raise BadInput(
            f"No mmseg config {name!r}; give a path, or a name below {mmseg_configs() or 'mmseg/.mim/configs'}."
        )
    return file


def read(file: Path) -> tuple[dict[str, Any], str]:
    """Return (values, docstring) of one config file in mmengine's dialect.

    Raises BadInput when the file cannot be read as a config.
    """
    from mmengine.config import Config  # 0.2 s, hence not at the top

    try:
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        values = Config.fromfile(str(file), import_custom_modules=False).to_dict()
    except Exception as error:  # whatever a user's Python raises, the remedy is the same
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{file} is not a readable config: {reason}; mend the file.") from error
    return values, docstring


# ------------------------------------------------------------------------------------------ overlaying


def parse_assignments(items: Sequence[str]) -> dict[str, Any]:
    """Return {dotted key: value} of `key=value` words; values are Python literals, else plain strings."""
    values: dict[str, Any] = {}
    for item in items:
        key, separator, text = item.partition("=")
        if not separator or not key:
            raise BadInput(f"--set takes key=value, not {item!r}.")
        try:
            values[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[key] = {"true": True, "false": False, "none": None}.get(text.lower(), text)
    return values


def overlay(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `extra` over it: dictionaries are merged (unless `_delete_`), all else is replaced."""
    merged = dict(base)
    for key, value in extra.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and not value.get("_delete_"):
            merged[key] = overlay(below, value)
        elif isinstance(value, Mapping):
            merged[key] = {k: v for k, v in value.items() if k != "_delete_"}
        else:
            merged[key] = value
    return merged


def nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"a": {"b": 1}} for {"a.b": 1}."""
    tree: dict[str, Any] = {}
    for key, value in dotted.items():
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise BadInput(f"--set {key}: {parent!r} is given both a value and keys below it.")
        node[last] = value
    return tree


def route(assignments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split --set values into those for pretraining and those for downstream configs.

    `pretrain.key` and `downstream.key` say it; a bare key goes where the schema has it. A key that both have
    must say it; a key that neither has is an error that names the nearest.
    """
    schemas = {"pretrain": schema_keys(Recipe)}
    schemas["downstream"] = set().union(*(schema_keys(kind) for kind in get_args(Task)))
    sides: dict[str, dict[str, Any]] = {"pretrain": {}, "downstream": {}}
    for key, value in assignments.items():
        head, _, rest = key.partition(".")
        if head in sides and rest:
            sides[head][rest] = value
            continue
        homes = [side for side, keys in schemas.items() if head in keys]
        if not homes:
            known = sorted(schemas["pretrain"] | schemas["downstream"])
            raise BadInput(f"Unknown key {key!r} in --set{nearest(head, known) or '; bench show NAME lists the keys.'}")
        if len(homes) == 2:
            raise BadInput(f"--set {key} could mean either side: say pretrain.{key} or downstream.{key}.")
        sides[homes[0]][key] = value
    return nest(sides["pretrain"]), nest(sides["downstream"])


def schema_keys(model: type[BaseModel]) -> set[str]:
    """Return the keys that a config file of this kind may set."""
    return set(model.model_fields) - {"name", "summary", "source", "profile"}


# ------------------------------------------------------------------------------------------- loading


def load_recipe(name: str, profile: Profile = "full", extra: Mapping[str, Any] | None = None) -> Recipe:
    """Load the pretraining config `name` (or path) under a profile, with `extra` values over it.

    Raises BadInput for an unknown name, key, profile or a wrong type.
    """
    file = find("pretrain_configs", name)
    values = _resolve(file, profile, extra or {})
    recipe: Recipe = _validate(TypeAdapter(Recipe), values, file)
    objective = check_arguments(recipe.objective, file)
    return recipe.model_copy(update={"objective": objective})


def load_task(name: str, profile: Profile = "full", extra: Mapping[str, Any] | None = None) -> Task:
    """Load the downstream config `name`: one of ours, a path, or the name or path of an mmseg config."""
    file = find("downstream_configs", name)
    if _is_mmseg(file):
        values = {"kind": "segmentation", "config": str(file) if Path(name).is_file() else file.stem}
        values |= {"name": file.stem, "summary": f"mmseg's {file.stem}", "source": str(file), "profile": profile}
        values["dataset"] = _mmseg_dataset(file)
        values = overlay(values, extra or {})
    else:
        values = _resolve(file, profile, extra or {})
    return _validate(_TASK, values, file)


def load_tasks(names: Sequence[str], profile: Profile = "full", extra: Mapping[str, Any] | None = None) -> list[Task]:
    """Load several downstream configs; a key of `extra` goes to each task whose kind has it.

    Raises BadInput for a key that none of them has, besides what `load_task` raises.
    """
    extra = extra or {}
    tasks = [load_task(name, profile) for name in names]
    known = set().union(*(schema_keys(type(task)) for task in tasks))
    for key in extra:
        if key not in known:
            hint = nearest(key, known) or "; bench show NAME lists the keys."
            raise BadInput(f"No downstream config of this run has the key {key!r}{hint}")
    fitting = [{key: value for key, value in extra.items() if key in schema_keys(type(task))} for task in tasks]
    return [
        load_task(name, profile, own) if own else task for name, task, own in zip(names, tasks, fitting, strict=True)
    ]


def find(folder: str, name: str) -> Path:
    """Return the config file for a name or path; BadInput names the nearest when there is none."""
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    files = config_files(folder)
    if name in files:
        return files[name]
    if folder == "downstream_configs" and (file := mmseg_config(name)) is not None:
        return file
    what = "pretraining" if folder == "pretrain_configs" else "downstream"
    raise BadInput(f"No {what} config {name!r}{nearest(name, files) or '; bench list shows them.'}")


def _resolve(file: Path, profile: Profile, extra: Mapping[str, Any]) -> dict[str, Any]:
    values, docstring = read(file)
    profiles = values.pop("profiles", {})
    if profile != "full" and profile not in profiles:
        have = ", ".join(["full", *profiles])
        raise BadInput(f"{file} has no profile {profile!r}; it has {have}.")
    values = overlay(overlay(values, profiles.get(profile, {})), extra)
    summary = docstring.strip().splitlines()[0] if docstring.strip() else ""
    return values | {"name": file.stem, "summary": summary, "source": str(file), "profile": profile}


def _is_mmseg(file: Path) -> bool:
    """An mmseg config says `model` (or inherits it); ours say `kind`."""
    return "kind" not in read(file)[0]


def _mmseg_dataset(file: Path) -> str:
    """The data root that an mmseg config wants: `cityscapes` for CityscapesDataset."""
    kind = read(file)[0].get("dataset_type", "cityscapes")
    return str(kind).removesuffix("Dataset").lower()


def _validate(adapter: TypeAdapter[Any], values: Mapping[str, Any], file: Path) -> Any:
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        raise BadInput(_sentence(error, file)) from error


def _sentence(error: ValidationError, file: Path) -> str:
    """Word pydantic's first complaint as one sentence with the remedy."""
    first = error.errors()[0]
    kinds: dict[str, type[BaseModel]] = {"segmentation": SegmentationTask, "linear": LinearTask, "knn": KnnTask}
    kinds["diagnostics"] = DiagnosticsTask
    where = [str(part) for part in first["loc"]]
    models: list[type[BaseModel]] = [kinds[where.pop(0)]] if where and where[0] in kinds else [Recipe]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        known = _keys_at(models, where[:-1])
        hint = nearest(where[-1], known) or f"; known: {', '.join(known)}."
        return f"Unknown key {key!r} in {file}{hint}"
    if first["type"] == "missing":
        return f"{file} lacks the key {key!r}; add it."
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if first["type"] == "value_error":
        return f"{file}: {reason}."
    return f"Key {key!r} in {file} is {first['input']!r}, but should be {reason}."


def _keys_at(models: Sequence[type[BaseModel]], where: Sequence[str]) -> list[str]:
    """The keys that these schemas have below `where`."""
    keys: set[str] = set()
    for model in models:
        for below in _walk(model, where):
            keys |= schema_keys(below)
    return sorted(keys)


def _walk(model: type[BaseModel], where: Sequence[str]) -> Iterator[type[BaseModel]]:
    if not where:
        yield model
    elif where[0] in model.model_fields:
        annotation = model.model_fields[where[0]].annotation
        for kind in (annotation, *get_args(annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _walk(kind, where[1:])
