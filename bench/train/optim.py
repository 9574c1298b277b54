"""Optimizers from an objective's parameter groups: SGD, Adam and AdamW of torch, and LARS as BYOL has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.config.recipe import OptimizerSettings
from bench.errors import BadInput
from bench.train.schedule import peak_rate


def build_optimizer(
    groups: Iterable[Mapping[str, Any]],
    settings: OptimizerSettings,
    batch_size: int,
    lars: Literal["foreach", "timm"] = "foreach",
) -> Optimizer:
    """Build the optimizer for groups of {"params": …, "decay": bool, "adapt": bool, "rate": 1.0, "constant": False}.

    `decay` says whether weight decay applies, `adapt` whether LARS's trust ratio does; `rate` multiplies the learning
    rate, and a `constant` group keeps its peak; `set_rates` sets the rate of each step. `lars` says which of two
    implementations computes LARS. Raises BadInput for settings that do not go together.
    """
    if settings.nesterov and settings.momentum == 0:
        raise BadInput("optimizer.nesterov needs momentum; set optimizer.momentum above 0, or nesterov=False.")
    lr = peak_rate(settings, batch_size)
    complete = [
        {
            "params": list(group["params"]),
            "weight_decay": settings.weight_decay if group["decay"] or settings.decay == "all" else 0.0,
            "adapt": bool(group["adapt"]),
            "rate": float(group.get("rate", 1.0)),
            "constant": bool(group.get("constant", False)),
        }
        for group in groups
    ]
    complete = [group for group in complete if group["params"]]
    if settings.name == "lars":
        adapted = [{"decay": g.pop("weight_decay"), "always_adapt": g.pop("adapt"), **g} for g in complete]
        return _timm_lars(adapted, lr, settings) if lars == "timm" else Lars(adapted, lr, settings)
    plain = [{key: value for key, value in group.items() if key != "adapt"} for group in complete]
    if settings.name == "adam":
        return torch.optim.Adam(plain, lr=lr, betas=settings.betas, fused=True)
    if settings.name == "adamw":
        return torch.optim.AdamW(plain, lr=lr, betas=settings.betas, fused=True)
    sgd = torch.optim.SGD(plain, lr=lr, momentum=settings.momentum, nesterov=settings.nesterov, fused=True)
    if settings.momentum:
        sgd.register_step_pre_hook(_start_late_velocities)
    return sgd


def _start_late_velocities(optimizer: Optimizer, *_: Any) -> None:
    """Give a velocity of 0 to parameters that have their first gradient later than others, such as a held layer's.

    The fused SGD of torch 2.15 expects that all parameters of a group have one, or none (`_fused_sgd` in
    torch/optim/sgd.py). A velocity of 0 becomes the gradient, as at a first step.
    """
    for group in optimizer.param_groups:
        moving = [parameter for parameter in group["params"] if parameter.grad is not None]
        fresh = [p for p in moving if optimizer.state.get(p, {}).get("momentum_buffer") is None]
        if len(fresh) < len(moving):
            for parameter in fresh:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def set_rates(optimizer: Optimizer, rate: float, peak: float) -> None:
    """Give every group its learning rate of a step: `rate`, or `peak` where it is constant, times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = (peak if group.get("constant") else rate) * group.get("rate", 1.0)


