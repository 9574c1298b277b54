from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import stand_in
import torch
from forked import Forks
from stand_in import StandIn, Waits, lines, recipe, source, train
from torch import Tensor, nn

from bench.config.processes import micro_batch
from bench.config.recipe import Recipe
from bench.errors import BadInput, StageFailed
from bench.train.checkpoint import LAST, read
from bench.train.clipping import clip_each
from bench.train.distributed import Ranks, ranks_of
from bench.train.feed import Parts
from bench.train.loop import fit
from bench.train.step import Step

PLAIN = {"norm": False, "dropout": 0.0}  # a model whose gradient is the mean of its parts' gradients


def weights(folder: Path) -> dict[str, Tensor]:
    return read(folder / LAST)["objective"]


def close(a: Path, b: Path) -> None:
    """Assert equal weights and log lines, but for the order of additions in float64."""
    theirs = weights(b)
    for name, tensor in weights(a).items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-11, atol=1e-13)
    for ours, other in zip(lines(a), lines(b), strict=True):
        assert ours == pytest.approx(other, rel=1e-11)


# ------------------------------------------------------------------------------------------ one process


def test_what_a_run_leaves(tmp_path: Path) -> None:
    metrics = train(tmp_path, recipe(checkpoint={"keep_every_epochs": 2}))
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "epoch_0001.ckpt",
        "epoch_0002.ckpt",
        LAST,
        "metrics.jsonl",
        "previous.ckpt",
        "tensorboard",
    ]
    assert read(tmp_path / "epoch_0001.ckpt")["step"] == 6
    assert "optimizer" not in read(tmp_path / "epoch_0001.ckpt")
    train(tmp_path / "asked", recipe(checkpoint={"keep_epochs": [0]}))
    assert sorted(file.name for file in (tmp_path / "asked").glob("epoch*")) == ["epoch_0000.ckpt", "epoch_0002.ckpt"]
    last = read(tmp_path / LAST)
    assert last["run"] == {
        "recipe": "tiny",
        "arch": "resnet18",
        "objective": "stand_in",
        "seed": 7,
        "epochs": 3,
        "steps_per_epoch": 3,
        "batch_size": 4,
        "accumulate": 1,
    }
    got = lines(tmp_path)
    assert [(line["step"], line["epoch"]) for line in got] == [(2, 0), (4, 1), (6, 1), (8, 2), (9, 2)]
    assert set(got[0]) == {"step", "epoch", "loss", "near", "spread", "lr"}
    assert metrics == {"steps": 9, "epochs": 3, "images_skipped": last["skipped"]} | {
        name: got[-1][name] for name in ("loss", "near", "spread")
    }
    assert 0 < metrics["images_skipped"] <= 9


def test_training_lowers_the_loss_and_follows_the_schedule(tmp_path: Path) -> None:
    sgd = {"name": "sgd", "lr": 0.3, "lr_batch": None}
    train(tmp_path, recipe(epochs=20, optimizer=sgd, log_every=1, schedule={"warmup_epochs": 1}))
    got = lines(tmp_path)
    assert got[0]["lr"] == 0
    assert got[3]["lr"] == 0.3
    assert got[-1]["lr"] == pytest.approx(0.15 * (1 + math.cos(math.pi * 56 / 57)))
    assert got[-1]["loss"] < got[0]["loss"] / 2


def test_each_step_moves_at_its_own_rate(tmp_path: Path) -> None:
    model, seen = StandIn(dropout=0.0, ema=False), []

    def hook(step: int) -> None:
        seen.append(model.projector.bias.detach().clone())

    start = model.projector.bias.detach().clone()
    model.hook = hook
    sgd = {"name": "sgd", "lr": 0.3, "lr_batch": None, "momentum": 0.0}
    config = recipe(optimizer=sgd, schedule={"warmup_epochs": 1})
    fit(model, source(config), config, seed=0, steps_per_epoch=3, folder=tmp_path)  # type: ignore[arg-type]
    assert torch.equal(seen[0], start)  # the first step of a warm-up has rate 0
    moved = [(b - a).norm().item() for a, b in itertools.pairwise(seen)]
    assert 0 < moved[0] < moved[1] < moved[2]
    assert moved[-1] < moved[2] / 5


