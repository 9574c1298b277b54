from __future__ import annotations

import math

import pytest
import torch
from stand_in import StandIn
from torch import Tensor, nn

from bench.config.recipe import OptimizerSettings
from bench.errors import BadInput
from bench.train.optim import build_optimizer, check_coverage, set_rates


def gradients(step: int, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


# Each shape of one kind: what decays and adapts, what does neither, and the two mixtures.
SHAPES = [(4, 3, 3, 3), (5, 4), (4,), (3, 2), (2, 2), (3, 3)]
DECAY = [True, True, False, True, False, True]
ADAPT = [True, True, False, False, True, True]
ZERO = 5  # this one starts at zero, where the trust ratio is 1


def parameters() -> list[nn.Parameter]:
    made = [nn.Parameter(value) for value in gradients(99, SHAPES)]
    made[ZERO].data.zero_()
    return made


def groups(params: list[nn.Parameter]) -> list[dict[str, object]]:
    return [{"params": [p], "decay": d, "adapt": a} for p, d, a in zip(params, DECAY, ADAPT, strict=True)]


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_layer_that_is_held_at_first_moves_as_if_the_run_began_then(nesterov: bool) -> None:
    """As DINO's and SwAV's last layers: SGD written by hand, with velocities that begin with the first gradient."""
    decay, momentum, rate = 0.3, 0.8, 0.5
    settings = OptimizerSettings(lr=rate, lr_batch=None, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    params = parameters()[:3]
    optimizer = build_optimizer([{"params": params, "decay": True, "adapt": True}], settings, batch_size=8)
    weights, velocities = [p.detach().clone() for p in params], [torch.zeros_like(p) for p in params]
    for step in range(4):
        for i, grad in enumerate(gradients(step, SHAPES[:3])):
            params[i].grad = None if i == 1 and step < 2 else grad.clone()
            if params[i].grad is not None:
                update = grad + decay * weights[i]
                velocities[i] = momentum * velocities[i] + update
                weights[i] = weights[i] - rate * (update + momentum * velocities[i] if nesterov else velocities[i])
        optimizer.step()
        for p, weight in zip(params, weights, strict=True):
            torch.testing.assert_close(p.detach(), weight, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_is_byols_step_written_by_hand(nesterov: bool) -> None:
    eta, momentum, decay, peak = 0.02, 0.9, 0.3, 0.5  # so much decay that ‖g + wd·w‖ and ‖g‖ + wd·‖w‖ differ
    settings = OptimizerSettings(
        name="lars",
        lr=peak,
        lr_batch=None,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=decay,
        trust_coefficient=eta,
    )
    params = parameters()
    optimizer = build_optimizer(groups(params), settings, batch_size=8)
    weights = [p.detach().clone() for p in params]
    velocities: list[Tensor | None] = [None] * len(weights)
    for step in range(5):
        rate = peak * (1 - step / 5)
        for group in optimizer.param_groups:
            group["lr"] = rate
        grads = gradients(step, SHAPES)
        if step == 2:
            grads[1].zero_()
        if step == 0:
            grads[ZERO].zero_()  # both norms zero
        for p, g in zip(params, grads, strict=True):
            p.grad = g.clone()
        optimizer.step()
        for i, g in enumerate(grads):
            update = g + decay * weights[i] if DECAY[i] else g
            if ADAPT[i]:
                norms = math.sqrt(weights[i].square().sum()), math.sqrt(update.square().sum())
                if min(norms) > 0:
                    update = update * (eta * norms[0] / norms[1])
            velocity = velocities[i]
            velocities[i] = velocity = update if velocity is None else momentum * velocity + update
            weights[i] = weights[i] - rate * (update + momentum * velocity if nesterov else velocity)
        for p, w in zip(params, weights, strict=True):
            torch.testing.assert_close(p.detach(), w, rtol=1e-12, atol=1e-14)


def test_lars_without_decay_still_adapts() -> None:
    """timm's own adapts nothing when weight decay is 0."""
    settings = OptimizerSettings(name="lars", lr=1.0, lr_batch=None, momentum=0.0, trust_coefficient=0.5)
    param = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = build_optimizer([{"params": [param], "decay": True, "adapt": True}], settings, 1)
    param.grad = torch.tensor([[0.0, 10.0]])
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.tensor([[3.0, 4.0 - 0.5 * 5]]))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_groups_that_do_not_decay_do_not(name: str) -> None:
    decay = 0.5
    settings = OptimizerSettings.model_validate({"name": name, "lr": 0.1, "lr_batch": None, "weight_decay": decay})
    param, excluded = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimizer = build_optimizer(
        [{"params": [param], "decay": True, "adapt": True}, {"params": [excluded], "decay": False, "adapt": False}],
        settings,
        1,
    )
    param.grad, excluded.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.full((2, 2), 1 - 0.1 * decay))
    assert torch.equal(excluded.detach(), torch.ones(2))


@pytest.mark.parametrize(("lr_batch", "expected"), [(256, 0.45 * 512 / 256), (512, 0.45), (None, 0.45)])
@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_the_rate_follows_the_batch(name: str, lr_batch: int | None, expected: float) -> None:
    settings = OptimizerSettings.model_validate({"name": name, "lr": 0.45, "lr_batch": lr_batch})
    optimizer = build_optimizer(StandIn().param_groups(), settings, batch_size=512)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected] * 2)


