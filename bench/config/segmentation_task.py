"""Segmentation as a downstream config says it: an mmseg config, and what is laid over it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import Field

from bench.config.config_files import find_mmseg, read
from bench.config.kinds import Task
from bench.config.mmseg_networks import at_depth, check_backbone, check_training, depth_of, iterations_of, settings_of
from bench.config.recipe import LATER, Precision, Recipe
from bench.errors import BadInput

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


class SegmentationTask(Task):
    """Fine-tuning of an mmseg model with the trunk in its backbone. None means: as the mmseg config has it."""

    metrics: ClassVar = {"aacc_percent": "aAcc", "miou_percent": "mIoU", "macc_percent": "mAcc"}
    several_gpus: ClassVar = True
    run: ClassVar = "bench.stages.segmentation.finetune:run"
    evaluates_from: ClassVar = ("last.ckpt",)

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
    # For a trunk of another depth, mmseg's config of the same network at that depth, trained for as long as `config`.
    follow_depth: bool = False

    def for_arch(self, arch: str) -> Self:
        """Return the task with mmseg's config for the depth of `arch`, where `follow_depth` is on and mmseg has one."""
        if not self.follow_depth:
            return self
        model = settings_of(find_mmseg(self.config), self.overrides).get("model") or {}
        depth, wanted = (model.get("backbone") or {}).get("depth"), depth_of(arch)
        other = at_depth(self.config, wanted) if depth != wanted else None
        if other is None:
            return self
        return self.model_copy(
            update={"config": other, "iterations": self.iterations or iterations_of(self.config), "follow_depth": False}
        )

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise BadInput for a trunk that mmseg's config cannot take, and for a config that cannot be trained."""
        if recipe.stem != "imagenet":
            raise BadInput(
                f"{self.name} takes trunks with the stem 'imagenet', which mmseg's ResNet has, but {recipe.name} has "
                f"{recipe.stem!r}; leave one of the two out."
            )
        file = find_mmseg(self.config)
        settings = settings_of(file, self.overrides)
        check_training(settings, file.stem)
        check_backbone(settings, file.stem, recipe.arch)

    def file_contents(self) -> dict[str, Any]:
        """Return the mmseg config by content: a name can mean other numbers in another release."""
        return {"config": read(find_mmseg(self.config))[0]}
