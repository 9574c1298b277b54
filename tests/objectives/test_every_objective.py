"""What holds for every objective, in the small settings of `families/`."""

from __future__ import annotations

import re

import pytest
import torch
from cases import Case, apart, load, rows, to
from torch import nn

from bench.errors import BadInput
from bench.nn.heads import Diagonal
from bench.objectives import OBJECTIVES

CASES = load()
CONSTANT_RATE = ("moco", "moco_v2", "clsa", "densecl", "cast")  # of the keys' networks
# How full views go through the networks, where small crops can be added to them.
ONE_BY_ONE = ("byol", "two_loss", "moco_v3", "barlow_twins", "pixpro", "detcon")
TOGETHER = ("simclr", "dcl", "dclw", "simple_contrastive", "hard_contrastive", "dino")


def those(where):
    """Parametrise a test over the cases for which `where` holds."""
    chosen = {name: case for name, case in CASES.items() if where(case)}
    return pytest.mark.parametrize("case", chosen.values(), ids=chosen)


each = those(lambda case: True)


def run(objective, data):
    """The terms; what is drawn at random is the same each time."""
    torch.manual_seed(0)
    return objective(data)


def test_every_objective_that_trains_has_a_case():
    assert {case.settings["name"] for case in CASES.values()} == set(OBJECTIVES) - {"random_init"}
    assert all(name.split()[0] == case.settings["name"] for name, case in CASES.items())


@each
def test_terms_are_scalars_and_gradient_reaches_exactly_what_is_trained(case: Case):
    objective, data = case.make(), case.data()
    apart(objective)
    with torch.no_grad():  # what starts at 0 stops the gradient of what stands before it, at the first step
        for parameter in objective.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter += torch.linspace(-0.1, 0.1, parameter.numel(), dtype=parameter.dtype).view_as(parameter)
    returned = run(objective, data)
    assert set(returned) == case.terms
    assert all(term.shape == () and term.isfinite() for term in returned.values())
    assert [name for name, term in returned.items() if term.requires_grad] == ["loss"]
    returned["loss"].backward()
    trained = {name for name, p in objective.named_parameters() if p.requires_grad}
    still = {name for name, _ in objective.named_parameters() if case.frozen and name.startswith(case.frozen)}
    assert trained == {name for name, _ in objective.named_parameters()} - still
    assert all((p.grad is not None) == (name in trained) for name, p in objective.named_parameters())
    # A parameter whose gradient is always 0 would be no part of the loss; a bias before a norm is one by design.
    dead = {name for name, p in objective.named_parameters() if p.grad is not None and not p.grad.any()}
    assert not {name for name in dead if not name.endswith("bias")}
    assert not any(buffer.requires_grad for buffer in objective.buffers())


@those(lambda case: case.frozen in (("target_",), ("key_",)))
def test_targets_and_keys_have_no_gradient_and_follow_by_their_parameters_alone(case: Case):
    """The rate is constant or goes along a half cosine to 1."""
    (prefix,) = case.frozen
    objective = apart(case.make(**{"momentum" if prefix == "key_" else "tau0": 0.9}))
    online = dict(objective.named_parameters())
    followers = {key: p for key, p in online.items() if key.startswith(prefix)}
    assert {key.partition(".")[0] for key in followers} >= {f"{prefix}encoder", f"{prefix}projector"}
    assert case.settings["name"] != "dino" or "target_last_layer.weight" in followers
    objective(case.data())["loss"].backward()
    assert not any(p.requires_grad or p.grad is not None for p in followers.values())
    buffers = {key: b.clone() for key, b in objective.named_buffers() if key != "teacher_temperature"}
    for progress, rate in ((0.0, 0.9), (0.5, 0.95), (1.0, 1.0)):
        rate = 0.9 if case.settings["name"] in CONSTANT_RATE else rate
        before = {key: p.clone() for key, p in followers.items()}
        objective.after_step(progress)
        for key, p in followers.items():
            expected = rate * before[key] + (1 - rate) * online[key.removeprefix(prefix)].detach()
            tolerance = {"rtol": 0, "atol": 0} if rate == 1 else {}
            torch.testing.assert_close(p.detach(), expected, msg=key, **tolerance)
    assert all(torch.equal(objective.get_buffer(key), buffer) for key, buffer in buffers.items())


