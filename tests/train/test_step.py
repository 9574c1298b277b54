from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import stand_in
import torch
from stand_in import Waits, lines, recipe, train
from torch import nn

from bench.config.recipe import OptimizerSettings, Recipe
from bench.data.views import Batch
from bench.errors import BadInput
from bench.nn.encoder import build_encoder
from bench.objectives.byol import BYOL
from bench.train import feed, optim
from bench.train.checkpoint import LAST, read
from bench.train.distributed import Ranks
from bench.train.optim import Lars, build_optimizer, spread
from bench.train.step import Step, check_compiling

HEADS = {"hidden_dim": 16, "projection_dim": 8}
NARROW = "resnet18w16"


def batch(seed: int = 0, size: int = 32, images: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(images, 3, size, size, generator=generator) for _ in range(2)]
    return Batch(views=views, boxes=[], labels=None, indices=torch.arange(images))


def curve(
    config: Recipe, steps: int = 4, rate: float = 0.05, double: bool = False, arch: str = NARROW, **shape: int
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses of a short BYOL run with ResNet-18, by default a narrow one, and its state."""
    objective = BYOL(build_encoder(arch, 0), **HEADS)
    work = Step(objective.double() if double else objective, config, Ranks())
    losses = []
    for step in range(steps):
        given = batch(step, **shape)
        if double:
            given = replace(given, views=[view.double() for view in given.views])
        losses.append(work.backward(feed.to_device(given, torch.device("cpu"), work.memory_format))["loss"].detach())
        work.update(rate, step / steps)
    return torch.stack(losses).tolist(), objective.state_dict()


LARS = {"name": "lars", "lr": 0.2, "weight_decay": 1e-4}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "norms"),
    [("float32", {}), ("bf16", {}), ("bf16", {"sync_bn": False, "norm_images": 2})],
)
def test_recomputed_blocks_and_either_lars_give_the_same_run_bit_for_bit(precision: str, norms: dict[str, Any]) -> None:
    losses, state = curve(recipe(precision=precision, optimizer=LARS, **norms))
    assert len(set(losses)) == 4
    for switch in ({"checkpoint_activations": True}, {"lars": "timm"}):
        again, after = curve(recipe(precision=precision, optimizer=LARS, **norms, **switch))
        assert losses == again
        assert all(torch.equal(state[name], after[name]) for name in state)


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "near", "norms"), [(4, 1e-8, {}), (2, 1e-5, {"sync_bn": False, "norm_images": 2})])
def test_channels_last_gives_the_same_loss_curve(steps: int, near: float, norms: dict[str, Any]) -> None:
    """In float64: a BYOL run from random weights multiplies differences by ten or more a step, more in small groups."""
    first, _ = curve(recipe(precision="float32", channels_last=False, **norms), steps, double=True)
    other, _ = curve(recipe(precision="float32", channels_last=True, **norms), steps, double=True)
    assert first == pytest.approx(other, rel=near)


@pytest.mark.slow
def test_bf16_starts_from_the_same_loss_and_trains_as_far() -> None:
    sgd = {"name": "sgd", "lr": 0.1}
    in_float32, _ = curve(recipe(precision="float32", optimizer=sgd), 5, arch="resnet18", size=64, images=8)
    rounded, _ = curve(recipe(precision="bf16", optimizer=sgd), 5, arch="resnet18", size=64, images=8)
    assert rounded[0] == pytest.approx(in_float32[0], rel=0.01)
    assert rounded != in_float32
    assert max(in_float32[-1], rounded[-1]) < 0.6 * in_float32[0]


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_foreach_lars_equals_timms(momentum: float, nesterov: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`spread` is foreach as it is on CUDA, where ratios get the shapes of their updates; here on a CPU."""
    given = {"name": "lars", "lr": 0.3, "lr_batch": None, "momentum": momentum, "nesterov": nesterov}
    settings = OptimizerSettings.model_validate(given | {"weight_decay": 0.01, "trust_coefficient": 0.02})
    ends = []
    for kind in ("foreach", "timm", "spread"):
        monkeypatch.setattr(optim, "_takes_few_kernels", lambda tensors, kind=kind: kind == "spread")
        generator = torch.Generator().manual_seed(0)
        params = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 3, 3, 3), (5, 4), (6,))]
        params[0].data = params[0].data.to(memory_format=torch.channels_last)
        groups = [
            {"params": params[:2], "decay": True, "adapt": True},
            {"params": params[2:], "decay": False, "adapt": False},
        ]
        optimizer = build_optimizer(groups, settings, 1, "timm" if kind == "timm" else "foreach")
        for step in range(4):
            for p in params:
                p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=generator))
            if step == 1:
                params[1].grad = None  # such as an unused head
            optimizer.step()
        ends.append(([p.detach() for p in params], [optimizer.state[p].get("momentum_buffer") for p in params]))
    assert stand_in.same(ends[0], ends[1])
    assert stand_in.same(ends[0], ends[2])


