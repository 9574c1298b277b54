"""Trainings that diverge: what is said, and what a run does by itself."""

from __future__ import annotations

import json
import math
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stand_in
import torch
from stand_in import StandIn, assert_same_run, lines, recipe, train
from torch import Tensor, nn

from bench.errors import BadInput, Interrupted, StageFailed
from bench.train import interventions
from bench.train import step as step_module
from bench.train.checkpoint import LAST, read
from bench.train.distributed import Ranks
from bench.train.divergence import Diverged
from bench.train.health import GROWTH, IMAGES, Health, norm
from bench.train.interventions import FILE, SCHEDULED
from bench.train.step import Step

LOWER = {"on_divergence": "lower_lr", "log_every": 1, "checkpoint": {"every_steps": 2}}


class Crash(Exception):
    pass


class Views:
    """A batch as `Health` sees it."""

    def __init__(self, *views: Tensor) -> None:
        self.views = views


class Watched(nn.Module):
    """An objective whose features are what `change` makes of its images' means."""

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3, 4), 0.5))
        self.seen: list[tuple[int, ...]] = []
        self.change = change

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.seen.append(tuple(images.shape))
        return {"backbone": self.change(images.mean((2, 3)))}


def images(n: int = 12) -> Tensor:
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def health(objective: Watched, **values: Any) -> Health:
    return Health(objective, recipe(batch_size=14, **values), Ranks(), total=100, every_steps=5)


def judged(objective: Watched, batch: Any, step: int = 100, **values: Any) -> None:
    watch = health(objective, **values)
    watch.see(batch)
    watch.judge(step, {"loss": 0.25, "near": 2.0}, "last.ckpt of step 80 stays")


# ------------------------------------------------------------------------------------------- what is said


def test_the_message_of_a_lost_loss_names_step_terms_checkpoint_and_what_to_try(tmp_path: Path) -> None:
    class Lost(StandIn):
        def forward(self, batch: stand_in.Batch) -> dict[str, Tensor]:
            terms = super().forward(batch)
            lost = terms["near"] + (math.inf if len(self.progress) == 4 else 0.0)
            return {"loss": lost, "near": lost, "spread": terms["spread"]}

    config = recipe(log_every=1, checkpoint={"every_steps": 2})
    with pytest.raises(Diverged) as error:
        train(tmp_path, config, kind=Lost)
    said = r"loss became inf by step 5; last\.ckpt of step 4 stays\. Means since the last log step: "
    assert re.match(said + r"loss inf, near inf, spread -?0\.\d+\. ", str(error.value))
    for remedy in ("optimizer.lr", "schedule.warmup_epochs", "optimizer.clip_norm", "on_divergence='lower_lr'"):
        assert remedy in str(error.value)
    assert read(tmp_path / LAST)["step"] == 4


def test_weights_that_exploded_end_a_run_whose_loss_is_finite(tmp_path: Path) -> None:
    class Exploding(StandIn):
        def after_step(self, progress: float) -> None:
            super().after_step(progress)
            if len(self.progress) == 5:
                with torch.no_grad():
                    self.projector.weight.mul_(1e7)  # a norm as a head's would hide it from the loss

        def forward(self, batch: stand_in.Batch) -> dict[str, Tensor]:
            return {name: term.tanh() for name, term in super().forward(batch).items()}

    config = recipe(log_every=1, checkpoint={"every_steps": 2})
    with pytest.raises(Diverged) as error:
        train(tmp_path, config, kind=Exploding)
    assert str(error.value).startswith("By step 6 the norm of all weights grew from ")
    assert "the largest being projector.weight (loss " in str(error.value)
    assert "last.ckpt of step 4 stays" in str(error.value)
    assert read(tmp_path / LAST)["step"] == 4


def test_the_norm_is_that_of_all_weights_together() -> None:
    tensors = [torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([12.0])]
    assert norm(tensors).item() == 13.0
    assert norm([]).item() == 0.0


@pytest.mark.parametrize(("factor", "diverged"), [(0.999 * GROWTH, False), (1.001 * GROWTH, True)])
def test_weights_have_exploded_from_a_factor_on(factor: float, diverged: bool) -> None:
    objective = Watched()
    watch = health(objective)
    with torch.no_grad():
        objective.weight.mul_(factor)
    if not diverged:
        watch.judge(5, {}, "")
        return
    with pytest.raises(Diverged, match="the norm of all weights grew") as error:
        watch.judge(5, {}, "")
    assert error.value.why == "exploded weights"


