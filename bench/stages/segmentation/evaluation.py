"""Evaluation of a segmentation model at its fastest: a copy with folded batch norms, compiled where that pays."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from contextlib import nullcontext
from typing import Any

import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.registry import LOOPS
from mmengine.runner import ValLoop
from torch import Tensor, nn

from bench.config.recipe import Precision
from bench.errors import one_line
from bench.nn.compiling import compile_fixed
from bench.stages.segmentation.prediction import LabelPredictor
from bench.train.precision import is_bf16

# Compiling takes about as long on a CPU as it saves on this many pixels.
PIXELS_TO_COMPILE = 64 << 20


class Float32Conv(nn.Conv2d):
    """A convolution that stays in float32 in a network of bf16."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve in float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


@torch.no_grad()
def evaluation_copy(model: Any, precision: Precision) -> Any:
    """Return a copy of an mmseg segmentor for evaluation alone, its batch norms folded into the convolutions before.

    y = γ (w*x + b − μ)/σ + β is w'*x + b' with w' = wγ/σ and b' = (b − μ)γ/σ + β, computed in float32. For "bf16" the
    folded weights are rounded once, except those of the classifying layers, so that scores keep their bits. What mmcv
    folds is checked on an image of noise.

    Raises RuntimeError when the copy does not compute what the model does.
    """
    folded = fuse_conv_bn(copy.deepcopy(model).eval())
    training = model.training
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)).to(next(model.parameters()).device)
    expected, computed = model.eval()._forward(image), folded._forward(image)
    model.train(training)
    difference = float((computed - expected).norm() / expected.norm())
    if not difference < 1e-3:
        raise RuntimeError(f"folding batch norms changes the scores by a relative {difference:.1e}")
    if is_bf16(precision):
        for name, part in folded.named_children():
            if name != "data_preprocessor":
                part.to(torch.bfloat16)
        for name, layer in folded.named_modules():
            if name.endswith("conv_seg") and type(layer) is nn.Conv2d:
                layer.__class__ = Float32Conv
                layer.float()
    return folded.requires_grad_(False)


def compile_scorer(model: LabelPredictor, shape: torch.Size, precision: Precision) -> None:
    """Compile the network for inputs of one shape, with its weights as constants (inductor's freezing).

    Raises whatever the compiler raises.
    """
    import torch._inductor.config as inductor  # a second

    device = next(model.parameters()).device
    program = compile_fixed(model._forward)
    # As an option of torch.compile, freezing comes too late for the convolutions to be packed and fused.
    with warnings.catch_warnings(), inductor.patch(freezing=True), torch.no_grad(), casting(precision, device):
        warnings.simplefilter("ignore")  # that it looks through the caches of functions
        program(torch.zeros(shape, device=device))  # compiles

    def score(inputs: Tensor) -> Tensor:
        return program(inputs) if inputs.shape == shape else model._forward(inputs)

    model.scorer = score


def compiling_pays() -> bool:
    """Whether this CPU has matrix tiles (AMX). Without, convolutions take nearly all of the time, compiled or not."""
    return torch.cpu._is_amx_tile_supported()


def casting(precision: Precision, device: torch.device) -> Any:
    """Return the context in which a network computes in a precision."""
    return torch.autocast(device.type, torch.bfloat16) if is_bf16(precision) else nullcontext()


@LOOPS.register_module()
class EvaluationLoop(ValLoop):
    """Validation in a precision that need not be training's, with `fold` by a copy of the model with folded norms.

    With `compile`, on a CPU with matrix tiles, the copy is compiled once two batches had the same shape, if enough
    pixels are left to pay for it.
    """

    def __init__(
        self, *args: Any, precision: Precision = "float32", fold: bool = False, compile: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.precision, self.fold, self.compile = precision, fold, compile
        self.network: Any = None
        self.shapes: Counter[torch.Size] = Counter()

    def run(self) -> dict[str, Any]:
        """Validate; the copy lives as long."""
        self.shapes.clear()
        try:
            return super().run()
        finally:
            self.network = None

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Predict one batch and hand it to the evaluator."""
        if idx == 0:  # now that hooks have put the weights to be validated into the model
            self.network = self._network()
        self.runner.call_hook("before_val_iter", batch_idx=idx, data_batch=data_batch)
        data = self.network.data_preprocessor(data_batch, False)
        self._compile_if_it_pays(data["inputs"], left=len(self.dataloader) - idx)
        with casting(self.precision, data["inputs"].device):
            outputs = self.network(**data, mode="predict")
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook("after_val_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def _network(self) -> Any:
        model = getattr(self.runner.model, "module", self.runner.model)
        if not self.fold:
            return model
        try:
            return evaluation_copy(model, self.precision)
        except RuntimeError as error:
            self.runner.logger.info(f"folded_norms: as shipped, since {error}")
            return model

    def _compile_if_it_pays(self, inputs: Tensor, left: int) -> None:
        if not self.compile or not compiling_pays() or inputs.device.type != "cpu":
            return
        if self.network is self.runner.model or not isinstance(self.network, LabelPredictor) or self.network.scorer:
            return
        self.shapes[inputs.shape] += 1
        pixels = left * inputs.numel() // inputs.shape[1]
        if self.shapes[inputs.shape] != 2 or pixels < PIXELS_TO_COMPILE:
            return
        try:
            compile_scorer(self.network, inputs.shape, self.precision)
            self.runner.logger.info(f"compiled_evaluation: taken for inputs {tuple(inputs.shape)}")
        except Exception as error:  # no compiler, or one that fails: slower, and else the same
            self.compile = False
            self.runner.logger.info(f"compiled_evaluation: not taken, since compiling failed: {one_line(error)}")