def test_logged_values_are_means_over_the_interval(tmp_path: Path) -> None:
    train(tmp_path / "a", recipe(log_every=1))
    train(tmp_path / "b", recipe(log_every=3))
    each, three = lines(tmp_path / "a"), lines(tmp_path / "b")
    for i, line in enumerate(three):
        assert line["loss"] == pytest.approx(sum(e["loss"] for e in each[3 * i : 3 * i + 3]) / 3, rel=1e-12)


def test_after_step_is_told_the_share_of_the_run_that_lay_before_the_step(tmp_path: Path) -> None:
    model, config = StandIn(), recipe()
    fit(model, source(config), config, seed=0, steps_per_epoch=3, folder=tmp_path)  # type: ignore[arg-type]
    assert model.progress == [step / 9 for step in range(9)]
    assert model.training
    assert all(module.training for module in model.modules())


def test_only_the_last_checkpoint_is_kept_unless_asked(tmp_path: Path) -> None:
    train(tmp_path, recipe(checkpoint={}))
    assert [f.name for f in sorted(tmp_path.glob("*.ckpt"))] == ["epoch_0002.ckpt", LAST, "previous.ckpt"]


@pytest.mark.parametrize("accumulate", [2, 4])
@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_accumulated_parts_equal_the_whole_batch(tmp_path: Path, optimizer: str, accumulate: int) -> None:
    given = {"optimizer": {"name": optimizer, "lr": 0.1, "weight_decay": 1e-2}}
    train(tmp_path / "whole", recipe(**given), dtype=torch.float64, **PLAIN)
    train(tmp_path / "parts", recipe(accumulate=accumulate, **given), dtype=torch.float64, **PLAIN)
    close(tmp_path / "whole", tmp_path / "parts")


def test_parts_are_consecutive_and_whole() -> None:
    assert list(Parts([[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]], 3)) == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
        [8, 9],
        [10, 11],
    ]


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    assert micro_batch(512, 8, 2) == 32
    with pytest.raises(BadInput, match=r"batch_size 10 does not divide .* 4 processes × accumulate 2; .* such as 8\."):
        micro_batch(10, 4, 2)
    config = recipe().model_copy(update={"accumulate": 3})
    with pytest.raises(BadInput, match="does not divide"):
        train(tmp_path, config)


def test_bf16_runs_the_forward_pass_under_autocast(tmp_path: Path) -> None:
    seen: dict[str, torch.dtype] = {}

    class Spy(StandIn):
        def forward(self, batch: stand_in.Batch) -> dict[str, Tensor]:
            seen[config.precision] = self.projector(batch.images.mean((2, 3)).repeat(1, 3)[:, :8]).dtype
            return super().forward(batch)

    for precision in ("bf16", "float32"):
        config = recipe(precision=precision)
        folder = tmp_path / precision
        folder.mkdir()
        fit(Spy(), source(config), config, seed=0, steps_per_epoch=3, folder=folder)  # type: ignore[arg-type]
        assert weights(folder)["projector.weight"].dtype == torch.float32
    assert seen == {"bf16": torch.bfloat16, "float32": torch.float32}