@those(lambda case: case.settings["name"] in ("byol", "two_loss", "patch_byol"))
def test_the_target_normalises_by_its_own_batches(case: Case):
    objective = apart(case.make())
    assert objective.target_encoder.training
    objective(case.data())
    for network in ("encoder", "target_encoder"):
        assert getattr(objective, network).layer4[0].bn2.num_batches_tracked > 0
    assert objective.target_encoder.bn1.num_batches_tracked == 2  # once for each global view, by itself
    statistics = objective.target_encoder.layer4[0].bn2.running_mean
    assert not torch.allclose(statistics, objective.encoder.layer4[0].bn2.running_mean)


@those(lambda case: case.settings["name"] in ONE_BY_ONE + TOGETHER and len(case.sizes) == 4)
def test_small_crops_go_through_the_online_network_alone_and_all_in_one_forward(case: Case):
    """Full views go one by one or, where batch norm sees both in the paper, together."""
    objective, (_, full, small, _) = case.make(), case.sizes
    shapes = {part: [] for part in ("encoder", "target_encoder", "key_encoder") if hasattr(objective, part)}
    for part, seen in shapes.items():
        convolution = getattr(objective, part).conv1
        convolution.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(tuple(inputs[0].shape)))
    objective(case.data())
    n, together = case.n, case.settings["name"] in TOGETHER
    views = [(2 * n, 3, full, full)] if together else [(n, 3, full, full)] * 2
    assert shapes.pop("encoder") == [*views, (2 * n, 3, small, small)]
    assert all(seen == views for seen in shapes.values())


@those(lambda case: case.lowers)
def test_a_step_along_the_gradient_lowers_the_loss(case: Case):
    objective, data = case.make(), case.data()
    apart(objective)
    before = {name: buffer.clone() for name, buffer in objective.named_buffers()}
    loss = run(objective, data)["loss"]
    loss.backward()
    trained = [p for p in objective.parameters() if p.grad is not None]
    norm = torch.stack([p.grad.norm() for p in trained]).norm()
    assert norm > 1e-6
    with torch.no_grad():
        for name, buffer in objective.named_buffers():  # queues and banks as they were when the gradient was taken
            buffer.copy_(before[name])
        for parameter in trained:
            parameter -= 1e-4 / norm * parameter.grad
    assert run(objective, data)["loss"] < loss


@those(lambda case: case.order)
def test_the_order_of_images_does_not_matter(case: Case, monkeypatch):
    order = torch.tensor([2, 0, 3, 1, *range(4, case.n)])
    monkeypatch.setattr("torch.rand", _same_for_all(torch.rand))
    monkeypatch.setattr("torch.randn", _same_for_all(torch.randn))
    monkeypatch.setattr("torch.randint", _same_for_all(torch.randint))
    one, other = case.make(), case.make()
    for objective in (one, other):
        apart(objective)
    expected = run(one, case.data())["loss"]
    torch.testing.assert_close(run(other, rows(case.data(), order))["loss"], expected, rtol=1e-9, atol=1e-9)


def _same_for_all(draw):
    """A draw whose rows are all the same, so that an image's numbers do not depend on its place."""

    def drawn(*args, **kwargs):
        values = draw(*args, **kwargs)
        return values[:1].expand_as(values).clone() if values.dim() else values

    return drawn


@those(lambda case: case.symmetric)
def test_exchanging_views_changes_nothing(case: Case):
    one, other, data = case.make(), case.make(), case.data()
    for objective in (one, other):
        apart(objective)
    expected = run(one, data)["loss"]
    data.views[:2], data.boxes[:2] = data.views[:2][::-1], data.boxes[:2][::-1]
    torch.testing.assert_close(run(other, data)["loss"], expected, rtol=1e-9, atol=1e-9)


