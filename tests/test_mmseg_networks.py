"""Which trunk fits which mmseg config, known while planning; and `cityscapes_pspnet` at the trunk's depth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.config.load import load_recipe, load_task
from bench.config.mmseg_networks import at_depth
from bench.config.tasks import SegmentationTask, Task
from bench.errors import BadInput
from bench.plan import Planner, Stage, protocol_hash, recorded_settings

R50, R18 = "pspnet_r50-d8_4xb2-40k_cityscapes-512x1024", "pspnet_r18-d8_4xb2-80k_cityscapes-512x1024"


def measured(task: Task, profile: str = "full", **extra: Any) -> tuple[Stage, SegmentationTask]:
    """The stage that measures a `random_init` on a task, and the task that it has."""
    (*_, stage) = Planner(lambda name: name).grid([load_recipe("random_init", profile, extra)], [task], [0])
    assert isinstance(stage.config, SegmentationTask)
    return stage, stage.config


def test_pspnet_follows_the_depth_of_the_trunk_for_as_many_iterations() -> None:
    task = load_task("cityscapes_pspnet")
    _, deep = measured(task)
    assert deep is task
    stage, shallow = measured(task, arch="resnet18")
    assert (shallow.config, shallow.iterations) == (R18, 40_000)
    assert stage.record_name.startswith("random_init__cityscapes_pspnet__s0__")
    said = recorded_settings(shallow)
    assert (said["config"], said["iterations"]) == (R18, 40_000)
    assert protocol_hash(shallow) != protocol_hash(task)
    # It is the protocol of who asks for the same by name.
    written = SegmentationTask.model_validate(task.model_dump() | {"config": R18, "iterations": 40_000})
    assert protocol_hash(shallow) == protocol_hash(written)


def test_a_profile_and_a_set_value_stay_at_another_depth() -> None:
    _, mini = measured(load_task("cityscapes_pspnet", "mini"), "mini", arch="resnet18")
    assert (mini.config, mini.iterations, mini.crop) == (R18, 90, (192, 256))
    other = load_task("cityscapes_pspnet", extra={"config": "deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024"})
    assert measured(other, arch="resnet18")[1].config == "deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024"


def test_depths_of_a_network() -> None:
    assert at_depth(R50, 18) == R18
    assert at_depth(R18, 50) == "pspnet_r50-d8_4xb2-80k_cityscapes-512x1024"  # the schedule of as many iterations
    assert at_depth("pspnet_r50-d8_4xb4-20k_voc12aug-512x512", 18) is None
    assert at_depth("segformer_mit-b0_8xb1-160k_cityscapes-1024x1024", 18) is None


@pytest.mark.parametrize(
    ("config", "arch", "message"),
    [
        (R50, "resnet18", rf"depth 50, but the trunk is a resnet18; choose {R18}, or another arch"),
        (R50.replace("r50", "r101"), "resnet50", rf"depth 101, but the trunk is a resnet50; choose {R50}"),
        ("segformer_mit-b0_8xb1-160k_cityscapes-1024x1024", "resnet50", "backbone MixVisionTransformer, which takes"),
        ("resnest_s101-d8_pspnet_4xb2-80k_cityscapes512x1024", "resnet50", "has the backbone ResNeSt, which takes no"),
        ("mask2former_r50_8xb2-90k_cityscapes-512x1024", "resnet50", r"takes mmdet\.\w+ from mmdet, which is not inst"),
    ],
)
def test_a_config_that_the_trunk_does_not_fit_is_refused_when_planned(config: str, arch: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        measured(load_task(config), arch=arch)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.backbone.depth": 18}, "ResNet of depth 18"),
        ({"model.backbone.plugins": [{"cfg": {"type": "ContextBlock"}}]}, r"changes the ResNet itself \(plugins\)"),
        ({"train_cfg.type": "EpochBasedTrainLoop"}, "trains by epochs"),
        ({"train_cfg": 3, "train_cfg.x": 1}, "does not take the overrides .*; correct them"),
    ],
)
def test_overrides_count_when_planned(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        measured(load_task(R50, extra={"overrides": overrides}))


def test_a_file_that_is_no_whole_training_is_refused_when_planned(tmp_path: Path) -> None:
    file = tmp_path / "half.py"
    file.write_text("model = dict(type='EncoderDecoder')\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"mmseg config half has no train_dataloader; give the config of a whole train"):
        measured(load_task(str(file)))


@pytest.mark.slow
def test_planning_segmentation_leaves_torch_and_mmseg_alone(tmp_path: Path) -> None:
    code = (
        "import sys; from bench.cli import run\n"
        "words = ['plan', '--pretrain', 'coco', '--downstream', 'cityscapes_pspnet', '--set', 'arch=resnet18']\n"
        "assert run(words) == 0; heavy = {'torch', 'mmseg', 'mmcv'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model.backbone": 5}, "overrides make 'backbone' of"),
        ({"model": 3}, "overrides make 'model' of"),
        ({"train_cfg": 5}, "overrides make 'train_cfg' of"),
        ({"param_scheduler": [3]}, "overrides make 'param_scheduler' of"),
    ],
)
def test_overrides_that_leave_no_network_are_refused(overrides: dict[str, Any], words: str) -> None:
    task = load_task("cityscapes_pspnet", "full", {"overrides": overrides})
    with pytest.raises(BadInput, match=words):
        task.for_arch("resnet50")
