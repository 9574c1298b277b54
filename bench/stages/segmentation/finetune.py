"""Segmentation: fine-tune an mmseg model with our trunk in its backbone, and measure it.

mmengine's Runner trains; this stage gives it the mmseg config with the task's changes, the trunk (loaded strictly,
under its load proof) and data drawn by (seed, draw), and reads the scores.
"""

from __future__ import annotations

import json
import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import Evaluator

from bench.config.tasks import SegmentationTask
from bench.convert.checkpoint_file import read_checkpoint
from bench.convert.proof import load_proven
from bench.errors import BadInput
from bench.files import write_text
from bench.machine import SMALL_RUN, loader_workers
from bench.outcomes import OUTCOMES, write
from bench.randomness import derive
from bench.stages.curve import Curve
from bench.stages.job import Job
from bench.stages.segmentation.evaluation import EvaluationLoop  # noqa: F401 - registers it
from bench.stages.segmentation.load_proof import prove_segmentor
from bench.stages.segmentation.logs import ScoresOnDisk
from bench.stages.segmentation.metric import UnroundedIoU
from bench.stages.segmentation.mmseg_config import Plan, adapt
from bench.stages.segmentation.model import build_model
from bench.stages.segmentation.runner import (
    CHECKPOINT,
    CollectSkipped,
    LoadTrunk,
    QuietRunner,
    ReportProgress,
    SaveCheckpoint,
    SeedIterations,
)
from bench.stages.segmentation.samples import training_loader, validation_loader
from bench.train.distributed import Ranks, ranks_of
from bench.train.precision import is_bf16
from bench.train.signals import StopRequest


def run(job: Job) -> dict[str, Any]:
    """Fine-tune and evaluate; goes on from the folder's `last.ckpt` if there is one.

    Returns, unrounded, {"aacc_percent", "miou_percent", "macc_percent", "iou_percent": {class: percent, or None where
    the class never occurs}, "iterations", "tensors_matched", "images_skipped"}; leaves the areas of each image
    (`bench.outcomes`). The first three after each validation, every `validate_every` iterations, are in `curve.json`.

    Raises BadInput for weights without a valid load proof, a config that cannot take them, and data that is not there;
    StageFailed when the loss is lost; Interrupted when a signal stopped it.
    """
    task = job.config
    assert isinstance(task, SegmentationTask)
    trunk = load_proven(job.inputs["convert"], job.recipe.export if job.recipe is not None else None)
    if trunk.stem != "imagenet":
        raise BadInput(
            f"mmseg's ResNet has the stem 'imagenet', and this trunk {trunk.stem!r}; pretrain with that one."
        )
    with ExitStack() as stack:
        ranks = stack.enter_context(ranks_of())
        stop = stack.enter_context(StopRequest())
        several_gpus = ranks.world > 1 and ranks.device.type == "cuda"
        root = job.data_root(task.dataset)
        plan = adapt(task, trunk.arch, root, world=ranks.world, synchronise=several_gpus)
        skipped = CollectSkipped(ranks)
        file = job.folder / CHECKPOINT
        precisions = (task.precision, task.evaluation_precision or task.precision)
        prove = partial(prove_segmentor, trunk=trunk, said=plan.config.model, precisions=precisions)
        loading = LoadTrunk(trunk, job.seed, file, skipped, prove)
        progress = ReportProgress(task.name, stack, stop, Curve(job.folder, ranks.first))
        saving = stack.enter_context(SaveCheckpoint(file, plan.validate_every, trunk.hash, ranks, stop, skipped))
        if job.evaluation_only:
            _check_finished(file, plan.iterations)
        hooks = [loading, skipped, SeedIterations(job.seed, ranks.rank), saving, progress]
        with warnings.catch_warnings():  # about numbers of threads and names that mmengine is about to change
            warnings.simplefilter("ignore")
            runner = _runner(job, task, plan, ranks, hooks)
        try:
            runner.train()
            if progress.scored_at != plan.iterations:  # the run had ended before its last validation did
                runner.val()
            images_skipped = len(skipped.everywhere())
        except BadInput as error:  # with the traceback that torch wraps around it when a loader process raises
            raise BadInput(str(error).rpartition("bench.errors.BadInput: ")[2].strip()) from error
    scores = progress.scores
    outcomes = runner.val_evaluator.metrics[0].outcomes
    if ranks.first and outcomes is not None:
        write(outcomes, job.folder / OUTCOMES)
    return {
        "aacc_percent": scores["aAcc"],
        "miou_percent": scores["mIoU"],
        "macc_percent": scores["mAcc"],
        "iou_percent": scores["IoU"],
        "iterations": plan.iterations,
        "tensors_matched": loading.matched,
        "images_skipped": images_skipped,
    }


