"""What a pretraining config may say: a `Recipe`, frozen and validated, with all that belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from bench.architectures import ArchitectureName
from bench.config.plain_files import SUFFIXES
from bench.config.recipe_names import in_brackets
from bench.config.setting_types import Rate
from bench.data.sets import DATA_SETS, DataSet, full_name, get, known_names
from bench.errors import nearest

Profile = Literal["full", "mini", "smoke"]


def _data_set(fits: Callable[[DataSet], bool], *others: str) -> AfterValidator:
    """Check the name of a data set: one of those that fit, one from outside of this package that fits, or `others`.

    A file's path is taken from the folder of the config, and made absolute.
    """

    def check(name: str, info: ValidationInfo) -> str:
        if name in others:
            return name
        folder = Path(info.data["source"]).parent if info.data.get("source") else None
        if (":" in name or name in known_names()) and fits(get(name, folder)):
            return full_name(name, folder)
        sets = [one for one in known_names() if one not in DATA_SETS or fits(DATA_SETS[one])]
        known = [*sets, *others]
        choices = f"{', '.join(map(repr, known[:-1]))} or {known[-1]!r}"
        raise PydanticCustomError("data_set", "{choices}", {"choices": choices + nearest(name, sets).rstrip("?")})

    return AfterValidator(check)


# What pretraining reads; none: nothing, as for random init. Pretraining on stl10 sees its images without labels, too.
Dataset = Annotated[str, _data_set(lambda data_set: data_set.pretrains, "none")]
Labelled = Annotated[str, _data_set(lambda data_set: data_set.labelled)]
ImageSet = Annotated[str, _data_set(lambda data_set: data_set.pretrains and not data_set.video)]
# `auto`: bf16 where the machine that runs a stage multiplies it natively, else float32 (bench/train/precision.py).
Precision = Literal["auto", "float32", "bf16"]
PackUsage = Literal["auto", "off"]  # whether a pack that is there is read (bench data pack)
TrunkForm = Literal["autocast", "folded"]
# What stands before the first block: 7×7 of stride 2 and a max-pool; or 3×3 of stride 1, with (`stl`) and without it.
Stem = Literal["imagenet", "cifar", "stl"]
Export = Literal["online", "target"]  # the encoder that is trained, or the moving average that follows it
Augmentation = Literal["own", "small"]  # the objective's own views, or those of runs on small images in their place
NormStatistics = Literal["start", "data"]
# What makes views: Pillow, OpenCV, or the training device, of images that workers send or that lie there (`resident`).
ViewBackend = Literal["reference", "fast", "device", "resident"]

# Marks a field that was added after results had been recorded: at its default, which means what was done before, it is
# in no fingerprint.
LATER: dict[str, Any] = {"later": True}


class Frozen(BaseModel):
    """Immutable, and closed: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse True for a number, which Python takes for 1."""
        if isinstance(value, bool) and info.field_name is not None:
            annotation = cls.model_fields[info.field_name].annotation
            kinds = {annotation, *get_args(annotation)}
            if kinds & {int, float} and bool not in kinds:
                raise PydanticCustomError("number", "Input should be a number")
        return value


class OptimizerSettings(Frozen):
    """`lr` is multiplied by batch_size / lr_batch (the linear scaling rule) unless `lr_batch` is None."""

    name: Literal["sgd", "lars", "adam", "adamw"] = "sgd"
    lr: float = Field(gt=0)
    lr_batch: int | None = Field(default=256, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    trust_coefficient: float = Field(default=0.001, gt=0)  # LARS's eta
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    # `all` lets biases and norms decay, too, as MoCo and SimSiam do.
    decay: Literal["weights", "all"] = Field(default="weights", json_schema_extra=LATER)
    clip_norm: float | None = Field(default=None, gt=0, json_schema_extra=LATER)  # of the whole gradient
    clip_each: float | None = Field(default=None, gt=0, json_schema_extra=LATER)  # of each parameter's, as DINO has it

    @model_validator(mode="after")
    def _one_norm(self) -> OptimizerSettings:
        if self.clip_norm is not None and self.clip_each is not None:
            raise ValueError("optimizer has both clip_norm and clip_each; set one of them")
        return self

    @property
    def kept_of_each_weight(self) -> int:
        """How many numbers it keeps of each weight between two steps, at least."""
        return 2 if self.name in {"adam", "adamw"} else int(self.momentum > 0)


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

    recipe: str | None = None  # name or path
    epoch: int | None = Field(default=None, ge=0)
    checkpoint: str | None = None
    # Laid over that recipe, as --set lays values over one; the recipe that comes of it has them in its fingerprint.
    settings: dict[str, Any] = Field(default={}, json_schema_extra=LATER)

    @model_validator(mode="after")
    def _one_source(self) -> Init:
        if (self.recipe is None) == (self.checkpoint is None):
            raise ValueError("init needs either recipe (with epoch) or checkpoint, not both")
        if self.recipe is not None and self.epoch is None:
            raise ValueError("init.recipe needs init.epoch, the 0-based epoch whose checkpoint to start from")
        if self.checkpoint is not None and self.settings:
            raise ValueError("init.settings are laid over init.recipe, and a checkpoint has none; leave them out")
        return self


def epoch_file(epoch: int) -> str:
    """Return the name of the checkpoint after an epoch (0-based): `epoch_0079.ckpt`."""
    return f"epoch_{epoch:04d}.ckpt"


class CheckpointSettings(Frozen):
    """When the training state is written, and which states are kept."""

    every_steps: int | None = Field(default=None, gt=0)  # None: at the end of each epoch
    keep_every_epochs: int | None = Field(default=None, gt=0)  # besides the last: kept for ever
    keep_epochs: tuple[int, ...] = ()  # kept as well (0-based); a plan adds what another pretraining starts from
    background: bool = True  # written by a thread while training goes on

    def keeps(self, epoch: int, epochs: int) -> bool:
        """Return whether the state after an epoch (0-based) of a run of `epochs` is kept for ever."""
        every = self.keep_every_epochs
        return epoch in {epochs - 1, *self.keep_epochs} or (every is not None and (epoch + 1) % every == 0)


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
    arch: ArchitectureName = "resnet50"
    stem: Stem = Field(default="imagenet", json_schema_extra=LATER)
    # Whether the last norm of each residual block starts with the weight 0 instead of 1, by torchvision's name.
    zero_init_residual: bool = Field(default=False, json_schema_extra=LATER)
    view_size: int = Field(default=224, ge=32)
    augmentation: Augmentation = Field(default="own", json_schema_extra=LATER)
    view_backend: ViewBackend = Field(default="reference", json_schema_extra=LATER)
    epochs: int = Field(ge=0)
    # What the encoder's batch norms hold where nothing is trained: what they start with, mean 0 and variance 1, or
    # what `subset` images of the data set give, as whole images of view_size pixels (bench/nn/norm_statistics.py).
    norm_statistics: NormStatistics = Field(default="start", json_schema_extra=LATER)
    batch_size: int = Field(default=256, gt=0)  # of one optimizer step, over all ranks and accumulated parts
    accumulate: int = Field(default=1, gt=0)
    precision: Precision = "auto"
    channels_last: bool = True
    # Which images share a batch norm's statistics: `norm_images` of them (bench/config/processes.py), or, where that
    # is None, those of all processes (`sync_bn`), or of each process, so that their number changes the result.
    sync_bn: bool = True
    norm_images: int | None = Field(default=None, ge=2, json_schema_extra=LATER)
    compile: bool = Field(default=False, json_schema_extra=LATER)  # the networks, by torch.compile
    cuda_graphs: bool = Field(default=False, json_schema_extra=LATER)  # with compile; of no effect on a CPU
    checkpoint_activations: bool = False  # less memory, a third more computing; equal results
    lars: Literal["foreach", "timm"] = "foreach"  # how LARS is computed; equal results
    optimizer: OptimizerSettings | None = None  # None only where nothing is trained
    schedule: ScheduleSettings = ScheduleSettings()
    # What follows a divergence, or memory that runs out: the end of the run, or a start from the last good checkpoint,
    # with the rate times `lower_lr_factor` (`lower_lr_times` at most), or with micro-batches of half the size.
    on_divergence: Literal["stop", "lower_lr"] = Field(default="stop", json_schema_extra=LATER)
    lower_lr_factor: float = Field(default=0.5, gt=0, lt=1, json_schema_extra=LATER)
    lower_lr_times: int = Field(default=3, gt=0, json_schema_extra=LATER)
    on_out_of_memory: Literal["stop", "halve"] = Field(default="stop", json_schema_extra=LATER)
    init: Init | None = None
    # Which encoder is evaluated: the one that is trained (student, query), or the copy that follows it (teacher, key).
    # The pretraining is the same either way.
    export: Export = Field(default="online", json_schema_extra=LATER)
    checkpoint: CheckpointSettings = CheckpointSettings()
    workers: int | None = Field(default=None, ge=0)  # None: chosen by the machine. Results do not depend on it
    pack: PackUsage = "auto"
    log_every: int = Field(default=10, gt=0)
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()

    @property
    def parent(self) -> str | None:
        """The recipe that `init` names, as plans know it: `coco`, `coco[epochs=9]` with what `init.settings` say.

        A path is taken from the folder of this config, or else from the working directory.
        """
        if self.init is None or self.init.recipe is None:
            return None
        beside = Path(self.source).parent / self.init.recipe
        name = str(beside.resolve()) if beside.suffix in SUFFIXES and beside.is_file() else self.init.recipe
        return name + in_brackets(self.init.settings)

    @property
    def initial_checkpoint(self) -> Path | None:
        """The file that `init.checkpoint` names, in the folder of this config, or else from the working directory."""
        if self.init is None or self.init.checkpoint is None:
            return None
        beside = (Path(self.source).parent / self.init.checkpoint).absolute()
        return beside if beside.is_file() else Path(self.init.checkpoint)

    @model_validator(mode="after")
    def _whole_batches(self) -> Recipe:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}")
        if self.norm_images is not None:
            self._whole_groups(self.norm_images)
        if self.norm_statistics == "data":
            self._only_norms()
        elif (self.dataset == "none") != (self.epochs == 0):
            raise ValueError("dataset 'none' and epochs 0 go together: set both, or neither")
        if self.augmentation != "own" and self.dataset != "none" and get(self.dataset).video:
            raise ValueError(f"augmentation={self.augmentation!r} is for images, not for clips; set it to 'own'")
        if self.cuda_graphs and not self.compile:
            raise ValueError("cuda_graphs records what compile makes; set compile=True with it, or cuda_graphs=False")
        if self.compile and self.checkpoint_activations:
            raise ValueError("compile and checkpoint_activations exclude each other; set one of them to False")
        if self.optimizer is None and self.epochs > 0:
            raise ValueError("a recipe that trains needs an optimizer; add optimizer=dict(name=..., lr=...)")
        return self

    def _only_norms(self) -> None:
        """Refuse statistics from images where there are none, or where training gives the norms theirs."""
        if self.epochs or self.dataset == "none":
            raise ValueError(
                "norm_statistics 'data' is for a recipe that trains nothing and names the data set whose images its "
                "norms are measured on; set epochs=0 and a dataset, or norm_statistics='start'"
            )
        if self.export != "online":
            raise ValueError("norm_statistics 'data' are the encoder's and not its copy's; set export='online'")

    def _whole_groups(self, size: int) -> None:
        """Refuse groups of norms that are none, or do not divide a batch."""
        if self.sync_bn:
            raise ValueError(
                f"norm_images {size} and sync_bn exclude each other; set sync_bn=False, or norm_images=None"
            )
        batch = self.batch_size // self.accumulate
        if batch % size:
            divisors = [each for each in range(2, batch + 1) if batch % each == 0]
            near = min(divisors, key=lambda each: abs(each - size), default=None)
            part = " / accumulate" if self.accumulate > 1 else ""
            remedy = f"set norm_images to a divisor, such as {near}, or change" if near else "change"
            raise ValueError(f"norm_images {size} does not divide batch_size{part}, {batch}; {remedy} batch_size")
