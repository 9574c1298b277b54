"""Mistakes in how a segmentor looks at a trunk that arrived whole: each is refused before it trains."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmcv.transforms import Compose, LoadImageFromFile
from mmengine.config import Config
from torch import nn

from bench.config.tasks import SegmentationTask
from bench.convert.proof import load_proven, load_strictly
from bench.convert.trunk import Trunk
from bench.errors import BadInput, StageFailed
from bench.load_proofs import noted_load_proof
from bench.stages.segmentation.load_proof import check_modes, layout_of, prove_segmentor
from bench.stages.segmentation.mmseg_config import adapt
from bench.stages.segmentation.model import build_model

SMALL = "pspnet_r18-d8_4xb2-80k_cityscapes-512x1024"
Network = Callable[..., tuple[Any, Any]]


@pytest.fixture(scope="module")
def trunk(wide_trunk_folder: Path) -> Trunk:
    return load_proven(wide_trunk_folder)


def built(trunk: Trunk, channels_last: bool = False, **overrides: Any) -> tuple[Any, Any]:
    """A segmentor with the trunk in it, and what its config says."""
    settings: dict[str, Any] = {"name": "test", "summary": "", "source": "", "profile": "full", "kind": "segmentation"}
    chosen = {key.replace("__", "."): value for key, value in overrides.items()}
    task = SegmentationTask(**settings, config=SMALL, crop=(96, 128), overrides=chosen)
    said = adapt(task, "resnet18", Path("/data"), world=1, synchronise=False).config.model
    model: Any = build_model(copy.deepcopy(said), 0, synchronise=False, device_type="cpu", channels_last=channels_last)
    load_strictly(model.backbone, trunk.state)
    return model.train(), said


@pytest.fixture(scope="module")
def usual(trunk: Trunk) -> tuple[Any, Any]:
    return built(trunk)


def pipeline(*steps: Any) -> Any:
    """A data set within the one that is drawn from."""
    return SimpleNamespace(dataset=SimpleNamespace(pipeline=Compose(list(steps or [LoadImageFromFile()]))))


def test_the_shipped_config_passes_in_both_precisions(usual: tuple[Any, Any], trunk: Trunk) -> None:
    model, said = usual
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    datasets = {"training": pipeline(), "validation": pipeline()}
    proof = prove_segmentor(model, datasets, trunk, said, ("bf16", "float32"))
    assert (proof.matched, proof.of, proof.allowed) == (120, 120, ())
    assert list(proof.differences) == ["input", *(f"C{i}" for i in range(2, 6)), *(f"C{i} bf16" for i in range(2, 6))]
    assert max(value for name, value in proof.differences.items() if "bf16" not in name) < 1e-5
    assert proof.words.startswith("load proof: 120 of 120 tensors, maps through PSPNet's own preprocessor and backbone")
    assert " differ by " in proof.words
    assert " (in bf16 by 0.0" in proof.words
    assert noted_load_proof()["network"] == "PSPNet's own preprocessor and backbone"
    assert model.training
    assert model.backbone.layer4[1].bn2.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert layout_of(said["backbone"]).dilations == (1, 1, 2, 4)


@pytest.mark.slow
def test_another_layout_in_memory_and_a_subset_of_maps_pass(trunk: Trunk) -> None:
    model, said = built(trunk, channels_last=True, model__backbone__multi_grid=(1, 2))
    assert prove_segmentor(model, {}, trunk, said, ("float32",)).differences["C5"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"frozen_stages": 2}, "its config says frozen_stages=2"),
        ({"norm_eval": True}, "its config says norm_eval=True: its norms keep the trunk's statistics"),
        ({"norm_cfg.momentum": 0.01}, "its config says norm_cfg.momentum=0.01"),
        ({"norm_cfg.requires_grad": False}, "its config says norm_cfg.requires_grad=False"),
        ({"dilations": (1, 1, 1, 2), "strides": (1, 2, 2, 1)}, ""),
    ],
)
def test_what_the_config_says_openly_passes_and_is_printed(overrides: dict[str, Any], words: str, trunk: Trunk) -> None:
    model, said = built(trunk, **{f"model.backbone.{key}": value for key, value in overrides.items()})
    proof = prove_segmentor(model, {}, trunk, said, ("float32",))
    assert proof.allowed == ((words,) if words else ())
    assert words in proof.words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"backbone.norm_cfg.eps": 0.1}, "the norm bn1 of PSPNet's .* has ε 0.1, and pretraining's has 1e-05; set it"),
        ({"data_preprocessor.bgr_to_rgb": False}, "input of a resnet18 through PSPNet's .* it should see RGB, less Im"),
        ({"data_preprocessor.mean": [0.0, 0.0, 0.0]}, "input of a resnet18 through PSPNet's own preprocessor"),
        ({"data_preprocessor.std": [1.0, 1.0, 1.0]}, "input of a resnet18 through PSPNet's own preprocessor"),
        ({"data_preprocessor.mean": [123.675, 116.28, 104.0]}, "differs from pretraining's by 0.0"),
        ({"data_preprocessor.std": [58.395, 57.12, 58.0]}, "differs from pretraining's by 0.0"),
    ],
)
def test_what_the_config_makes_the_trunk_see_otherwise_is_refused(
    overrides: dict[str, Any], message: str, trunk: Trunk
) -> None:
    model, said = built(trunk, **{f"model.{key}": value for key, value in overrides.items()})
    with pytest.raises(StageFailed, match=message):
        prove_segmentor(model, {"training": None}, trunk, said, ("float32",))


def change(module: Any, **values: Any) -> None:
    for key, value in values.items():
        setattr(module, key, value)


PLANTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "epsilon": (lambda m: change(m.backbone.layer2[0].bn1, eps=1e-3), "norm layer2.0.bn1 of PSPNet's .* has ε 0.001"),
    "momentum": (lambda m: change(m.backbone.bn1, momentum=0.9), "the norm bn1 of PSPNet's .* has momentum 0.9, and"),
    "frozen": (lambda m: m.backbone.conv1.requires_grad_(False), "conv1.weight of PSPNet's .* is frozen, which"),
    "frozen norm": (lambda m: m.backbone.layer3[0].bn1.requires_grad_(False), "layer3.0.bn1.weight of .* is frozen"),
    "norm_eval": (lambda m: change(m.backbone, norm_eval=True), "the norm bn1 of .* is in eval mode while it trains"),
    "frozen_stages": (lambda m: change(m.backbone, frozen_stages=1), "conv1.weight of PSPNet's .* is frozen, which"),
    "stride": (lambda m: change(m.backbone.layer3[0].conv1, stride=(2, 2)), "takes no image .*must match"),
    "dilation": (lambda m: change(m.backbone.layer4[1].conv1, dilation=(2, 2), padding=(2, 2)), "C5 of a resnet18 thr"),
    "padding": (lambda m: change(m.backbone.conv1, padding=(2, 2)), "C2 of a resnet18 .* differs from pre"),
    "pool": (lambda m: change(m.backbone, maxpool=nn.MaxPool2d(2, 2)), "C2 of a resnet18 .* differs from pre"),
    "statistics": (lambda m: m.backbone.bn1.running_mean.add_(0.01), "119 of 120 tensors .* bn1.running_mean has"),
    "a batch's statistics": (lambda m: change(m.backbone.bn1, running_mean=None, running_var=None), "118 of 120|bn1"),
    "weights": (lambda m: m.backbone.conv1.weight.data.neg_(), "119 of 120 tensors .* conv1.weight has other values"),
    "mean": (lambda m: m.data_preprocessor.mean.add_(1), "input of a resnet18 through PSPNet's own pre"),
    "std": (lambda m: m.data_preprocessor.std.mul_(1.001), "input of a resnet18 through PSPNet's own pre"),
    "channels": (lambda m: change(m.data_preprocessor, _channel_conversion=False), "input of a resnet18 through"),
    "a crop": (lambda m: change(m, extract_feat=lambda x: m.backbone(x[..., 1:])), "C2 of a resnet18 through"),
    "maps": (lambda m: change(m.backbone, out_indices=(1, 2, 3)), "gives 3 maps, not 4"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTS)
def test_another_segmentor_with_the_same_weights_is_refused(name: str, usual: tuple[Any, Any], trunk: Trunk) -> None:
    plant, message = PLANTS[name]
    model, said = copy.deepcopy(usual[0]), usual[1]
    with torch.no_grad():
        plant(model)
    with pytest.raises(StageFailed, match=message):
        prove_segmentor(model, {"training": None}, trunk, said, ("float32",))
    assert model.training


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [LoadImageFromFile(color_type="grayscale")],
            "The pipeline for validation reads an image in colour without its",
        ),
        ([LoadImageFromFile(to_float32=True)], ""),
        ([SimpleNamespace(transform=None), LoadImageFromFile(imdecode_backend="pillow", color_type="color")], ""),
    ],
)
def test_the_images_are_those_that_the_pipeline_loads(
    steps: list[Any], message: str, usual: tuple[Any, Any], trunk: Trunk
) -> None:
    model, said = usual
    data = SimpleNamespace(pipeline=SimpleNamespace(transforms=steps))
    if not message:
        prove_segmentor(model, {"training": data}, trunk, said, ("float32",))
        return
    with pytest.raises(BadInput, match=message):
        prove_segmentor(model, {"validation": data}, trunk, said, ("float32",))


def test_images_that_a_loader_swaps_are_refused(usual: tuple[Any, Any], trunk: Trunk) -> None:
    class Swapped(LoadImageFromFile):
        def transform(self, results: Any) -> Any:
            read = super().transform(results)
            return read | {"img": read["img"][..., ::-1]}

    with pytest.raises(StageFailed, match=r"input of a resnet18 through PSPNet's .* in training differs"):
        prove_segmentor(usual[0], {"training": pipeline(Swapped())}, trunk, usual[1], ("float32",))


def test_a_pipeline_that_normalises_is_refused(usual: tuple[Any, Any], trunk: Trunk) -> None:
    class Normalize:
        def __call__(self, results: Any) -> Any:
            return results

    with pytest.raises(BadInput, match="The pipeline for training normalises images, and the model's"):
        prove_segmentor(usual[0], {"training": pipeline(LoadImageFromFile(), Normalize())}, trunk, usual[1], ())


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"frozen_stages": 0}, r"conv1.weight of it trains, .* \(frozen_stages=0, norm_cfg"),
        ({"norm_eval": True}, "the norm bn1 of it is in train mode while it trains, which its config does not say"),
        ({"norm_cfg": {"requires_grad": False}}, r"bn1.weight of it trains, .*norm_cfg.requires_grad=False"),
    ],
)
def test_a_config_that_says_more_than_was_built_is_refused(
    said: dict[str, Any], message: str, usual: tuple[Any, Any]
) -> None:
    with pytest.raises(StageFailed, match=message):
        check_modes(usual[0], Config(said), "it")