def _check_finished(file: Path, iterations: int) -> None:
    """Raise BadInput for a checkpoint that is not at the end of the training that is asked for."""
    content = read_checkpoint(file)
    if not isinstance(content, dict) or content.get("iteration") != iterations:
        raise BadInput(
            f"{file.name} does not hold the model of this stage after iteration {iterations}; it was replaced, and its "
            "stage must run again before it can be evaluated."
        )


def _runner(job: Job, task: SegmentationTask, plan: Plan, ranks: Ranks, hooks: list[Any]) -> QuietRunner:
    config, world, device_type = plan.config, ranks.world, ranks.device.type
    work_dir = job.folder / "mmengine"
    bf16 = is_bf16(task.precision)
    optimisation = dict(config.optim_wrapper) | {"type": "Bf16OptimWrapper" if bf16 else "OptimWrapper"}
    for key in ("loss_scale", "dtype", "use_fsdp"):  # of mmengine's own mixed precision
        optimisation.pop(key, None)
    if "fused_sgd" in task.fast and optimisation["optimizer"]["type"] == "SGD":
        optimisation["optimizer"] = {"fused": True, **optimisation["optimizer"]}
    work_dir.mkdir(parents=True, exist_ok=True)
    if ranks.first:
        write_text(work_dir / "config.json", json.dumps(config.to_dict(), indent=1, default=str))
    # Runner formats its whole config four times, a second in all: it gets what it looks up there and no more.
    wrapper = {
        "type": "MMDistributedDataParallel",
        "device_ids": [ranks.device.index] if device_type == "cuda" else None,
        "broadcast_buffers": False,
        "find_unused_parameters": config.get("find_unused_parameters", False),
    }
    looked_up = {key: config[key] for key in ("activation_checkpointing", "efficient_conv_bn_eval") if key in config}
    shipped_metric = dict(config.val_evaluator) if isinstance(config.get("val_evaluator"), dict) else {}
    metric = UnroundedIoU(ignore_index=shipped_metric.get("ignore_index", 255))
    metric.root = job.data_root(task.dataset)
    metric.collect_dir = str(work_dir / "collect")  # else mmengine collects in the working directory
    visualizer = dict(config.get("visualizer") or {"type": "Visualizer"})
    visualizer |= {"name": str(work_dir), "save_dir": str(work_dir), "vis_backends": [{"type": ScoresOnDisk.__name__}]}
    logger = (config.get("default_hooks") or {}).get("logger", {"type": "LoggerHook"})
    return QuietRunner(
        model=build_model(
            config.model,
            job.seed,
            synchronise=world > 1,
            device_type=device_type,
            channels_last=task.channels_last,
            fast=task.fast,
        ),
        work_dir=str(work_dir),
        train_dataloader=training_loader(
            job,
            config.train_dataloader,
            batch_size=plan.batch_size // world,
            ranks=ranks,
            workers=_workers(task, ranks, plan.batch_size // world),
        ),
        val_dataloader=validation_loader(config.val_dataloader, seed=job.seed, workers=_workers(task, ranks, images=1)),
        train_cfg=config.train_cfg,
        val_cfg={
            "type": "EvaluationLoop",
            "precision": task.evaluation_precision or task.precision,
            "fold": "folded_norms" in task.fast,
            "compile": "compiled_evaluation" in task.fast,
        },
        val_evaluator=Evaluator(metric),
        optim_wrapper=optimisation,
        param_scheduler=config.param_scheduler,
        # Ours write the checkpoints and seed the draws.
        default_hooks={"checkpoint": None, "sampler_seed": None, "logger": logger},
        custom_hooks=[*(config.get("custom_hooks") or []), *hooks],
        launcher="pytorch" if world > 1 else "none",
        env_cfg=config.get("env_cfg") or {},
        log_processor=config.get("log_processor"),
        visualizer=visualizer,
        default_scope="mmseg",
        randomness={"seed": derive(job.seed, "segmentation") % 2**31},
        # mmengine shares the logger of equal names, to which it adds the second of the start.
        experiment_name=f"{task.name} in {job.folder}",
        cfg=Config({"model_wrapper_cfg": wrapper, **looked_up}),
    )


def _workers(task: SegmentationTask, ranks: Ranks, images: int) -> int:
    """Loader processes for batches of so many images; none beside a CPU, whose cores training itself fills.

    What a worker holds is taken to be images of 2,048×1,024 pixels in float32, with their labels.
    """
    return loader_workers(
        task.workers,
        device=ranks.device.type,
        images=SMALL_RUN,  # at least: one is so large that workers pay at once
        batch_bytes=4 * 4 * images * 2048 * 1024,
        processes=ranks.local_world,
        beside_cpu=0,
    )