def test_a_run_goes_on_with_the_other_lars(tmp_path: Path) -> None:
    train(tmp_path / "one", recipe())
    train(tmp_path / "two", recipe(lars="timm"))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "three", recipe(lars="timm"), hook=_raises_at(5))
    train(tmp_path / "three", recipe())
    one, two, three = (read(tmp_path / name / LAST) for name in ("one", "two", "three"))
    for other in (two, three):
        assert stand_in.same(one["objective"], other["objective"])
        assert stand_in.same(one["optimizer"]["state"], other["optimizer"]["state"])


def _raises_at(step: int) -> Any:
    def hook(now: int) -> None:
        if now == step:
            raise KeyboardInterrupt

    return hook


@pytest.mark.slow
@pytest.mark.parametrize("switches", [{}, {"checkpoint_activations": True}, {"lars": "timm"}])
def test_a_real_step_never_waits_for_the_device(switches: dict[str, Any]) -> None:
    with Waits() as waits:
        objective = BYOL(build_encoder(NARROW, 0), **HEADS)
        work = Step(objective, recipe(optimizer=LARS, **switches), Ranks())
        for step in range(2):
            loss = work.backward(batch())["loss"]
            work.update(0.1, step / 2)
        assert waits.count == 0
        float(loss.detach())
        assert waits.count == 1


