from __future__ import annotations

from itertools import permutations

import pytest
import torch
from cases import assert_same_gradients, load
from narrow import NarrowEncoder

from bench.data.views import Batch, View
from bench.errors import BadInput
from bench.nn.clip import Clip
from bench.objectives import build

CASE = load()["taco"]


def test_loss_is_a_sum_over_kinds_of_infonce_and_the_cross_entropy_of_telling_them():
    """In eval mode, where a norm treats each clip by itself: every clip and kind is embedded alone here."""
    objective, reference, data = CASE.make(), CASE.make(), CASE.data()
    order = torch.tensor([1, 0, 2])
    objective.orders, reference.orders = order[None], order[None]
    objective(data)  # moves the norms' statistics away from 0 and 1
    reference.load_state_dict(objective.state_dict())
    terms = objective.eval()(data)
    reference.eval()
    v1, v2 = data.views
    picks = {"identity": [0, 1, 2], "speed": [0, 2, 4], "reverse": [2, 1, 0], "shuffle": [1, 0, 2]}

    def features(clip, frames):
        return torch.cat([reference.encoder(clip[None, frame]) for frame in frames], dim=1)  # 1×T·F

    contrast, task, right = 0.0, [], 0
    for number, (kind, frames) in enumerate(picks.items()):
        x1, x2 = [features(clip, [0, 1, 2]) for clip in v1], [features(clip, frames) for clip in v2]
        head = reference.clip_heads[kind]
        a, b = ([head(x)[0] / head(x)[0].norm() for x in xs] for xs in (x1, x2))
        for q, k in ((a, b), (b, a)):
            for i in range(len(q)):
                scores = torch.stack([(q[i] * k[j]).sum() / 0.2 for j in range(len(k))])
                contrast = contrast - (scores[i] - scores.exp().sum().log()) / len(q) / 2
        for x in x2:
            row = reference.task_head(x)[0]
            task.append(-(row[number] - row.exp().sum().log()))
            right += int(row.argmax()) == number
    share, task = 100 * right / len(task), torch.stack(task).mean()
    torch.testing.assert_close(terms["loss_contrast"], contrast.detach())
    torch.testing.assert_close(terms["loss_task"], task.detach())
    assert terms["top1_percent"].item() == pytest.approx(share)
    terms["loss"].backward()
    (contrast + task).backward()
    assert_same_gradients(objective, reference, rtol=1e-7, atol=1e-10)


def growing(n):
    """Clips of noise that gets lighter from frame to frame, by less than frames differ."""
    generator = torch.Generator().manual_seed(n)
    while True:
        base = torch.randn(n, 1, 3, 16, 16, generator=generator)
        drift = 0.2 * torch.arange(6.0).view(1, 6, 1, 1, 1)
        views = [base + drift + 0.3 * torch.randn(n, 6, 3, 16, 16, generator=generator) for _ in range(2)]
        yield Batch(views=views, boxes=[], labels=None, indices=torch.arange(n))


@pytest.mark.slow
def test_kinds_are_told_by_what_a_clip_shows():
    """Of mixed batches in eval mode, where no norm helps.

    Where each kind has a forward of its own, norms take away by what kinds differ, and this accuracy stays near chance.
    """
    torch.manual_seed(0)
    settings = {"frames": 3, "transforms": ("speed", "reverse"), "hidden_dim": 32, "projection_dim": 8}
    objective = build({"name": "taco", **settings}, NarrowEncoder(0))
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    for _, batch in zip(range(80), growing(16), strict=False):
        optimizer.zero_grad()
        objective(batch)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        told = objective.eval()(next(growing(64)))["top1_percent"].item()
    assert told > 67  # 33 by chance


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


def test_views_are_those_of_moco_v2():
    """Crops of a fifth of the area or more, jitter (.4, .4, .4, .1) at .8, grey at .2, blur and mirror image at .5."""
    view = View(
        size=64,
        scale=(0.2, 1.0),
        interpolation="bilinear",
        flip=0.5,
        jitter=(0.4, 0.4, 0.4, 0.1),
        jitter_p=0.8,
        grey=0.2,
        blur=0.5,
    )
    assert CASE.make().views(64) == (view, view)


def test_the_weight_of_the_task_is_a_setting():
    torch.manual_seed(0)
    terms = CASE.make(task_weight=0.25)(CASE.data())
    torch.testing.assert_close(terms["loss"].detach(), terms["loss_contrast"] + 0.25 * terms["loss_task"])


def test_guards():
    with pytest.raises(BadInput, match=r"Unknown objective.transforms 'spead'; did you mean speed"):
        CASE.make(transforms=("spead",))
    with pytest.raises(BadInput, match=r"none twice; set it to"):
        CASE.make(transforms=("speed", "speed"))
