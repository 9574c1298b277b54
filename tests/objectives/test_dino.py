from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cases import apart, assert_same_gradients
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from narrow import NarrowEncoder
from torch import nn

from bench.config.load import load_recipe
from bench.data.views import BYOL_VIEWS, LOCAL_CROPS, View
from bench.objectives import build
from bench.objectives.dino import sharpened
from bench.train.schedule import peak_rate


def small(**settings):
    heads = {"outputs_dim": 9, "hidden_dim": 12, "bottleneck_dim": 6, "crops": 2, "crop_size": 32}
    return build({"name": "dino", **heads, **settings}, NarrowEncoder()).double()


def outputs(objective, views, prefix=""):
    """Of the student, or with "target_" of the teacher; one forward for each resolution."""
    encoder, projector, last = (getattr(objective, prefix + name) for name in ("encoder", "projector", "last_layer"))
    values = []
    for same in (views[:2], views[2:]):
        if same:
            x = F.normalize(projector(encoder(torch.cat(same))), dim=1)
            values += (x @ F.normalize(last.weight, dim=1).T).chunk(len(same))
    return values


def naive(teacher, student, center, teacher_temperature, student_temperature):
    total, count, n = 0.0, 0, len(teacher[0])
    for i, t in enumerate(teacher):
        for v, s in enumerate(student):
            if i == v:
                continue
            count += 1
            for row in range(n):
                p = torch.exp((t[row] - center) / teacher_temperature)
                q = torch.exp(s[row] / student_temperature)
                total = total - ((p / p.sum()) * torch.log(q / q.sum())).sum() / n
    return total / count


@pytest.mark.parametrize("which", ["loops", "lightly"])
@pytest.mark.parametrize("crops", [0, 2])
def test_value_and_gradient_equal_the_loops_and_lightlys(which, crops, batch):
    objective, data = small(crops=crops), batch(64, 64, *[32] * crops)
    apart(objective)
    with torch.no_grad():
        objective.center.copy_(0.1 * torch.randn(9, generator=torch.Generator().manual_seed(0)))
    reference = copy.deepcopy(objective)
    student = outputs(reference, data.views)
    teacher = [t.detach() for t in outputs(reference, data.views[:2], "target_")]
    if which == "lightly":
        loss = DINOLoss(9, student_temp=0.1).double()
        loss.center.copy_(reference.center)
        expected = loss(teacher, student, teacher_temp=0.04)
    else:
        expected = naive(teacher, student, reference.center.clone(), 0.04, 0.1)
    ours = objective(data)["loss"]
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)
    ours.backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=1e-5, atol=1e-8, frozen="target_")
    if which == "lightly":
        torch.testing.assert_close(objective.center, loss.center.flatten())


def test_a_norm_in_the_head_sees_all_resolutions_together_and_the_teachers_the_full_views(batch):
    """utils.py:610-629: features of all crops, then the head once."""
    objective, data = small(norm_in_head=True), batch(64, 64, 32, 32)
    kinds = [nn.Linear, nn.BatchNorm1d, nn.GELU]
    assert [type(layer) for layer in objective.projector] == [*kinds, *kinds, nn.Linear]
    apart(objective)
    reference = copy.deepcopy(objective)

    def scores(prefix, views):
        encoder, head, last = (getattr(reference, prefix + each) for each in ("encoder", "projector", "last_layer"))
        features = [encoder(torch.cat(same)) for same in (views[:2], views[2:]) if same]
        x = F.normalize(head(torch.cat(features)), dim=1) @ F.normalize(last.weight, dim=1).T
        return list(x.chunk(len(views)))

    teacher = [t.detach() for t in scores("target_", data.views[:2])]
    expected = naive(teacher, scores("", data.views), reference.center.clone(), 0.04, 0.1)
    ours = objective(data)["loss"]
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)
    ours.backward()
    expected.backward()
    assert_same_gradients(objective, reference, rtol=1e-5, atol=1e-8, frozen="target_")
    assert objective.projector[1].num_batches_tracked == 1


def test_the_center_moves_after_the_loss_by_a_tenth_towards_the_teachers_mean(batch):
    objective, data = small(), batch(64, 64, 32, 32)
    apart(objective)
    teacher = torch.cat(outputs(copy.deepcopy(objective), data.views[:2], "target_")).detach()
    objective.center.fill_(0.5)
    objective(data)
    torch.testing.assert_close(objective.center, 0.9 * 0.5 + 0.1 * teacher.mean(0))


def test_a_uniform_student_has_the_loss_ln_c(batch):
    objective, data = small(), batch(64, 64, 32, 32)
    with torch.no_grad():
        objective.last_layer.weight[:] = objective.last_layer.weight[0]
    assert objective(data)["loss"].item() == pytest.approx(math.log(9))


def test_centring_takes_out_an_output_that_all_images_share_and_sharpening_picks_one():
    t = torch.tensor([[9.0, 0.1, 0.0], [9.0, 0.0, 0.2]])
    tau = torch.tensor(0.04)
    assert sharpened(t, torch.zeros(3), tau).argmax(1).tolist() == [0, 0]
    assert sharpened(t, t.mean(0), tau).argmax(1).tolist() == [1, 2]
    torch.testing.assert_close(sharpened(t, torch.zeros(3), torch.tensor(1e6)), torch.full((2, 3), 1 / 3))
    assert sharpened(1e4 * t, torch.zeros(3), tau).isfinite().all()