@pytest.mark.slow
def test_compiled_networks_give_the_same_loss_curve(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    train(tmp_path / "a", recipe(epochs=1, log_every=1), dropout=0.0)
    train(tmp_path / "b", recipe(epochs=1, log_every=1, compile=True), dropout=0.0)
    for ours, theirs in zip(lines(tmp_path / "a"), lines(tmp_path / "b"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    states = [read(tmp_path / name / LAST)["objective"] for name in ("a", "b")]
    assert list(states[0]) == list(states[1])


@pytest.mark.slow
def test_cuda_graphs_say_that_there_is_no_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = BYOL(build_encoder(NARROW, 0), **HEADS)
    Step(objective, recipe(compile=True, cuda_graphs=True), Ranks())
    assert "no GPU here" in capsys.readouterr().out
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BadInput, match=r"needs a C\+\+ compiler on a CPU"):
        Step(objective, recipe(compile=True), Ranks())


@pytest.mark.slow
def test_parts_of_a_step_with_cuda_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the graphs: a mark takes over the memory of the gradients that the part before returned."""
    ends = []
    for graphs in (False, True):
        objective, config = BYOL(build_encoder(NARROW, 0), **HEADS), recipe(batch_size=12, accumulate=3)
        work, marks, pool = Step(objective, config, Ranks()), [], []

        def returned(parameter: Any, work: Step = work, pool: list[Any] = pool) -> None:
            if work._part == 1:  # later parts are added to what is there
                pool.append(parameter.grad)

        def mark(pool: list[Any] = pool, marks: list[int] = marks) -> None:
            marks.append(len(pool))
            for gradient in pool:
                gradient.fill_(torch.nan)
            pool.clear()

        monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", mark)
        work._graphs = graphs
        for parameter in objective.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(returned)
        for step in range(2):
            for part in range(3):
                work.backward(batch(3 * step + part))
            work.update(0.05, step / 2)
        ends.append(objective.state_dict())
        assert len(marks) == (6 if graphs else 0)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_compiling_is_refused_where_it_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    compiled = recipe(compile=True, batch_size=8)
    check_compiling(compiled, 1, gpu)
    check_compiling(recipe(compile=True, sync_bn=False), 2, gpu)
    check_compiling(compiled, 2, torch.device("cpu"))
    with pytest.raises(BadInput, match=r"do not go together on 2 GPUs.*Set compile=False.*sync_bn=False gives another"):
        check_compiling(compiled, 2, gpu)
    groups = recipe(compile=True, batch_size=8, sync_bn=False, norm_images=4)
    check_compiling(groups, 2, gpu)
    with pytest.raises(BadInput, match=r"on 4 GPUs.*run it on one GPU \(the result is the same\)"):
        check_compiling(groups, 4, gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    with pytest.raises(BadInput, match=r"capability 7\.0 or above, and this one has 6\.1; set compile=False"):
        check_compiling(compiled, 1, gpu)
    with pytest.raises(BadInput, match="set compile=False"):
        Step(nn.Linear(2, 2), recipe(compile=True), Ranks(device=gpu))  # type: ignore[arg-type]


def test_spread_ratios_scale_as_scalars_do() -> None:
    """CUDA's way to scale LARS's updates, here on a CPU: ratios in the shapes and strides of their updates."""
    generator = torch.Generator().manual_seed(0)
    settings = OptimizerSettings.model_validate(LARS | {"lr_batch": None})
    given = [torch.randn(shape, generator=generator) for shape in ((4, 3, 3, 3), (5, 4), (6,), ())]
    given[0] = given[0].to(memory_format=torch.channels_last)
    ratios = torch.rand(len(given), generator=generator)
    expected = [update * ratio for update, ratio in zip(given, ratios, strict=True)]
    optimizer = Lars([{"params": [nn.Parameter(given[0])], "decay": 0.0, "always_adapt": True}], 0.1, settings)
    counts = optimizer._counts(given)
    assert optimizer._counts(given) is counts
    spreaded = spread(ratios, given, counts)
    assert [(one.shape, one.stride()) for one in spreaded] == [(one.shape, one.stride()) for one in given]
    torch._foreach_mul_(given, spreaded)
    assert all(torch.equal(a, b) for a, b in zip(given, expected, strict=True))


@pytest.mark.parametrize(
    ("switches", "words"),
    [({"cuda_graphs": True}, "set compile=True"), ({"compile": True, "checkpoint_activations": True}, "exclude")],
)
def test_switches_that_do_not_go_together_are_refused(switches: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        recipe(**switches)


def test_copies_run_on_a_stream_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for CUDA: what is copied where, what waits for what, and that memory is held for the step."""
    told: list[Any] = []

    @contextmanager
    def stream(name: Any) -> Iterator[None]:
        told.append("copies begin")
        yield
        told.append("copies end")

    compute = SimpleNamespace(wait_stream=lambda other: told.append(f"compute waits for {other}"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: compute)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(feed, "_copies", lambda device: "copies")
    monkeypatch.setattr(Batch, "to", lambda self, *a, **k: told.append((*a, k["non_blocking"])) or self)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, s: told.append((tuple(self.shape), s is compute)))
    given = batch()
    given.boxes.append(torch.zeros(4, 5))
    device = torch.device("cuda", 0)
    assert feed.to_device(given, device, torch.channels_last) is given
    held = [((4, 3, 32, 32), True)] * 2 + [((4, 5), True), ((4,), True)]
    assert told == ["copies begin", (device, True), "copies end", "compute waits for copies", *held]


def test_on_a_cpu_a_batch_is_placed_as_it_is() -> None:
    placed = feed.to_device(batch(), torch.device("cpu"), torch.channels_last)
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in placed.views)
    assert torch.equal(placed.views[0], batch().views[0])
