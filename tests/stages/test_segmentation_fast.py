"""What is computed otherwise than mmseg does is the same: outputs, gradients, labels, scores."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.models.decode_heads import PSPHead
from mmseg.models.losses import accuracy as mmseg_accuracy
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from bench.config.load import load_task
from bench.config.tasks import FastStep, SegmentationTask
from bench.plan import hashed_settings
from bench.stages.segmentation import evaluation as segmentation_evaluation
from bench.stages.segmentation import prediction, psp_head
from bench.stages.segmentation.evaluation import EvaluationLoop, compile_scorer, evaluation_copy
from bench.stages.segmentation.fast import accuracy, take_steps
from bench.stages.segmentation.metric import UnroundedIoU
from bench.stages.segmentation.model import build_model
from bench.stages.segmentation.prediction import LabelPredictor, argmax, resized_argmax
from bench.stages.segmentation.psp_head import SplitPSPHead, split_psp

pytestmark = pytest.mark.slow

ALL: tuple[FastStep, ...] = get_args(FastStep)
NORM = {"type": "BN"}


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.INFO)  # mmengine lists every initialisation
    yield
    logging.disable(logging.NOTSET)


def psp(align_corners: bool = False, **changes: Any) -> dict[str, Any]:
    return {
        "type": "PSPHead", "in_channels": 32, "in_index": 0, "channels": 8, "pool_scales": (1, 2, 3, 6),
        "dropout_ratio": 0.0, "num_classes": 5, "norm_cfg": NORM, "align_corners": align_corners, **changes,
    }  # fmt: skip


HEADS: dict[str, dict[str, Any]] = {
    "psp": psp(in_channels=512, in_index=3),
    "fcn": {
        "type": "FCNHead", "in_channels": 512, "in_index": 3, "channels": 8, "num_convs": 2, "dropout_ratio": 0.0,
        "num_classes": 5, "norm_cfg": NORM, "align_corners": False,
    },
    "deeplab": {
        "type": "ASPPHead", "in_channels": 512, "in_index": 3, "channels": 8, "dilations": (1, 2, 4),
        "dropout_ratio": 0.0, "num_classes": 5, "norm_cfg": NORM, "align_corners": False,
    },
}  # fmt: skip
AUXILIARY = {
    "type": "FCNHead", "in_channels": 256, "in_index": 2, "channels": 8, "num_convs": 1, "concat_input": False,
    "dropout_ratio": 0.0, "num_classes": 5, "norm_cfg": NORM, "align_corners": False,
    "loss_decode": {"type": "CrossEntropyLoss", "loss_weight": 0.4},
}  # fmt: skip


def build(head: str, fast: tuple[FastStep, ...], channels_last: bool = False, **test_cfg: Any) -> Any:
    settings = {
        "type": "EncoderDecoder",
        "data_preprocessor": {
            "type": "SegDataPreProcessor", "mean": [120.0] * 3, "std": [60.0] * 3, "bgr_to_rgb": True,
            "size": (64, 96), "pad_val": 0, "seg_pad_val": 255,
        },
        "backbone": {
            "type": "ResNet", "depth": 18, "norm_cfg": NORM, "strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4),
            "contract_dilation": True,
        },
        "decode_head": HEADS[head],
        "auxiliary_head": AUXILIARY,
        "test_cfg": ConfigDict(test_cfg or {"mode": "whole"}),
    }  # fmt: skip
    return build_model(settings, 0, synchronise=False, device_type="cpu", channels_last=channels_last, fast=fast)


def batch(height: int = 64, width: int = 96, original: tuple[int, int] | None = None) -> dict[str, Any]:
    torch.manual_seed(1)
    samples = []
    for _ in range(2):
        labels = torch.randint(0, 5, (1, height // 8, width // 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
        labels[0, :3] = 255
        meta = {"img_shape": (height, width), "ori_shape": original or (height, width)}
        samples.append(SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=labels)))
    return {"inputs": [torch.randint(0, 256, (3, height, width)) for _ in range(2)], "data_samples": samples}


def relative(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


# ------------------------------------------------------------------------------------- the pyramid of PSPNet


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(13, 29), (5, 4)])
def test_the_split_head_equals_mmsegs_with_its_gradients(
    align_corners: bool, layout: torch.memory_format, size: tuple[int, int]
) -> None:
    init_default_scope("mmseg")
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-5)):
        torch.manual_seed(0)
        theirs = MODELS.build(psp(align_corners)).to(dtype=dtype, memory_format=layout)
        theirs.train(dtype == torch.float64)  # statistics of two numbers amplify rounding
        ours = copy.deepcopy(theirs)
        assert split_psp(ours) is None
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        x = torch.randn(2, 32, *size, dtype=dtype).relu().to(memory_format=layout)
        weight = torch.randn(2, 5, *size, dtype=dtype)
        results = []
        for head in (theirs, ours):
            given = x.clone(memory_format=torch.preserve_format).requires_grad_()
            y = head([given])
            (y * weight).sum().backward()
            results.append([y.detach(), given.grad, *(p.grad for p in head.parameters())])
        for expected, actual in zip(*results, strict=True):
            if expected.norm() > 1e-6:  # a shift before a batch norm has no gradient
                assert relative(actual, expected) < tolerance


def test_the_split_head_does_not_see_the_concatenation(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken: no convolution reads more channels than the map has, and nothing is upsampled."""
    model = build("psp", ALL)
    assert isinstance(model.decode_head, SplitPSPHead)
    assert "psp_split: taken by decode_head" in model.notes
    widths = []
    honest = F.conv2d

    def look(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        widths.append(x.shape[1])
        return honest(x, *args, **kwargs)

    psp_head._taps(6, 8, False, torch.float32, torch.device("cpu"))
    monkeypatch.setattr(F, "conv2d", look)
    model.eval()._forward(torch.randn(1, 3, 64, 96))
    assert max(widths) == 512


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda head: setattr(head.bottleneck.conv, "dilation", (2, 2)), "its bottleneck is not a plain 3×3"),
        (lambda head: setattr(head.bottleneck, "order", ("norm", "conv", "act")), "its bottleneck is not a plain"),
        (lambda head: head.psp_modules[0].append(nn.Identity()), "its pyramid is not"),
    ],
)
def test_a_head_of_another_build_is_left_alone(change: Any, reason: str) -> None:
    init_default_scope("mmseg")
    head = MODELS.build(psp())
    change(head)
    assert reason in str(split_psp(head))
    assert type(head) is PSPHead
    assert "FCNHead is no PSPHead" in str(split_psp(MODELS.build(HEADS["fcn"])))