def test_channels_last_reaches_weights_and_images(tmp_path: Path) -> None:
    layouts: list[Any] = []

    class Spy(stand_in.Batch):
        def to(self, device: torch.device, memory_format: Any = None, non_blocking: bool = False) -> stand_in.Batch:
            layouts.append(memory_format)
            return super().to(device, memory_format, non_blocking)

    for on in (True, False):
        config = recipe(channels_last=on)
        model = StandIn()
        (tmp_path / str(on)).mkdir()

        def spies(step: int, config: Recipe = config) -> Any:
            return (Spy(b.images, b.indices, b.skipped) for b in source(config)(step))

        fit(model, spies, config, seed=0, steps_per_epoch=3, folder=tmp_path / str(on))  # type: ignore[arg-type]
        assert model.encoder[0].weight.is_contiguous(memory_format=torch.channels_last) is on
    assert layouts == [torch.channels_last] * 9 + [None] * 9


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_the_host_never_waits_for_the_device_between_log_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    waits, seen = Waits(), []
    for name in ("tolist", "cpu", "numpy"):
        method: Callable[..., Any] = getattr(Tensor, name)

        def counted(self: Tensor, method: Callable[..., Any] = method) -> Any:
            waits.count += 1
            return method(self)

        monkeypatch.setattr(Tensor, name, counted)

    class Spy(StandIn):
        def after_step(self, progress: float) -> None:
            super().after_step(progress)
            seen.append(waits.count)

    given = {"name": optimizer, "lr": 0.1, "weight_decay": 0.1}
    config = recipe(log_every=4, checkpoint={"every_steps": 9}, optimizer=given)
    with waits:
        fit(Spy(), source(config), config, seed=0, steps_per_epoch=3, folder=tmp_path)  # type: ignore[arg-type]
    assert seen[:4] == [seen[0]] * 4
    assert seen[4:8] == [seen[4]] * 4
    assert seen[4] > seen[3]  # at the log step it does wait, and that is counted


# -------------------------------------------------------------------------------------------------- nan


def dead_after(step: int, folder: Path) -> None:
    def hook(now: int) -> None:
        if now == step:
            model.projector.weight.data[0, 0] = math.nan

    model, config = StandIn(), recipe(log_every=100, checkpoint={"every_steps": 2})
    model.hook = hook
    fit(model, source(config), config, seed=7, steps_per_epoch=3, folder=folder)  # type: ignore[arg-type]


def test_weights_that_are_not_finite_never_replace_a_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"After step 4 projector\.weight held nan .*last\.ckpt of step 2 stays"):
        dead_after(4, tmp_path)
    assert read(tmp_path / LAST)["step"] == 2
    assert torch.isfinite(weights(tmp_path)["projector.weight"]).all()
    train(tmp_path, recipe(log_every=100, checkpoint={"every_steps": 2}))


def test_a_loss_that_is_not_finite_is_noticed_before_the_next_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"loss became nan by step 6; last\.ckpt of step 4 stays"):
        dead_after(5, tmp_path)
    assert read(tmp_path / LAST)["step"] == 4


def test_a_loss_that_is_not_finite_is_noticed_at_the_next_log_step(tmp_path: Path) -> None:
    class Dead(StandIn):
        def forward(self, batch: stand_in.Batch) -> dict[str, Tensor]:
            terms = super().forward(batch)
            return terms | {"near": terms["near"] / 0} if len(self.progress) == 3 else terms

    config = recipe(log_every=5, checkpoint={"every_steps": 100})
    with pytest.raises(StageFailed, match="near became inf by step 5; there is no checkpoint yet"):
        fit(Dead(), source(config), config, seed=0, steps_per_epoch=3, folder=tmp_path)  # type: ignore[arg-type]
    assert lines(tmp_path) == []


# ---------------------------------------------------------------------------------------- two processes


Start = Callable[..., "list[CompletedProcess[str]]"]


@pytest.fixture
def start(forks: Forks) -> Start:
    """Return start(folder, *words): runs the stand-in's program as two gloo ranks; they share `folder`."""

    def run(folder: Path, *words: str, signal_rank: int | None = None) -> list[CompletedProcess[str]]:
        signals = [["--signal-at", "4"] if rank == signal_rank else [] for rank in range(2)]
        return forks.run_ranks(*([stand_in.__file__, folder, *signal, *words] for signal in signals))

    return run


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_ranks_equal_one(start: Start, tmp_path: Path, accumulate: int) -> None:
    config = recipe(accumulate=accumulate, precision="float32")
    train(tmp_path / "one", config, dtype=torch.float64, **PLAIN)
    words = ["--double", "--model", "norm=False", "dropout=0.0", "--set", f"accumulate={accumulate}"]
    for done in start(tmp_path / "two", *words):
        assert done.returncode == 0, done.stderr
    close(tmp_path / "one", tmp_path / "two")
    assert read(tmp_path / "one" / LAST)["skipped"] == read(tmp_path / "two" / LAST)["skipped"] > 0


