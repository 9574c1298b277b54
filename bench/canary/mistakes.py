"""Mistakes that people make in these objectives, planted on purpose to see whether the canary notices them.

Each function takes a correct objective and spoils it in place. `applies` says where a mistake can be made, by an
objective's parts. tests/canary checks that each is noticed somewhere; docs/canary.md says where and by what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.views import Batch
from bench.losses.contrast_by_name import Contrast
from bench.nn.ema import follow
from bench.objectives.base import Objective

Forward = Callable[[Batch], dict[str, Tensor]]


def _wrap_forward(objective: Objective, wrap: Callable[[Forward, Batch], dict[str, Tensor]]) -> None:
    """Replace forward by `wrap(forward, batch)`."""
    forward = objective.forward
    objective.forward = lambda batch: wrap(forward, batch)  # type: ignore[method-assign]


def _pairs(objective: Objective) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield (target network, the network whose moving average it is)."""
    children = dict(objective.named_children())
    for name, child in children.items():
        for prefix in ("target_", "key_", "teacher_"):
            if name.startswith(prefix):
                followed = name.removeprefix(prefix)
                yield child, children[followed] if followed in children else children[f"student_{followed}"]


def loss_halved(objective: Objective) -> None:
    """The mean over two directions where the paper has the sum: half of every gradient."""

    _scale_loss(objective, 0.5)


def sign_wrong(objective: Objective) -> None:
    """The loss is maximized."""
    _scale_loss(objective, -1.0)


def _scale_loss(objective: Objective, factor: float) -> None:
    def scaled(forward: Forward, batch: Batch) -> dict[str, Tensor]:
        terms = forward(batch)
        return terms | {"loss": factor * terms["loss"]}

    _wrap_forward(objective, scaled)


TERMS = ("weight", "patch_weight", "dense_weight", "task_weight", "beta", "alpha")


def _term(objective: Objective) -> str | None:
    """Return the attribute that weighs one of several terms, or (`weights`) all of them; None if there is one term."""
    if isinstance(getattr(objective, "weights", None), tuple):
        return "weights"
    return next((name for name in TERMS if isinstance(getattr(objective, name, None), float)), None)


def term_sign_wrong(objective: Objective) -> None:
    """One of several terms (VICReg's second) has the wrong sign."""
    name = _term(objective)
    assert name is not None, "there is no weight of a term"
    value = getattr(objective, name)
    setattr(objective, name, -value if isinstance(value, float) else (value[0], -value[1], *value[2:]))


def views_identical(objective: Objective) -> None:
    """All global views of an image are the same: nothing to be invariant to."""

    def same(forward: Forward, batch: Batch) -> dict[str, Tensor]:
        shape = batch.views[0].shape
        for number in range(1, len(batch.views)):
            if batch.views[number].shape == shape:
                batch.views[number], batch.boxes[number] = batch.views[0], batch.boxes[0]
        return forward(batch)

    _wrap_forward(objective, same)


def target_frozen(objective: Objective) -> None:
    """The momentum update is forgotten: targets keep their initial weights."""
    initial = [(p, p.detach().clone()) for target, _ in _pairs(objective) for p in target.parameters()]
    assert initial, "there is no target network"
    after = objective.after_step

    @torch.no_grad()
    def restore(progress: float) -> None:
        after(progress)
        for parameter, value in initial:
            parameter.copy_(value)

    objective.after_step = restore  # type: ignore[method-assign]


def momentum_zero(objective: Objective) -> None:
    """The target is a copy of the online network after every step, not a moving average."""
    pairs = list(_pairs(objective))
    assert pairs, "there is no target network"
    after = objective.after_step

    def copy(progress: float) -> None:
        after(progress)
        for target, online in pairs:
            follow(target, online, 0.0)

    objective.after_step = copy  # type: ignore[method-assign]


def gradient_through_target(objective: Objective) -> None:
    """The stop-gradient is forgotten: `detach` and `no_grad` do nothing inside forward."""

    def flowing(forward: Forward, batch: Batch) -> dict[str, Tensor]:
        detach, no_grad = Tensor.detach, torch.no_grad
        Tensor.detach = lambda self: self  # type: ignore
        torch.no_grad = torch.enable_grad  # type: ignore
        try:
            return forward(batch)
        finally:
            Tensor.detach, torch.no_grad = detach, no_grad  # type: ignore

    for target, online in _pairs(objective):  # one network on both sides, as without a target at all
        name = next(name for name, child in objective.named_children() if child is target)
        setattr(objective, name, online)
    objective.after_step = lambda progress: None  # type: ignore[method-assign]  # noqa: ARG005
    _wrap_forward(objective, flowing)