def test_nan_is_left_to_the_check_that_names_the_tensor() -> None:
    objective = Watched()
    watch = health(objective)
    with torch.no_grad():
        objective.weight[0, 0] = math.nan
    watch.judge(5, {}, "")


@pytest.mark.parametrize(
    "change",
    [torch.zeros_like, torch.ones_like, lambda x: torch.ones_like(x) + 1e-6 * x, lambda x: 1e8 * torch.ones_like(x)],
    ids=["dead", "constant", "all but constant", "large"],
)
def test_an_encoder_that_gives_the_same_for_all_images_has_collapsed(change: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(Diverged) as error:
        judged(Watched(change), Views(images()))
    assert error.value.why == "collapsed encoder"
    assert str(error.value).startswith(f"By step 100 the encoder gave the same for {IMAGES} different images")
    assert "(loss 0.25, near 2); last.ckpt of step 80 stays. " in str(error.value)


def test_an_encoder_that_tells_images_apart_passes_and_is_left_as_it_was() -> None:
    for change in (lambda x: x, lambda x: 1e-9 * x, lambda x: torch.ones_like(x) + 0.01 * x):
        objective = Watched(change)
        judged(objective, Views(images()))
        assert objective.seen == [(IMAGES, 3, 4, 4)]
        assert objective.training


def test_frames_of_clips_are_shown_as_images() -> None:
    objective = Watched()
    judged(objective, Views(torch.randn(3, 4, 3, 8, 8)))
    assert objective.seen == [(IMAGES, 3, 8, 8)]


def test_equal_images_say_nothing_of_an_encoder() -> None:
    judged(Watched(torch.zeros_like), Views(torch.ones(12, 3, 4, 4)))


def test_a_collapse_that_is_wanted_is_let_go_on() -> None:
    judged(Watched(torch.zeros_like), Views(images()), diagnostics={"guard": "off"})


def test_what_cannot_be_looked_at_does_not_end_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(x: Tensor) -> Tensor:
        raise ValueError("no such images")

    objective = Watched(fail)
    judged(objective, Views(images()))
    assert "its encoder is not watched (ValueError: no such images)" in capsys.readouterr().out
    assert objective.training


def test_looking_costs_a_hundredth_at_most() -> None:
    """A step on 14 images computes at least 6 × 14 forwards: 8 images may be shown every 9.5 steps, so every 10."""
    watch = health(Watched())
    assert [step for step in range(1, 101) if watch.due(step)] == list(range(10, 101, 10))
    late = Health(Watched(), recipe(batch_size=14), Ranks(), total=97, every_steps=5)
    assert late.due(97)


# ------------------------------------------------------------------------------- going back at a lower rate


class Fragile(StandIn):
    """Its projector becomes nan after step `at` (1-based) as long as the rate is above `limit`."""

    at, limit = 5, 0.0

    def after_step(self, progress: float) -> None:
        super().after_step(progress)
        if int(self.seen) == self.at and self.rate > self.limit:
            with torch.no_grad():
                self.projector.weight[0, 0] = math.nan

    def before_step(self, progress: float) -> None:
        super().before_step(progress)
        self.rate = self.optimizer.param_groups[0]["lr"]


def fragile(monkeypatch: pytest.MonkeyPatch, *, at: int, limit: float) -> type[Fragile]:
    """The class, with the optimizer in sight."""
    build = step_module.build_optimizer

    class Limited(Fragile):
        def param_groups(self) -> list[dict[str, Any]]:
            monkeypatch.setattr(step_module, "build_optimizer", self.build)
            return super().param_groups()

        def build(self, *arguments: Any) -> torch.optim.Optimizer:
            self.optimizer = build(*arguments)
            return self.optimizer

    Limited.at, Limited.limit = at, limit
    return Limited


def rates(folder: Path) -> list[float]:
    return [line["lr"] for line in lines(folder)]


@pytest.fixture(scope="module")
def plain_rates(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Those of the recipe's nine steps."""
    folder = tmp_path_factory.mktemp("plain")
    train(folder, recipe(log_every=1))
    return rates(folder)


SEVEN = {"on_divergence": "lower_lr", "log_every": 1, "checkpoint": {"every_steps": 4}}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, plain_rates: list[float]) -> Path:
    """A run that diverges in its seventh step, twice, and was never interrupted."""
    folder = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        train(folder, recipe(**SEVEN), kind=fragile(patch, at=7, limit=0.3 * plain_rates[6]))
    return folder


def test_a_run_goes_back_to_the_last_good_checkpoint_at_a_lower_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_rates: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    kind = fragile(monkeypatch, at=5, limit=0.9 * plain_rates[4])
    folder = tmp_path / "run"
    metrics = train(folder, recipe(**LOWER, lower_lr_factor=0.25), kind=kind)
    act = {"action": "lower_lr", "why": "nan or inf", "after": 4, "lr_factor": 0.25}
    assert metrics["steps"] == 9
    assert metrics["interventions"] == [act]
    assert read(folder / LAST)["interventions"] == [act]
    assert json.loads((folder / FILE).read_text())["interventions"] == [act]
    assert rates(folder) == plain_rates[:4] + [0.25 * rate for rate in plain_rates[4:]]
    assert [line["step"] for line in lines(folder)] == list(range(1, 10))
    said = capsys.readouterr().out
    assert "tiny: learning rate × 0.25 from step 4 on (nan or inf); going back to the checkpoint of step 4" in said
    assert not (folder / SCHEDULED).exists()
    assert train(folder, recipe(**LOWER, lower_lr_factor=0.25), kind=kind) == metrics


def test_the_way_from_there_is_that_of_a_run_at_that_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_rates: list[float]
) -> None:
    """Told by hand: four steps as planned, then the others by a step that is given the lower rate."""
    train(tmp_path / "run", recipe(**LOWER), kind=fragile(monkeypatch, at=5, limit=0.9 * plain_rates[4]))
    update = Step.update

    def lowered(self: Step, rate: float, progress: float, lr_factor: float = 1.0) -> None:
        assert lr_factor == 1.0
        update(self, rate * (0.5 if progress >= 4 / 9 else 1.0), progress)

    monkeypatch.setattr(Step, "update", lowered)
    train(tmp_path / "told", recipe(log_every=1, checkpoint={"every_steps": 2}))
    ours, theirs = read(tmp_path / "run" / LAST), read(tmp_path / "told" / LAST)
    assert stand_in.same(ours["objective"], theirs["objective"])
    assert stand_in.same(ours["optimizer"]["state"], theirs["optimizer"]["state"])