# ---------------------------------------------------------------------------------------------- training


def losses(model: Any, autocast: bool = False) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        terms = model._run_forward(model.data_preprocessor(batch(), True), mode="loss")
    total, logged = model.parse_losses(terms)
    total.backward()
    return logged, {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_losses_and_gradients_are_those_of_mmseg(head: str) -> None:
    shipped, ours = build(head, ()), build(head, ALL)
    assert "_CountedByArgmax" in [kind.__name__ for kind in type(ours.decode_head).__mro__]
    assert type(shipped.decode_head).__mro__[0].__module__.startswith("mmseg")
    (expected, theirs), (logged, mine) = losses(shipped), losses(ours)
    assert logged.keys() == expected.keys() >= {"loss", "decode.loss_ce", "decode.acc_seg", "aux.loss_ce"}
    for name, value in expected.items():
        torch.testing.assert_close(logged[name], value, rtol=1e-5, atol=0)
    for name, gradient in theirs.items():
        assert relative(mine[name], gradient) < 1e-5, name


def test_accuracy_is_that_of_mmseg() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(2, 5, 20, 30), torch.randint(0, 5, (2, 20, 30))
    labels[torch.rand(2, 20, 30) < 0.3] = 255
    for truth, ignored in ((labels, 255), (labels, None), (torch.full_like(labels, 255), 255)):
        expected = mmseg_accuracy(scores, truth, ignore_index=ignored)
        torch.testing.assert_close(accuracy(scores, truth, ignored), expected, rtol=1e-6, atol=0)


# -------------------------------------------------------------------------------------------- prediction


@pytest.mark.parametrize(("size", "align"), [((64, 96), False), ((24, 48), False), ((50, 70), False), ((64, 96), True)])
def test_labels_by_rows_are_those_of_the_whole_resize(
    size: tuple[int, int], align: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "CHUNK", 8 * 96)
    torch.manual_seed(0)
    scores = torch.randn(1, 5, 8, 12)
    grown = F.interpolate(scores, size, mode="bilinear", align_corners=align)
    assert torch.equal(resized_argmax(scores, size, align), grown[0].argmax(0))
    assert torch.equal(argmax(grown[0]), grown[0].argmax(0))


def test_rows_hold_few_scores_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "CHUNK", 8 * 96)
    held = []
    monkeypatch.setattr(prediction, "argmax", lambda scores: held.append(scores.shape) or argmax(scores))
    resized_argmax(torch.randn(1, 5, 8, 12), (64, 96), False)
    assert held == [(5, 8, 96)] * 8