@each
def test_bf16_agrees_with_float32_and_extreme_input_gives_no_nan(case: Case):
    data = to(case.data(), torch.float32)
    losses = []
    for enabled in (False, True):
        objective = case.make().float().to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            terms = run(objective, data)
        assert {term.dtype for term in terms.values()} == {torch.float32}
        terms["loss"].backward()
        assert all(
            p.grad is None or (p.grad.dtype == p.dtype and p.grad.isfinite().all()) for p in objective.parameters()
        )
        losses.append(terms["loss"].item())
    assert losses[1] == pytest.approx(losses[0], rel=case.bf16, abs=case.bf16)

    objective = case.make().float()
    with torch.no_grad():  # heads whose outputs, and thereby logits, are far out of proportion
        for name, parameter in objective.named_parameters():
            if not name.startswith(("encoder.", "target_encoder.", "key_encoder.")) and parameter.ndim > 1:
                parameter *= 100.0
    with torch.autocast("cpu", torch.bfloat16):
        terms = run(objective, data)
    assert all(term.isfinite() for term in terms.values())
    terms["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())


@each
def test_the_state_dict_is_the_whole_state(case: Case):
    """What goes on from a checkpoint after a step equals what never stopped."""
    objective, data = case.make(), case.data()
    for progress in (0.0, 0.5):
        run(objective, data)["loss"].backward()
        with torch.no_grad():
            for parameter in objective.parameters():
                if parameter.grad is not None:
                    parameter -= 0.01 * parameter.grad
                    parameter.grad = None
        objective.before_step(progress)
        objective.after_step(progress)
    resumed = case.make(seed=5)
    resumed.load_state_dict(objective.state_dict())
    for one in (objective, resumed):
        one.last = run(one, data)["loss"].item()
    assert resumed.last == objective.last


@each
def test_two_images_are_enough_or_refused(case: Case):
    objective, refusal = case.make(), ""
    try:
        objective.check(2, case.data().views[0].shape[-1])
    except BadInput as error:
        refusal = str(error)
    if refusal:
        assert re.search(r"[;,] (set|use|take|lower|raise|choose|give)", refusal), "the remedy is missing"
        return
    terms = run(objective, case.data(2))
    assert all(term.isfinite() for term in terms.values())
    terms["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())


@each
def test_norms_and_biases_neither_decay_nor_adapt(case: Case):
    objective = case.make()
    groups = objective.param_groups()
    names = {id(p): name for name, p in objective.named_parameters()}
    trained = sorted(id(p) for p in objective.parameters() if p.requires_grad)
    assert sorted(id(p) for group in groups for p in group["params"]) == trained
    spared = {names[id(p)] for group in groups if not group["decay"] for p in group["params"]}
    assert {"encoder.layer2.0.downsample.1.weight", "encoder.layer2.0.downsample.1.bias"} <= spared
    adapts_all = case.settings["name"] == "swav"  # its LARC has one group (swav/main_swav.py:171-177)
    assert [group["adapt"] for group in groups] == [adapts_all or group["decay"] for group in groups]
    assert spared == {
        f"{prefix}.{name}"
        for prefix, module in objective.named_modules()
        for name, p in module.named_parameters(recurse=False)
        if p.requires_grad
        and (name == "bias" or isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | Diagonal))
    }


@each
def test_heads_depend_on_the_encoders_seed_alone(case: Case):
    states = []
    for history, seed in ((1, 0), (2, 0), (1, 7)):
        torch.manual_seed(history)
        before = torch.get_rng_state()
        states.append(case.make(seed=seed).state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    constants = ("orders", "bins")  # buffers with the permutations of a jigsaw, with colours
    heads = [n for n, x in first.items() if x.dim() > 1 and x.any() and not n.startswith(("encoder.", *constants))]
    assert not any(torch.equal(first[name], other[name]) for name in [*heads, *({"fc.bias"} & set(first))])


@each
def test_an_unknown_setting_is_refused(case: Case):
    with pytest.raises(BadInput, match=r"Unknown key 'objective\.no_such_setting'"):
        case.make(no_such_setting=1)