@pytest.mark.slow
def test_two_ranks_with_batch_norm_equal_one(start: Start, tmp_path: Path) -> None:
    train(tmp_path / "one", recipe(), dtype=torch.float64, dropout=0.0)
    for done in start(tmp_path / "two", "--double", "--model", "dropout=0.0"):
        assert done.returncode == 0, done.stderr
    close(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_both_after_the_same_step(start: Start, tmp_path: Path) -> None:
    train(tmp_path / "one", recipe(), dtype=torch.float64, **PLAIN)
    words = ["--double", "--model", "norm=False", "dropout=0.0"]
    for done in start(tmp_path / "two", *words, signal_rank=1):
        assert done.returncode == 1
        assert "Stopped after step 4 of 9" in done.stderr
    assert read(tmp_path / "two" / LAST)["step"] == 4
    for done in start(tmp_path / "two", *words):
        assert done.returncode == 0, done.stderr
    close(tmp_path / "one", tmp_path / "two")


def test_one_process_needs_no_group() -> None:
    with ranks_of({}, device="cpu") as ranks:
        assert ranks == Ranks()
        assert not torch.distributed.is_initialized()
        assert ranks.sums(3, 4) == (3, 4)
    with ranks_of({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, device="cpu") as ranks:
        assert ranks.world == 1


def stepped(**optimizer: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of a step of accumulated parts, by plain backward passes, and how its parameters moved."""
    job = recipe(optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.0, **optimizer})
    model, alone = StandIn(), StandIn()
    work, plain = Step(model, job, Ranks()), Step(alone, job, Ranks())  # type: ignore[arg-type]
    before = [p.detach().clone() for p in model.parameters() if p.requires_grad]
    for each in (work, plain):
        torch.manual_seed(0)  # of the dropout
        batches = iter(source(job)(0))
        for _ in range(job.accumulate):
            each.backward(next(batches))  # type: ignore[arg-type]
    gradients = [p.grad.clone() for p in alone.parameters() if p.grad is not None]
    work.update(1.0, 0.0)
    after = [p.detach() for p in model.parameters() if p.requires_grad]
    return gradients, [a - b for a, b in zip(after, before, strict=True)]


def test_each_gradient_is_cut_to_its_own_norm() -> None:
    """By the formula of DINO's utils.py:132-141, in float64: clip / (norm + 1e-6) where that is below 1."""
    gradients, _ = stepped()
    norms = sorted(g.double().square().sum().item() ** 0.5 for g in gradients)
    clip = (norms[len(norms) // 2 - 1] + norms[len(norms) // 2]) / 2  # some are longer and some shorter
    gradients, moved = stepped(clip_each=clip)
    cut = 0
    for g, step in zip(gradients, moved, strict=True):
        factor = clip / (g.double().square().sum().item() ** 0.5 + 1e-6)
        cut += factor < 1
        torch.testing.assert_close(step.double(), -min(1.0, factor) * g.double(), rtol=1e-4, atol=1e-7)
    assert 0 < cut < len(gradients)


def test_what_has_no_gradient_is_not_clipped() -> None:
    weight, unused = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    clip_each([unused], 1.0)
    weight.grad = torch.full((2, 2), 3.0)
    clip_each([unused, weight], 1.5)
    assert unused.grad is None
    torch.testing.assert_close(weight.grad, torch.full((2, 2), 0.75))  # of norm 1.5; before 6


def test_the_gradient_is_cut_to_its_norm() -> None:
    moved = []
    for clip in (None, 1e-3):
        job = recipe(optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.0, "clip_norm": clip})
        model = StandIn()
        work = Step(model, job, Ranks())  # type: ignore[arg-type]
        trained = [p for p in model.parameters() if p.requires_grad]
        before = [p.detach().clone() for p in trained]
        batches = iter(source(job)(0))
        for _ in range(job.accumulate):
            work.backward(next(batches))  # type: ignore[arg-type]
        work.update(1.0, 0.0)
        moved.append(sum((p - b).square().sum().item() for p, b in zip(trained, before, strict=True)) ** 0.5)
    assert moved[1] <= 1.001e-3 < moved[0]
