"""Mistakes that people make in these objectives, planted on purpose: a canary that does not hear them is of no use.

Each takes an objective that was built right and spoils it in place. `applies` says where a mistake can be made, by an
objective's parts; tests/canary holds that each is heard somewhere, docs/canary.md says which were not heard where.
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


def _around(objective: Objective, wrap: Callable[[Forward, Batch], dict[str, Tensor]]) -> None:
    """Put `wrap(forward, batch)` in the place of forward."""
    forward = objective.forward
    objective.forward = lambda batch: wrap(forward, batch)  # type: ignore[method-assign]


def _pairs(objective: Objective) -> Iterator[tuple[nn.Module, nn.Module]]:
    """(follower, what it follows) of each network that moves after another."""
    children = dict(objective.named_children())
    for name, child in children.items():
        for prefix in ("target_", "key_", "teacher_"):
            if name.startswith(prefix):
                own = name.removeprefix(prefix)
                yield child, children[own] if own in children else children[f"student_{own}"]


def loss_halved(objective: Objective) -> None:
    """The mean over two directions where the paper has the sum: half of every gradient."""

    def halved(forward: Forward, batch: Batch) -> dict[str, Tensor]:
        terms = forward(batch)
        return terms | {"loss": terms["loss"] / 2}

    _around(objective, halved)


def sign_wrong(objective: Objective) -> None:
    """The loss, or its only term, climbs."""

    def negated(forward: Forward, batch: Batch) -> dict[str, Tensor]:
        terms = forward(batch)
        return terms | {"loss": -terms["loss"]}

    _around(objective, negated)


TERMS = ("weight", "patch_weight", "dense_weight", "task_weight", "beta", "alpha")


def _term(objective: Objective) -> str | None:
    """The attribute that weighs one of several terms, or (`weights`) all of them."""
    if isinstance(getattr(objective, "weights", None), tuple):
        return "weights"
    return next((name for name in TERMS if isinstance(getattr(objective, name, None), float)), None)


def term_sign_wrong(objective: Objective) -> None:
    """One term of several, the second of VICReg's, has the wrong sign."""
    name = _term(objective)
    assert name is not None, "there is no weight of a term"
    value = getattr(objective, name)
    setattr(objective, name, -value if isinstance(value, float) else (value[0], -value[1], *value[2:]))


def views_identical(objective: Objective) -> None:
    """Both views are the same: nothing to be invariant to."""

    def same(forward: Forward, batch: Batch) -> dict[str, Tensor]:
        like = batch.views[0].shape
        for number in range(1, len(batch.views)):
            if batch.views[number].shape == like:
                batch.views[number], batch.boxes[number] = batch.views[0], batch.boxes[0]
        return forward(batch)

    _around(objective, same)


def target_frozen(objective: Objective) -> None:
    """The momentum update is forgotten: targets stay what they were at the start."""
    before = [(p, p.detach().clone()) for follower, _ in _pairs(objective) for p in follower.parameters()]
    assert before, "there is nothing that follows"
    after = objective.after_step

    @torch.no_grad()
    def stay(progress: float) -> None:
        after(progress)
        for parameter, first in before:
            parameter.copy_(first)

    objective.after_step = stay  # type: ignore[method-assign]


def momentum_zero(objective: Objective) -> None:
    """The target is a copy of the online network after every step: no average of the past."""
    pairs = list(_pairs(objective))
    assert pairs, "there is nothing that follows"
    after = objective.after_step

    def copy(progress: float) -> None:
        after(progress)
        for follower, leader in pairs:
            follow(follower, leader, 0.0)

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

    for follower, leader in _pairs(objective):  # one network on both sides, as without a target at all
        follower_name = next(name for name, child in objective.named_children() if child is follower)
        setattr(objective, follower_name, leader)
    objective.after_step = lambda progress: None  # type: ignore[method-assign]  # noqa: ARG005
    _around(objective, flowing)


def predictor_removed(objective: Objective) -> None:
    """The online network's projection is compared with the target's directly."""
    assert isinstance(objective.predictor, nn.Module)
    objective.predictor = nn.Identity()