def test_the_last_layer_has_unit_rows_without_bias_whatever_its_weights_length(batch):
    objective, data = small(), batch(64, 64, 32, 32)
    assert objective.last_layer.bias is None
    before = objective(data)["loss"]
    objective.center.zero_()
    with torch.no_grad():
        objective.last_layer.weight *= 7
    torch.testing.assert_close(objective(data)["loss"], before)


def test_the_head_is_lightlys_up_to_where_it_starts():
    objective = small()
    head = DINOProjectionHead(24, 12, 6, 9).double()
    linear = [layer for layer in objective.projector if isinstance(layer, nn.Linear)]
    theirs = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
    for layer, other in zip(linear, theirs, strict=True):
        other.load_state_dict(layer.state_dict())
        assert not layer.bias.any()
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.25)
    head.last_layer.weight_v.data = objective.last_layer.weight.data
    x = torch.randn(5, 24, dtype=torch.float64)
    z = F.normalize(objective.projector(x), dim=1) @ F.normalize(objective.last_layer.weight, dim=1).T
    torch.testing.assert_close(head(x), z)


def test_the_last_layer_is_frozen_for_a_share_of_the_run(batch):
    objective, data = small(freeze_share=0.1), batch(64, 64, 32, 32)
    for progress, held in ((0.0, True), (0.099, True), (0.1, False)):
        objective(data)["loss"].backward()
        objective.before_step(progress)
        assert (objective.last_layer.weight.grad is None) == held
        assert objective.projector[0].weight.grad is not None


def test_the_teachers_temperature_rises_from_004_to_007_and_stays():
    objective = small(temperature_warmup=0.5)
    values = [objective.teacher_temperature.item()]
    for progress in (0.0, 0.25, 0.5, 0.9):
        objective.after_step(progress)
        values.append(objective.teacher_temperature.item())
    assert values == pytest.approx([0.04, 0.04, 0.055, 0.07, 0.07])


def test_views_and_defaults():
    objective = build({"name": "dino"}, NarrowEncoder())
    pair = [replace(view, scale=(0.14, 1.0)) for view in BYOL_VIEWS(224)]
    assert objective.views(224) == (*pair, *LOCAL_CROPS(View(blur=0.5), 8, 96, (0.05, 0.14)))
    assert (objective.tau0, objective.student_temperature, objective.center_momentum) == (0.996, 0.1, 0.9)
    assert objective.last_layer.weight.shape == (65536, 256)
    assert [type(layer) for layer in objective.projector] == [nn.Linear, nn.GELU] * 2 + [nn.Linear]


def test_the_recipe_of_the_released_network():
    recipe = load_recipe("imagenet_dino")
    assert recipe.objective["freeze_share"] * recipe.epochs == pytest.approx(1)
    assert recipe.objective["temperature_warmup"] * recipe.epochs == pytest.approx(50)
    assert (recipe.objective["first_temperature"], recipe.objective["last_temperature"]) == (0.04, 0.07)
    assert (recipe.objective["outputs_dim"], recipe.objective["crops"], recipe.objective["norm_in_head"]) == (
        60_000,
        6,
        True,
    )
    assert (recipe.epochs, recipe.batch_size, recipe.schedule.warmup_epochs) == (800, 51 * 80, 10)
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.lr_batch, optimizer.weight_decay) == ("lars", 0.3, 256, 1e-6)
    assert (optimizer.clip_each, optimizer.clip_norm) == (None, None)
    assert peak_rate(optimizer, 4080) * recipe.schedule.final_ratio == pytest.approx(0.0048)


def test_the_recipe_of_the_readmes_command():
    """README, "ResNet-50 and other convnets trainings", with the defaults of main_dino.py:41-128."""
    recipe = load_recipe("imagenet_dino_100")
    assert (recipe.epochs, recipe.batch_size, recipe.schedule.warmup_epochs) == (100, 8 * 64, 10)
    assert (recipe.objective["first_temperature"], recipe.objective["last_temperature"]) == (0.04, 0.04)
    assert (recipe.objective["outputs_dim"], recipe.objective["crops"], recipe.objective["norm_in_head"]) == (
        65536,
        8,
        False,
    )
    assert recipe.objective["freeze_share"] * recipe.epochs == pytest.approx(1)
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay, optimizer.decay) == ("sgd", 0.03, 1e-4, "weights")
    assert (optimizer.clip_each, optimizer.clip_norm) == (3.0, None)
    assert recipe.export == load_recipe("imagenet_dino").export == "target"
    assert peak_rate(optimizer, 512) * recipe.schedule.final_ratio == pytest.approx(1e-6)


def test_a_constant_temperature_stays(batch):
    objective = small(last_temperature=0.04, temperature_warmup=0.0)
    for progress in (0.0, 0.5):
        objective.after_step(progress)
        assert objective.teacher_temperature.item() == pytest.approx(0.04)