def test_twice_from_the_same_checkpoint_and_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_rates: list[float]
) -> None:
    kind = fragile(monkeypatch, at=5, limit=0.3 * plain_rates[4])
    metrics = train(tmp_path / "twice", recipe(**LOWER), kind=kind)
    assert [(each["after"], each["lr_factor"]) for each in metrics["interventions"]] == [(4, 0.5), (4, 0.25)]

    class Later(kind):  # type: ignore[misc, valid-type]
        def after_step(self, progress: float) -> None:
            super().after_step(progress)
            if int(self.seen) == 8 and self.rate > 0.2 * plain_rates[7]:
                with torch.no_grad():
                    self.projector.weight[0, 0] = math.inf

    metrics = train(tmp_path / "later", recipe(**LOWER), kind=Later)
    after = [(each["after"], each["lr_factor"]) for each in metrics["interventions"]]
    assert after == [(4, 0.5), (4, 0.25), (6, 0.125)]
    expected = plain_rates[:4] + [0.25 * rate for rate in plain_rates[4:6]] + [0.125 * r for r in plain_rates[6:]]
    assert rates(tmp_path / "later") == expected


def test_at_the_limit_the_run_ends_with_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = fragile(monkeypatch, at=5, limit=0.0)
    with pytest.raises(StageFailed, match=r"last\.ckpt of step 4 stays.*lowered 2 times already \(lower_lr_times\)"):
        train(tmp_path, recipe(**LOWER, lower_lr_times=2), kind=kind)
    assert read(tmp_path / LAST)["step"] == 4
    assert len(json.loads((tmp_path / FILE).read_text())["interventions"]) == 2


def test_before_the_first_checkpoint_it_goes_back_to_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_rates: list[float]
) -> None:
    kind = fragile(monkeypatch, at=2, limit=0.9 * plain_rates[1])
    metrics = train(tmp_path / "run", recipe(**LOWER), kind=kind)
    assert [each["after"] for each in metrics["interventions"]] == [0]
    assert rates(tmp_path / "run") == [0.5 * rate for rate in plain_rates]


def signal_at(step: int) -> Callable[[int], None]:
    """Ask for the end in the first step of that number."""
    asked: list[int] = []

    def hook(now: int) -> None:
        if now == step and not asked:
            asked.append(now)
            os.kill(os.getpid(), signal.SIGTERM)

    return hook