def projector_bypassed(objective: Objective) -> None:
    """The loss sees the pooled feature (its first columns) instead of the projection."""
    width = _width(objective.projector)

    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.pad(x, (0, max(0, width - x.shape[-1])))[..., :width]

    for name in ("projector", "target_projector", "key_projector", "teacher_projector"):
        if hasattr(objective, name):
            setattr(objective, name, nn.Sequential(First()))
    after, pairs = objective.after_step, [pair for pair in _pairs(objective) if any(True for _ in pair[0].parameters())]

    def step(progress: float) -> None:
        try:
            after(progress)
        except RuntimeError:  # the projector's own follower has no parameters left; the encoder's goes on
            for follower, leader in pairs:
                follow(follower, leader, 0.99)

    objective.after_step = step  # type: ignore[method-assign]


def _width(module: Any) -> int:
    widths = [m.out_features for m in module.modules() if isinstance(m, nn.Linear)]
    return int(widths[-1])


def temperature_times_ten(objective: Objective) -> None:
    """The temperature is ten times the paper's."""
    for name in _temperatures(objective):
        value = getattr(objective, name)
        setattr(
            objective,
            name,
            value * 10 if isinstance(value, float) else replace(value, temperature=value.temperature * 10),
        )


def _temperatures(objective: Objective) -> list[str]:
    """The attributes that are a temperature which the loss has, or settings of a loss with one."""
    if getattr(objective, "loss", None) == "pixpro":  # its other loss has the temperature
        return []
    found = [
        name for name in ("temperature", "student_temperature") if isinstance(getattr(objective, name, None), float)
    ]
    settings = {name: value for name, value in vars(objective).items() if isinstance(value, Contrast)}
    return found + [
        name for name, value in settings.items() if value.loss != "simple" and value.loss != "align_uniform"
    ]


def positive_among_negatives(objective: Objective) -> None:
    """The keys are put into the queue before the loss is computed: each positive is one of the negatives, too."""
    queue: Any = objective.queue

    def early(forward: Forward, batch: Batch) -> dict[str, Tensor]:
        push = queue.push
        seen: list[Tensor] = []
        queue.push = seen.append
        rng = torch.get_rng_state()
        buffers = {name: buffer.clone() for name, buffer in objective.named_buffers()}
        with torch.no_grad():
            forward(batch)  # only to have its keys
        for name, buffer in objective.named_buffers():
            buffer.copy_(buffers[name])
        torch.set_rng_state(rng)
        queue.push = push
        for keys in seen:
            push(keys)
        queue.push = lambda keys: None  # noqa: ARG005
        terms = forward(batch)
        queue.push = push
        return terms

    _around(objective, early)


MISTAKES: dict[str, Callable[[Objective], None]] = {
    "loss_halved": loss_halved,
    "sign_wrong": sign_wrong,
    "term_sign_wrong": term_sign_wrong,
    "gradient_through_target": gradient_through_target,
    "predictor_removed": predictor_removed,
    "target_frozen": target_frozen,
    "momentum_zero": momentum_zero,
    "temperature_times_ten": temperature_times_ten,
    "positive_among_negatives": positive_among_negatives,
    "views_identical": views_identical,
    "projector_bypassed": projector_bypassed,
}


def applies(objective: Objective, mistake: str) -> bool:
    """Whether a mistake can be made in an objective at all, by the parts that it has."""
    follows = bool(list(_pairs(objective)))
    views = objective.views(64)
    pair = sum(view.count for view in views if view.size == views[0].size) > 1 if views else False
    return {
        "loss_halved": True,
        "sign_wrong": True,
        "term_sign_wrong": _term(objective) is not None,
        "gradient_through_target": follows or hasattr(objective, "predictor"),
        "predictor_removed": isinstance(getattr(objective, "predictor", None), nn.Module),
        "target_frozen": follows,
        "momentum_zero": follows,
        "temperature_times_ten": bool(_temperatures(objective)),
        "positive_among_negatives": hasattr(getattr(objective, "queue", None), "push"),
        "views_identical": pair,
        "projector_bypassed": isinstance(getattr(objective, "projector", None), nn.Sequential),
    }[mistake]