def predictor_removed(objective: Objective) -> None:
    """The online network's projection is compared with the target's directly."""
    assert isinstance(objective.predictor, nn.Module)
    objective.predictor = nn.Identity()


def projector_bypassed(objective: Objective) -> None:
    """The loss sees the pooled feature (its first columns) instead of the projection."""
    width = int([m.out_features for m in objective.projector.modules() if isinstance(m, nn.Linear)][-1])  # type: ignore

    class FirstColumns(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.pad(x, (0, max(0, width - x.shape[-1])))[..., :width]

    for name in ("projector", "target_projector", "key_projector", "teacher_projector"):
        if hasattr(objective, name):
            setattr(objective, name, nn.Sequential(FirstColumns()))
    after, pairs = objective.after_step, [pair for pair in _pairs(objective) if any(True for _ in pair[0].parameters())]

    def step(progress: float) -> None:
        try:
            after(progress)
        except RuntimeError:  # the target projector has no parameters left; the target encoder still follows
            for target, online in pairs:
                follow(target, online, 0.99)

    objective.after_step = step  # type: ignore[method-assign]


def temperature_times_ten(objective: Objective) -> None:
    """The temperature is ten times the paper's."""
    for name in _temperatures(objective):
        value = getattr(objective, name)
        changed = value * 10 if isinstance(value, float) else replace(value, temperature=value.temperature * 10)
        setattr(objective, name, changed)


def _temperatures(objective: Objective) -> list[str]:
    """Return the attributes that are a temperature of the loss, or the settings of a loss that has one."""
    if getattr(objective, "loss", None) == "pixpro":  # its other loss has the temperature
        return []
    plain = [
        name for name in ("temperature", "student_temperature") if isinstance(getattr(objective, name, None), float)
    ]
    contrasts = {name: value for name, value in vars(objective).items() if isinstance(value, Contrast)}
    return plain + [name for name, value in contrasts.items() if value.loss not in ("simple", "align_uniform")]


def positive_among_negatives(objective: Objective) -> None:
    """The keys enter the queue before the loss is computed, so each positive is among the negatives."""
    queue: Any = objective.queue

    def early(forward: Forward, batch: Batch) -> dict[str, Tensor]:
        push = queue.push
        pushed: list[Tensor] = []
        queue.push = pushed.append
        rng = torch.get_rng_state()
        buffers = {name: buffer.clone() for name, buffer in objective.named_buffers()}
        with torch.no_grad():
            forward(batch)  # only for its keys
        for name, buffer in objective.named_buffers():
            buffer.copy_(buffers[name])
        torch.set_rng_state(rng)
        queue.push = push
        for keys in pushed:
            push(keys)
        queue.push = lambda keys: None  # noqa: ARG005
        terms = forward(batch)
        queue.push = push
        return terms

    _wrap_forward(objective, early)


MISTAKES: dict[str, Callable[[Objective], None]] = {
    mistake.__name__: mistake
    for mistake in (
        loss_halved,
        sign_wrong,
        term_sign_wrong,
        gradient_through_target,
        predictor_removed,
        target_frozen,
        momentum_zero,
        temperature_times_ten,
        positive_among_negatives,
        views_identical,
        projector_bypassed,
    )
}


def applies(objective: Objective, mistake: str) -> bool:
    """Whether a mistake can be made in an objective at all, by the parts that it has."""
    has_target = any(True for _ in _pairs(objective))
    views = objective.views(64)
    several_views = sum(view.count for view in views if view.size == views[0].size) > 1
    return {
        "loss_halved": True,
        "sign_wrong": True,
        "term_sign_wrong": _term(objective) is not None,
        "gradient_through_target": has_target or hasattr(objective, "predictor"),
        "predictor_removed": isinstance(getattr(objective, "predictor", None), nn.Module),
        "target_frozen": has_target,
        "momentum_zero": has_target,
        "temperature_times_ten": bool(_temperatures(objective)),
        "positive_among_negatives": hasattr(getattr(objective, "queue", None), "push"),
        "views_identical": several_views,
        "projector_bypassed": isinstance(getattr(objective, "projector", None), nn.Sequential),
    }[mistake]