class Lars(Optimizer):
    """LARS (You et al. 2017) with BYOL's trust ratio, for groups of {"params", "decay", "always_adapt"}.

    With u = g + decay·w, an adapted parameter moves along η·‖w‖/‖u‖·u (u itself where either norm is 0), any
    other along u; both with heavy-ball momentum, the rate applied last (Grill et al. 2020, appendix J, and the
    reference implementation). Nothing waits for the device. Gradients are used up: they hold the update afterwards.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, settings: OptimizerSettings) -> None:
        self.eta, self.momentum, self.nesterov = settings.trust_coefficient, settings.momentum, settings.nesterov
        self._known_counts: dict[tuple[int, ...], Tensor] = {}
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move the parameters that have a gradient; there is no closure to evaluate."""
        assert closure is None
        for group in self.param_groups:
            weights: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if not weights:
                continue
            updates: list[Tensor] = [p.grad for p in weights if p.grad is not None]
            if group["decay"] != 0:
                torch._foreach_add_(updates, weights, alpha=group["decay"])
            if group["always_adapt"]:
                self._scale(updates, self._ratios(weights, updates))
            if self.momentum != 0:
                updates = self._with_momentum(weights, updates)
            torch._foreach_add_(weights, updates, alpha=-group["lr"])

    def _ratios(self, weights: list[Tensor], updates: list[Tensor]) -> Tensor:
        """η·‖w‖/‖u‖ of each parameter, 1 where either norm is 0."""
        w, u = torch.stack(torch._foreach_norm(weights)), torch.stack(torch._foreach_norm(updates))
        return torch.where((w > 0) & (u > 0), self.eta * w / u, 1.0)

    def _scale(self, updates: list[Tensor], ratios: Tensor) -> None:
        """Multiply each update by its ratio.

        On CUDA foreach takes few kernels for all only where partners have the same shape and strides
        (`can_use_fast_route` in ATen/native/ForeachUtils.h), and with scalars on the device one kernel for each. So
        ratios are spread there; on a CPU foreach is a loop either way.
        """
        if _takes_few_kernels(updates):
            torch._foreach_mul_(updates, spread(ratios, updates, self._counts(updates)))
        else:
            torch._foreach_mul_(updates, list(ratios.unbind()))

    def _counts(self, tensors: list[Tensor]) -> Tensor:
        """The number of elements of each tensor, on their device: copied there once, as a copy waits for the device."""
        key = tuple(tensor.numel() for tensor in tensors)
        if key not in self._known_counts:
            self._known_counts[key] = torch.tensor(key, device=tensors[0].device)
        return self._known_counts[key]

    def _with_momentum(self, weights: list[Tensor], updates: list[Tensor]) -> list[Tensor]:
        """Add the updates to the velocities; return what the weights move along."""
        fresh = [p for p in weights if "momentum_buffer" not in self.state[p]]
        for p in fresh:
            self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        velocities: list[Tensor] = [self.state[p]["momentum_buffer"] for p in weights]
        torch._foreach_mul_(velocities, self.momentum)
        torch._foreach_add_(velocities, updates)
        if not self.nesterov:
            return velocities
        torch._foreach_add_(updates, velocities, alpha=self.momentum)
        return updates


def _takes_few_kernels(tensors: list[Tensor]) -> bool:
    """Whether foreach could work on all tensors at once, if their partners were like them."""
    dense = torch.ops.aten.is_non_overlapping_and_dense
    return tensors[0].device.type == "cuda" and all(map(dense, tensors))


def spread(scales: Tensor, tensors: list[Tensor], counts: Tensor) -> list[Tensor]:
    """Return each scale as a tensor of its partner's shape and strides, all in one block of memory.

    Args:
        scales: L, one a tensor.
        tensors: L dense tensors, in any order of their dimensions (channels_last, say).
        counts: L, int64 on their device: the elements of each.
    """
    sizes = [tensor.numel() for tensor in tensors]
    block = torch.repeat_interleave(scales, counts, output_size=sum(sizes))  # the size given, so that it needn't wait
    parts = zip(block.split(sizes), tensors, strict=True)
    return [part.as_strided(tensor.shape, tensor.stride()) for part, tensor in parts]


def _timm_lars(groups: list[dict[str, Any]], lr: float, settings: OptimizerSettings) -> Optimizer:
    """Return timm's LARS with the step of `Lars`: what that is held against, and the recipe's `lars="timm"`.

    timm's divides by ‖g‖ + weight_decay·‖w‖, and adapts exactly where weight decay is not 0. So decay is added here,
    and timm is given gradients that hold it already.
    """
    from timm.optim.lars import Lars as TimmLars  # importing timm takes seconds

    class DecayedLars(TimmLars):
        """timm's Lars on g + decay·w; the group's `always_adapt` alone says whether it is adapted."""

        @torch.no_grad()
        def step(self, closure: Callable[[], float] | None = None) -> None:
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                if params and group["decay"] != 0:
                    torch._foreach_add_([p.grad for p in params], params, alpha=group["decay"])
            super().step(closure)

    return DecayedLars(
        [{"decay": group.pop("decay"), "weight_decay": 0.0, **group} for group in groups],
        lr=lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        trust_coeff=settings.trust_coefficient,
        eps=0.0,
    )


def check_coverage(module: nn.Module, groups: Iterable[Mapping[str, Any]]) -> None:
    """Raise ValueError if a trainable parameter lies in no group, or in two: it would be left out, or moved twice."""
    times = Counter(id(parameter) for group in groups for parameter in group["params"])
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and times[id(parameter)] != 1:
            raise ValueError(f"param_groups() has the parameter {name} {times[id(parameter)]} times, not once")
