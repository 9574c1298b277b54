from __future__ import annotations

from itertools import permutations

import pytest
import torch
from cases import assert_same_gradients, load

from bench.errors import BadInput
from bench.nn.clip import Clip

CASE = load()["taco"]


def test_loss_is_a_sum_over_kinds_of_infonce_and_the_cross_entropy_of_telling_them(monkeypatch):
    objective, reference, data = CASE.make(), CASE.make(), CASE.data()
    order = torch.tensor([1, 0, 2])
    objective.orders, reference.orders = order[None], order[None]
    terms = objective(data)
    v1, v2 = data.views
    features = lambda clips: reference.encoder(clips.flatten(0, 1)).view(len(clips), -1)  # noqa: E731
    made = {"identity": v2[:, :3], "speed": v2[:, [0, 2, 4]], "reverse": v2[:, [2, 1, 0]], "shuffle": v2[:, order]}
    x1, contrast, task = features(v1[:, :3]), 0.0, []
    for number, (kind, clips) in enumerate(made.items()):
        x2 = features(clips)
        a, b = (z / z.norm(dim=1, keepdim=True) for z in map(reference.clip_heads[kind], (x1, x2)))
        for q, k in ((a, b), (b, a)):
            for i in range(len(q)):
                scores = torch.stack([(q[i] * k[j]).sum() / 0.2 for j in range(len(k))])
                contrast = contrast - (scores[i] - scores.exp().sum().log()) / len(q) / 2
        logits = reference.task_head(x2)
        task += [-(row[number] - row.exp().sum().log()) for row in logits]
    task = torch.stack(task).mean()
    torch.testing.assert_close(terms["loss_contrast"], contrast.detach())
    torch.testing.assert_close(terms["loss_task"], task.detach())
    terms["loss"].backward()
    (contrast + task).backward()
    assert_same_gradients(objective, reference, rtol=1e-7, atol=1e-10)


def test_each_transform_has_a_head_of_its_own():
    objective = CASE.make(transforms=("speed",))
    assert list(objective.clip_heads) == ["identity", "speed"]
    assert not torch.equal(objective.clip_heads["identity"][0].weight, objective.clip_heads["speed"][0].weight)
    assert objective.task_head[-1].out_features == 2


def test_shuffling_never_gives_the_clip_nor_its_reverse():
    orders = {tuple(order) for order in CASE.make(frames=4).orders.tolist()}
    assert orders == set(permutations(range(4))) - {(0, 1, 2, 3), (3, 2, 1, 0)}
    objective, window = CASE.make(), torch.arange(6.0).view(1, 6, 1, 1, 1).expand(50, 6, 3, 2, 2)
    shuffled = objective._transformed(window, "shuffle")[:, :, 0, 0, 0]
    assert {tuple(row) for row in shuffled.tolist()} == {(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1)}


def test_speed_is_every_second_frame_of_twice_as_long():
    objective, window = CASE.make(), torch.arange(6.0).view(1, 6, 1, 1, 1).expand(1, 6, 3, 2, 2)
    got = {kind: objective._transformed(window, kind)[0, :, 0, 0, 0].tolist() for kind in ("speed", "reverse")}
    assert got == {"speed": [0, 2, 4], "reverse": [2, 1, 0]}
    assert objective.video() == Clip(6, 2)


def test_the_weight_of_the_task_is_a_setting():
    torch.manual_seed(0)
    terms = CASE.make(task_weight=0.25)(CASE.data())
    torch.testing.assert_close(terms["loss"].detach(), terms["loss_contrast"] + 0.25 * terms["loss_task"])


def test_guards():
    with pytest.raises(BadInput, match=r"Unknown objective.transforms 'spead'; did you mean speed"):
        CASE.make(transforms=("spead",))
    with pytest.raises(BadInput, match=r"none twice; set it to"):
        CASE.make(transforms=("speed", "speed"))