def test_settings_reach_the_optimizer() -> None:
    given = OptimizerSettings(name="adamw", lr=1, betas=(0.8, 0.7))
    adamw = build_optimizer(StandIn().param_groups(), given, 256)
    assert adamw.defaults["betas"] == (0.8, 0.7)
    sgd = build_optimizer(StandIn().param_groups(), OptimizerSettings(lr=1, momentum=0.7, nesterov=True), 256)
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.7, True)


@pytest.mark.parametrize("name", ["sgd", "lars"])
def test_nesterov_without_momentum_is_refused(name: str) -> None:
    settings = OptimizerSettings.model_validate({"name": name, "lr": 1, "momentum": 0, "nesterov": True})
    with pytest.raises(BadInput, match=r"nesterov needs momentum; set"):
        build_optimizer(StandIn().param_groups(), settings, 256)


def test_every_trained_parameter_lies_in_one_group() -> None:
    model = StandIn()
    check_coverage(model, model.param_groups())
    with pytest.raises(ValueError, match=r"encoder\.0\.bias 0 times"):
        check_coverage(model, model.param_groups()[:1])
    with pytest.raises(ValueError, match=r"encoder\.0\.weight 2 times"):
        check_coverage(model, [*model.param_groups(), *model.param_groups()])


def test_decay_of_all_reaches_norms_and_biases() -> None:
    for decay, expected in (("weights", [0.1, 0.0]), ("all", [0.1, 0.1])):
        settings = OptimizerSettings.model_validate({"lr": 1.0, "weight_decay": 0.1, "decay": decay})
        made = [{"params": [nn.Parameter(torch.ones(1))], "decay": adapts, "adapt": adapts} for adapts in (True, False)]
        optimizer = build_optimizer(made, settings, 256)
        assert [group["weight_decay"] for group in optimizer.param_groups] == expected


@pytest.mark.parametrize("name", ["sgd", "lars", "adam", "adamw"])
@pytest.mark.parametrize("lars", ["foreach", "timm"])
def test_groups_with_rates_of_their_own(name: str, lars: str) -> None:
    """A predictor whose rate never falls (SimSiam), a generator with ten times the rate (context encoder)."""
    settings = OptimizerSettings.model_validate({"name": name, "lr": 0.5, "momentum": 0.0})
    plain, scaled, constant = (nn.Parameter(torch.ones(2, 2)) for _ in range(3))
    made: list[dict[str, object]] = [
        {"params": [plain], "decay": True, "adapt": False},
        {"params": [scaled], "decay": True, "adapt": False, "rate": 10.0},
        {"params": [constant], "decay": True, "adapt": False, "constant": True},
    ]
    optimizer = build_optimizer(made, settings, 256, lars)  # type: ignore[arg-type]
    set_rates(optimizer, rate=0.1, peak=0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 1.0, 0.5])
    for parameter in (plain, scaled, constant):
        parameter.grad = torch.ones(2, 2)
    optimizer.step()
    moved = [1.0 - parameter.mean().item() for parameter in (plain, scaled, constant)]
    assert moved == pytest.approx([0.1, 1.0, 0.5], rel=1e-2)