@pytest.fixture
def seven(monkeypatch: pytest.MonkeyPatch, plain_rates: list[float]) -> Callable[..., dict[str, Any]]:
    """Trains what `straight` did, in another folder."""

    def run(folder: Path, hook: Callable[[int], None] | None = None) -> dict[str, Any]:
        kind = fragile(monkeypatch, at=7, limit=0.3 * plain_rates[6])
        return train(folder, recipe(**SEVEN), kind=kind, hook=hook)

    return run


@pytest.mark.parametrize("steps", [(3,), (4,), (6,), (7,), (8,), (5, 6), (5, 7)])
def test_an_interrupted_run_equals_one_that_was_not(
    straight: Path, tmp_path: Path, seven: Callable[..., dict[str, Any]], steps: tuple[int, ...]
) -> None:
    """Also where signals come between a checkpoint and the divergence, or in the step that diverges.

    After two of them `last.ckpt` and the one before are both of steps that a signal chose.
    """
    for step in steps:
        with pytest.raises(Interrupted):
            seven(tmp_path, signal_at(step))
    seven(tmp_path)
    assert_same_run(straight, tmp_path)
    assert len(read(tmp_path / LAST)["interventions"]) == 2


@pytest.mark.parametrize("at", ["put_back", "replacing"])
def test_a_kill_while_going_back_changes_nothing(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seven: Callable[..., dict[str, Any]], at: str
) -> None:
    with pytest.raises(Interrupted):
        seven(tmp_path, signal_at(5))

    def killed(*_: Any, **__: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(interventions, at, killed)
        with pytest.raises(Crash):
            seven(tmp_path)
    assert not (tmp_path / FILE).exists()
    seven(tmp_path)
    assert_same_run(straight, tmp_path)


def test_a_damaged_or_missing_file_of_interventions_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_rates: list[float]
) -> None:
    folder, config = tmp_path / "run", recipe(**LOWER)
    kind = fragile(monkeypatch, at=5, limit=0.9 * plain_rates[4])
    train(folder, config, kind=kind)
    text = (folder / FILE).read_text()
    for damaged in (text.replace("0.5", "0.7"), text[:-9], "[]", "{}", "[" * 100_000):
        (folder / FILE).write_text(damaged)
        with pytest.raises(BadInput, match=r"interventions\.json is damaged.*remove .*last\.ckpt to start it anew"):
            train(folder, config, kind=kind)
    (folder / FILE).unlink()
    with pytest.raises(BadInput, match=r"interventions that .*interventions\.json does not have; put that file back"):
        train(folder, config, kind=kind)


def test_a_run_that_is_begun_anew_forgets_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_rates: list[float]
) -> None:
    folder, config = tmp_path / "run", recipe(**LOWER)
    train(folder, config, kind=fragile(monkeypatch, at=5, limit=0.9 * plain_rates[4]))
    (folder / LAST).unlink()
    assert "interventions" not in train(folder, config)
    assert rates(folder) == plain_rates


def test_without_a_divergence_the_policy_changes_nothing(tmp_path: Path) -> None:
    train(tmp_path / "plain", recipe(log_every=1, checkpoint={"every_steps": 2}))
    train(tmp_path / "policy", recipe(**LOWER))
    assert_same_run(tmp_path / "plain", tmp_path / "policy")
    assert not (tmp_path / "policy" / FILE).exists()


def test_a_rate_is_lowered_from_the_checkpoint_on_that_was_gone_back_to(tmp_path: Path) -> None:
    (tmp_path / LAST).touch()
    acts = [{"action": "lower_lr", "why": "", "after": after, "lr_factor": f} for after, f in ((4, 0.5), (6, 0.25))]
    (tmp_path / FILE).write_text(json.dumps({"interventions": acts}))
    told = interventions.Interventions(tmp_path, recipe(**LOWER), Ranks())
    assert [told.lr_factor(step) for step in (0, 3, 4, 5, 6, 9)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_constant_rates_are_lowered_too() -> None:
    class Constant(StandIn):
        def param_groups(self) -> list[dict[str, Any]]:
            return [{**group, "constant": i == 0} for i, group in enumerate(super().param_groups())]

        def before_step(self, progress: float) -> None:
            pass

    step = Step(Constant(), recipe(), Ranks())  # type: ignore[arg-type]
    step.update(0.1, 0.0, 0.5)
    assert [group["lr"] for group in step.optimizer.param_groups] == [0.25, 0.05]  # of the peak, 0.5, and of 0.1