def predictions(model: Any, data: dict[str, Any]) -> list[Tensor]:
    with torch.no_grad():
        outputs = model.eval().val_step(data)
    return [output.pred_sem_seg.data for output in outputs]


@pytest.mark.slow
@pytest.mark.parametrize("original", [None, (50, 70)])
@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_predictions_are_those_of_mmseg(original: tuple[int, int] | None, mode: str) -> None:
    test_cfg = {"mode": mode, "crop_size": (64, 64), "stride": (40, 40)}
    shipped = build("fcn", (), **test_cfg)
    data = batch(original=original)
    expected = predictions(shipped, data)
    for fast in (ALL, ("chunked_argmax",), ("one_resize",)):
        ours = build("fcn", fast, **test_cfg)
        assert type(ours) is LabelPredictor
        assert "seg_logits" not in ours.eval().val_step(batch(original=original))[0]
        for labels, theirs in zip(predictions(ours, batch(original=original)), expected, strict=True):
            assert labels.dtype == torch.int64
            assert torch.equal(labels, theirs)


def test_flips_and_padding_are_undone() -> None:
    shipped, ours = build("fcn", ()), build("fcn", ALL)
    for info in ({"flip": True, "flip_direction": "horizontal"}, {"padding_size": [3, 5, 2, 6], "ori_shape": (56, 88)}):
        given = [batch() for _ in range(2)]
        for data in given:
            for sample in data["data_samples"]:
                sample.set_metainfo(info)
        expected, actual = predictions(shipped, given[0]), predictions(ours, given[1])
        assert all(torch.equal(a, b) for a, b in zip(expected, actual, strict=True))


def test_counts_are_those_of_mmseg() -> None:
    torch.manual_seed(0)
    guess, truth = torch.randint(0, 5, (20, 30)), torch.randint(0, 5, (20, 30))
    for ignored in (255, 3, -1):
        labels = torch.where(torch.rand(20, 30) < 0.2, ignored, truth)
        expected = IoUMetric.intersect_and_union(guess, labels, 5, ignored)
        for ours, theirs in zip(UnroundedIoU.intersect_and_union(guess, labels, 5, ignored), expected, strict=True):
            assert ours.tolist() == theirs.tolist()


# -------------------------------------------------------------------------------------------- evaluation


