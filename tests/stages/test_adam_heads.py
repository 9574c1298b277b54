"""Linear heads under Adam on features that are taken once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from bench.config.tasks import LinearTask
from bench.errors import Interrupted
from bench.stages import linear
from bench.stages.features import Features
from bench.stages.job import Job
from bench.stages.linear import HEADS, rate_factor, run
from bench.stages.linear_heads import AdamHeads
from bench.train.distributed import Ranks


def make_task(**changes: Any) -> LinearTask:
    values: dict[str, Any] = {
        **{"name": "adam", "summary": "", "source": "", "profile": "smoke", "kind": "linear", "dataset": "imagenet"},
        **{"epochs": 4, "batch_size": 6, "learning_rates": (1e-2,), "size": 32, "resize": 32, "precision": "float32"},
        **{"workers": 0, "optimizer": "adam", "features": "centre", "weight_decay": 5e-6, "schedule": "exponential"},
        "final_ratio": 1e-4,
    }
    return LinearTask(**(values | changes))


def make_job(folder: Path, trunk: Path, data: Path, task: LinearTask) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    return Job(config=task, folder=folder, seed=0, inputs={"convert": trunk}, data_roots={"imagenet": data})


@pytest.mark.parametrize("decay", [0.0, 5e-6, 0.1])
def test_a_head_equals_torchs_linear_layer_under_torchs_adam(decay: float) -> None:
    heads, rng = AdamHeads(2, 7, 16, seed=3), torch.Generator().manual_seed(0)
    rates = [1e-2, 3e-3]
    layers = [nn.Linear(16, 7) for _ in rates]
    for layer in layers:
        layer.load_state_dict({"weight": heads.weight[0], "bias": heads.bias[0]})
    adams = [torch.optim.Adam(x.parameters(), lr=r, weight_decay=decay) for x, r in zip(layers, rates, strict=True)]
    fall = [torch.optim.lr_scheduler.ExponentialLR(adam, gamma=0.5) for adam in adams]
    for step in range(12):
        features = torch.randn(8, 16, generator=rng)
        labels = torch.randint(7, (8,), generator=rng)
        now = torch.tensor(rates) * 0.5**step
        losses = heads.step(features, labels, now, momentum=0.9, decay=decay)
        assert losses is not None
        for i, (layer, adam) in enumerate(zip(layers, adams, strict=True)):
            loss = F.cross_entropy(layer(features), labels)
            torch.testing.assert_close(losses[i], loss.detach(), rtol=1e-5, atol=1e-5)
            adam.zero_grad()
            loss.backward()
            adam.step()
            fall[i].step()
    for i, layer in enumerate(layers):
        torch.testing.assert_close(heads.weight[i], layer.weight.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(heads.bias[i], layer.bias.detach(), rtol=1e-4, atol=1e-5)


def test_heads_start_as_torchs_linear_layer_does() -> None:
    heads = AdamHeads(2, 100, 64, seed=3)
    for start in (heads.weight, heads.bias):
        assert start.abs().max() <= 1 / 8
        assert start.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.1)
        assert torch.equal(start[0], start[1])
    assert torch.equal(heads.weight, AdamHeads(2, 100, 64, seed=3).weight)
    assert not torch.equal(heads.weight, AdamHeads(2, 100, 64, seed=4).weight)


def test_the_rate_falls_by_one_factor_an_epoch_as_torchs_does() -> None:
    task, parameter = make_task(epochs=10), nn.Parameter(torch.zeros(()))
    sgd = torch.optim.SGD([parameter], lr=1e-2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(sgd, gamma=(1e-6 / 1e-2) ** (1 / 10))
    for epoch in range(10):
        for step in range(7):
            assert 1e-2 * rate_factor(task, 7 * epoch + step, 70) == pytest.approx(sgd.param_groups[0]["lr"])
        sgd.step()
        scheduler.step()


def separable(n: int, dim: int, classes: int) -> Features:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % classes
    centres = 4 * torch.randn(classes, dim, generator=rng)
    return Features(centres[labels] + torch.randn(n, dim, generator=rng), labels, 0)


def test_classes_that_a_plane_separates_are_all_recognised(
    tmp_path: Path, trunk_folder: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre, heads = separable(1000, 16, 5), AdamHeads(1, 5, 16, seed=0)
    monkeypatch.setattr(linear, "centre_features", lambda *_: centre)
    task = make_task(epochs=60, batch_size=100)
    trunk = linear.FrozenTrunk(trunk_folder, "float32", torch.device("cpu"))
    before = (heads.logits(centre.features)[:, 0].argmax(1) == centre.labels).float().mean()
    linear.train(make_job(tmp_path / "a", trunk_folder, imagenet, task), task, trunk, heads, empty(imagenet), Ranks())
    assert before < 0.9
    assert torch.equal(heads.logits(centre.features)[:, 0].argmax(1), centre.labels)


def empty(imagenet: Path) -> Any:
    from bench.data.sets import index

    return index("imagenet", imagenet, "train")


def test_each_epoch_is_one_permutation_and_can_be_entered_anywhere() -> None:
    centre = Features(torch.arange(10.0)[:, None], torch.arange(10), 0)
    steps = linear._shuffled(centre, 3, seed=1, start=0)
    first = [next(steps)[1].tolist() for _ in range(6)]
    for epoch in (first[:3], first[3:]):
        seen = [label for batch in epoch for label in batch]
        assert len(set(seen)) == len(seen) == 9  # the tenth fills no batch
    assert first[:3] != first[3:]
    assert all(torch.equal(x[:, 0], y.float()) for x, y, _ in (next(steps) for _ in range(3)))
    entered = linear._shuffled(centre, 3, seed=1, start=4)
    assert [next(entered)[1].tolist() for _ in range(2)] == first[4:]


@pytest.mark.slow
def test_a_resumed_stage_equals_an_undisturbed_one(
    tmp_path: Path, trunk_folder: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(epochs=3)
    whole = run(make_job(tmp_path / "whole", trunk_folder, imagenet, task))
    honest, taken = AdamHeads.step, []

    def interrupted(self: AdamHeads, *arguments: Any, **more: Any) -> Any:
        taken.append(1)
        if len(taken) == 5:
            raise Interrupted("stop")
        return honest(self, *arguments, **more)

    monkeypatch.setattr(AdamHeads, "step", interrupted)
    with pytest.raises(Interrupted):
        run(make_job(tmp_path / "parts", trunk_folder, imagenet, task))
    assert run(make_job(tmp_path / "parts", trunk_folder, imagenet, task)) == whole
    assert len(taken) == 5 + 9 - 3  # from the end of the first epoch on
    one, other = (load_file(tmp_path / name / HEADS) for name in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert int(one["steps"]) == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": "augmented"}, "set features='centre' with it"),
        ({"schedule": "step"}, "schedule 'exponential' and final_ratio > 0 go together"),
        ({"final_ratio": 0.0}, "schedule 'exponential' and final_ratio > 0 go together"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**changes)


def test_more_images_than_a_batch_are_not_needed(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    assert run(make_job(tmp_path / "a", trunk_folder, imagenet, make_task(batch_size=1000)))["training_images"] == 18