def trained(head: str = "psp", fast: tuple[FastStep, ...] = ALL) -> Any:
    """A model whose batch norms have seen data, so that folding them has something to do."""
    model = build(head, fast, channels_last=True)
    torch.manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_the_folded_copy_computes_the_same_scores(head: str) -> None:
    model = trained(head).train()
    before = copy.deepcopy(model.state_dict())
    folded = evaluation_copy(model, "float32")
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        assert model.training
        assert relative(folded._forward(image), model.eval()._forward(image)) < 1e-5
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_in_bf16_the_scores_keep_their_bits() -> None:
    model = trained().eval()
    folded = evaluation_copy(model, "bf16")
    assert folded.backbone.layer3[0].conv1.weight.dtype == torch.bfloat16
    assert folded.data_preprocessor.mean.dtype == torch.float32
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = folded._forward(torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    expected = model._forward(torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, scores.bfloat16().float())
    assert relative(scores, expected) < 0.02


def test_a_norm_that_cannot_be_folded_is_noticed() -> None:
    model = trained("fcn").eval()
    model.decode_head.conv_cat.order = ("norm", "conv", "act")
    model.decode_head.conv_cat.bn = nn.BatchNorm2d(520)
    nn.init.normal_(model.decode_head.conv_cat.bn.weight)
    with pytest.raises(RuntimeError):
        evaluation_copy(model, "float32")


def test_folding_is_checked_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU would, convolutions round what they multiply; to 7 bits, for which so small a network suffices."""
    plain = nn.Conv2d._conv_forward

    def rounded(self: Any, x: Tensor, weight: Tensor, bias: Any) -> Tensor:
        if torch.backends.cudnn.allow_tf32:
            bits = [tensor.detach().contiguous().view(torch.int32) for tensor in (x, weight)]
            x, weight = (((each + 0x8000) & ~0xFFFF).view(torch.float32) for each in bits)
        return plain(self, x, weight, bias)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", rounded)
    model = trained().eval()
    evaluation_copy(model, "float32")
    monkeypatch.setattr(segmentation_evaluation, "without_tf32", contextlib.nullcontext)
    with pytest.raises(RuntimeError, match="changes the scores"):
        evaluation_copy(model, "float32")


def test_a_copy_that_is_not_taken_is_told_of_on_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(model: Any, precision: str) -> None:
        raise RuntimeError("folding batch norms changes the scores")

    monkeypatch.setattr(segmentation_evaluation, "evaluation_copy", broken)
    made = loop(trained("fcn"), compile=False)
    made.run()
    made.run()
    assert capsys.readouterr().out.count("folded_norms: as shipped, since folding batch norms changes the scores") == 1


class Evaluator:
    def __init__(self) -> None:
        self.labels: list[Tensor] = []

    def process(self, data_samples: Any, data_batch: Any) -> None:
        self.labels += [sample.pred_sem_seg.data for sample in data_samples]

    def evaluate(self, size: int) -> dict[str, Any]:
        return {}


def loop(model: Any, images: int = 4, **settings: Any) -> Any:
    """A loop over `images` equal batches, without a Runner."""
    made = object.__new__(EvaluationLoop)
    logged: list[str] = []
    logger = SimpleNamespace(info=logged.append)
    hooks = SimpleNamespace(model=model, call_hook=lambda *a, **k: None, logger=logger, rank=0)
    made._runner, made.evaluator, made.val_loss = hooks, Evaluator(), {}
    made.dataloader = Batches(batch() for _ in range(images))
    made.precision, made.fold, made.compile = "float32", True, True
    for name, value in settings.items():
        setattr(made, name, value)
    made.network, made.shapes, made.said = None, segmentation_evaluation.Counter(), set()
    made.logged = logged
    return made


class Batches(list[Any]):
    dataset = range(4)


@pytest.mark.slow
def test_compiling_waits_until_it_pays_and_its_failure_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def broken(model: Any, shape: torch.Size, precision: str) -> None:
        calls.append(shape)
        raise OSError("no compiler here")

    monkeypatch.setattr(segmentation_evaluation, "compile_scorer", broken)
    monkeypatch.setattr(segmentation_evaluation, "compiling_pays", lambda: True)
    model = trained("fcn")
    few = loop(model)
    few.run()
    assert calls == []
    monkeypatch.setattr(segmentation_evaluation, "PIXELS_TO_COMPILE", 3 * 2 * 64 * 96)
    many = loop(model)
    many.run()
    assert calls == [(2, 3, 64, 96)]
    assert many.logged == ["compiled_evaluation: not taken, since compiling failed: no compiler here"]
    assert all(torch.equal(a, b) for a, b in zip(few.evaluator.labels, many.evaluator.labels, strict=True))
    assert many.network is None
    off = loop(model, compile=False)
    off.run()
    assert len(calls) == 1


@pytest.mark.slow
def test_a_compiled_network_computes_the_same_scores() -> None:
    """Of a network that is nothing but the pyramid: compiling more takes half a minute."""
    model = LabelPredictor.__new__(LabelPredictor)
    nn.Module.__init__(model)
    model.backbone, model.decode_head = nn.Identity(), MODELS.build(psp(pool_scales=(1, 6)))
    model.extract_feat = lambda x: [x]
    assert split_psp(model.decode_head) is None
    image = torch.randn(1, 32, 8, 16).relu()
    with torch.no_grad():
        expected = model.eval()._forward(image)
        compile_scorer(model, image.shape, "float32")
        assert relative(model.scorer(image), expected) < 1e-5
        other = torch.randn(1, 32, 16, 16)
        assert torch.equal(model.scorer(other), model._forward(other))


# --------------------------------------------------------------------------------------------- switches


def test_switches_at_their_defaults_leave_the_protocol_as_it_was() -> None:
    task = load_task("cityscapes_pspnet")
    assert isinstance(task, SegmentationTask)
    assert task.fast == ALL
    assert {"fast", "evaluation_precision"} & hashed_settings(task).keys() == set()
    assert hashed_settings(task.model_copy(update={"fast": ()}))["fast"] == []
    assert hashed_settings(task.model_copy(update={"evaluation_precision": "bf16"}))["evaluation_precision"] == "bf16"


def test_each_step_can_be_left_out() -> None:
    for step in ALL:
        notes = build("psp", tuple(other for other in ALL if other != step)).notes
        assert not any(note.startswith(step) for note in notes)
    assert build("psp", ()).notes == []
    assert take_steps(nn.Sequential(), ALL) == [
        "chunked_argmax: as shipped, since Sequential is no EncoderDecoder",
        "one_resize: as shipped, since Sequential is no EncoderDecoder",
    ]
