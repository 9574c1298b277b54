"""Linear evaluation: heads that train side by side equal heads alone, the trunk stays frozen, runs resume."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config.load import load_task
from bench.config.tasks import LinearTask
from bench.convert.checksums import Damaged
from bench.errors import BadInput, Interrupted, StageFailed
from bench.stages import linear
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.job import Job
from bench.stages.linear import HEADS, best, run
from bench.stages.linear_heads import Heads
from bench.stages.linear_state import read
from bench.stages.load_proof import SIZES
from bench.timing_gaps import forget_gaps, noted_gaps

RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 100.0)


def make_task(**changes: Any) -> LinearTask:
    values: dict[str, Any] = {
        "name": "imagenet_linear",
        "summary": "",
        "source": "",
        "profile": "smoke",
        "kind": "linear",
        "dataset": "imagenet",
        "epochs": 2,
        "batch_size": 6,
        "learning_rates": (3.0,),
        "size": 32,
        "resize": 36,
        "precision": "float32",
        "workers": 0,
    }
    return LinearTask(**(values | changes))


def make_job(folder: Path, trunk: Path, data: Path, task: LinearTask | None = None, **changes: Any) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"seed": 0, "inputs": {"convert": trunk}, "data_roots": {"imagenet": data}}
    return Job(config=task or make_task(), folder=folder, **(values | changes))


def batches(steps: int = 5, n: int = 8, dim: int = 16, classes: int = 7) -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(0)
    draw = lambda: (torch.randn(n, dim, generator=rng), torch.randint(classes, (n,), generator=rng))  # noqa: E731
    return [draw() for _ in range(steps)]


def trained(rates: tuple[float, ...], steps: int = 5) -> Heads:
    """Heads after some steps, in float64: at a rate of 100 the rounding of float32 grows with every step."""
    heads = Heads(len(rates), 7, 16, seed=3)
    for name, tensor in heads.tensors().items():
        setattr(heads, name, tensor.double())
    for features, labels in batches(steps):
        heads.step(features.double(), labels, torch.tensor(rates), momentum=0.9, decay=1e-4)
    return heads


# ---------------------------------------------------------------------------------------------- heads


def test_each_of_twelve_heads_equals_the_head_trained_alone() -> None:
    together = trained(RATES)
    for position, rate in enumerate(RATES):
        alone = trained((rate,))
        torch.testing.assert_close(together.weight[position], alone.weight[0], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(together.bias[position], alone.bias[0], rtol=1e-10, atol=1e-10)
        assert alone.weight.abs().max() > rate / 100  # it did learn


@pytest.mark.parametrize("rate", [0.1, 30.0])
def test_a_head_equals_torchs_linear_layer_under_torchs_sgd(rate: float) -> None:
    heads = Heads(1, 7, 16, seed=3)
    for name, tensor in heads.tensors().items():
        setattr(heads, name, tensor.double())
    layer = nn.Linear(16, 7).double()
    with torch.no_grad():
        layer.weight.copy_(heads.weight[0])
        layer.bias.copy_(heads.bias[0])
    sgd = torch.optim.SGD(layer.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    for features, labels in batches():
        loss = F.cross_entropy(layer(features.double()), labels)
        rates = torch.tensor([rate], dtype=torch.float64)
        ours = heads.step(features.double(), labels, rates, momentum=0.9, decay=1e-4)
        torch.testing.assert_close(ours[0], loss.detach(), rtol=1e-10, atol=1e-10)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    torch.testing.assert_close(heads.weight[0], layer.weight.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(heads.bias[0], layer.bias.detach(), rtol=1e-10, atol=1e-10)


def test_heads_start_from_moco_s_distribution_and_the_seed_alone() -> None:
    heads = Heads(2, 100, 512, seed=1)
    assert heads.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert abs(heads.weight.mean().item()) < 2e-4
    assert not heads.bias.any()
    assert torch.equal(heads.weight[0], heads.weight[1])
    torch.manual_seed(7)
    assert torch.equal(heads.weight, Heads(2, 100, 512, seed=1).weight)
    assert not torch.equal(heads.weight, Heads(2, 100, 512, seed=2).weight)


def test_a_head_that_diverges_does_not_touch_the_others() -> None:
    heads = trained((0.1, 1e308, 0.3))
    assert heads.finite() == [True, False, True]
    alone = trained((0.1,))
    torch.testing.assert_close(heads.weight[0], alone.weight[0], rtol=1e-5, atol=1e-6)


def test_the_best_head_is_a_known_one_and_of_equal_ones_the_slowest() -> None:
    assert best([10.0, 30.0, 20.0], (0.1, 1.0, 10.0)) == 1
    assert best([10.0, 30.0, 30.0], (0.1, 1.0, 10.0)) == 1
    assert best([30.0, 10.0, 30.0], (1.0, 0.1, 0.3)) == 2
    assert best([None, 5.0], (0.1, 1.0)) == 1
    with pytest.raises(StageFailed, match="diverged; give lower learning rates"):
        best([None], (0.1,))


# ------------------------------------------------------------------------------------------ the stage


@pytest.mark.slow
def test_classes_of_different_colours_are_recognised(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    metrics = run(make_job(tmp_path / "a", trunk_folder, imagenet, make_task(epochs=6)))
    assert metrics["top1_percent"] > 60
    assert metrics["top5_percent"] == 100.0  # of three classes
    assert metrics["training_images"] == 18
    assert metrics["validation_images"] == 9  # every image once: 9 is no multiple of the batch, 6
    assert metrics["images_skipped"] == 0
    assert metrics["top1_percent_by_learning_rate"] == {"3": metrics["top1_percent"]}


def naive_top1(trunk: Path, data: Path, heads: Path) -> float:
    """Top-1 by PIL and plain loops, from the heads' file."""
    from PIL import Image

    state = load_file(heads)
    network = FrozenTrunk(trunk, "float32").encoder
    right = []
    for label, folder in enumerate(sorted((data / "val").iterdir())):
        for file in sorted(folder.iterdir()):
            image = Image.open(file).resize((round(36 * 48 / 40), 36), Image.Resampling.BILINEAR)
            left, top = round((image.width - 32) / 2), round((image.height - 32) / 2)
            pixels = np.asarray(image.crop((left, top, left + 32, top + 32)), np.float32) / 255
            pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
            feature = network(torch.from_numpy(pixels).float().permute(2, 0, 1)[None])
            right.append(int((feature @ state["weight"][0].T + state["bias"][0]).argmax()) == label)
    return 100 * sum(right) / len(right)


@pytest.mark.slow
def test_top1_is_that_of_a_naive_loop(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    metrics = run(make_job(tmp_path / "a", trunk_folder, imagenet))
    expected = naive_top1(trunk_folder, imagenet, tmp_path / "a" / HEADS)
    assert metrics["top1_percent"] == pytest.approx(expected)


def test_several_learning_rates_are_chosen_on_held_out_training_images(
    tmp_path: Path, trunk_folder: Path, imagenet: Path
) -> None:
    task = make_task(learning_rates=(1e-6, 3.0), selection_share=0.33, epochs=4)
    metrics = run(make_job(tmp_path / "a", trunk_folder, imagenet, task))
    assert metrics["training_images"] == 12
    assert metrics["selection_images"] == 6
    assert metrics["learning_rate"] == 3.0
    assert metrics["top1_percent"] == metrics["top1_percent_by_learning_rate"]["3"]
    assert set(metrics["selection_top1_percent_by_learning_rate"]) == {"1e-06", "3"}


def test_val_never_chooses_the_head(
    tmp_path: Path, trunk_folder: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = linear.evaluate

    def evaluate(*words: Any, **named: Any) -> Any:
        images, title = words[4:6]
        seen.append((title, images.split, len(images.files)))
        return real(*words, **named)

    monkeypatch.setattr(linear, "evaluate", evaluate)
    chosen = []
    monkeypatch.setattr(linear, "best", lambda scores, rates: chosen.append(len(seen)) or 0)
    run(make_job(tmp_path / "a", trunk_folder, imagenet, make_task(learning_rates=(0.1, 3.0), selection_share=0.33)))
    assert seen == [("select", "train", 6), ("validate", "val", 9)]
    assert chosen == [1]  # chosen when only the held-out training images had been looked at


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_resumed_run_equals_an_undisturbed_one_with_any_number_of_workers(
    stop: int, tmp_path: Path, trunk_folder: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run(make_job(tmp_path / "straight", trunk_folder, imagenet))
    job = make_job(tmp_path / "resumed", trunk_folder, imagenet, make_task(workers=1 if stop == 4 else 0))
    interrupt_after(stop, monkeypatch)
    with pytest.raises(Interrupted, match=f"step {stop} of 6; heads.safetensors holds it"):
        run(job)
    monkeypatch.undo()
    forget_gaps()
    assert run(job) == straight
    assert noted_gaps() == [f"{stop} steps"]
    ours, theirs = load_file(job.folder / HEADS), load_file(tmp_path / "straight" / HEADS)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_with_resident_images_colours_are_recognised_and_a_resumed_run_is_the_same(
    tmp_path: Path,
    trunk_folder: Path,
    imagenet: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    task = make_task(view_backend="resident", epochs=3)
    whole = run(make_job(tmp_path / "whole", trunk_folder, imagenet, task))
    assert whole["top1_percent"] > 60
    with monkeypatch.context() as patch:
        interrupt_after(4, patch)
        with pytest.raises(Interrupted):
            run(make_job(tmp_path / "parts", trunk_folder, imagenet, task))
    assert "Stopping after this step, in at most about " in capfd.readouterr().out
    assert run(make_job(tmp_path / "parts", trunk_folder, imagenet, task)) == whole
    heads = [load_file(tmp_path / name / HEADS) for name in ("whole", "parts")]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


@pytest.mark.slow
@pytest.mark.parametrize(("size", "warned"), [(1.0, False), (1e4, True)])
def test_a_rate_that_does_not_fit_large_features_is_warned_of(
    size: float,
    warned: bool,
    tmp_path: Path,
    trunk_folder: Path,
    imagenet: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    through = linear.through

    def scaled(*of: Any) -> linear.Features:
        got = through(*of)
        return got._replace(features=got.features / got.features.norm(dim=1, keepdim=True) * size)

    monkeypatch.setattr(linear, "through", scaled)
    run(make_job(tmp_path, trunk_folder, imagenet, make_task(learning_rates=(1.0,))))
    assert capsys.readouterr().out.count("does not fit these features") == warned


def interrupt_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    real = Heads.step

    def step(self: Heads, *words: Any) -> Tensor:
        taken.append(1)
        if len(taken) == steps:
            import signal

            signal.raise_signal(signal.SIGINT)
        return real(self, *words)

    monkeypatch.setattr(Heads, "step", step)


@pytest.mark.slow
def test_a_crash_loses_at_most_an_epoch(
    tmp_path: Path, trunk_folder: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run(make_job(tmp_path / "straight", trunk_folder, imagenet))
    job = make_job(tmp_path / "crashed", trunk_folder, imagenet)
    taken = []
    real = Heads.step

    def step(self: Heads, *words: Any) -> Tensor:
        taken.append(1)
        if len(taken) == 5:
            raise RuntimeError("power cut")
        return real(self, *words)

    monkeypatch.setattr(Heads, "step", step)
    with pytest.raises(RuntimeError):
        run(job)
    taken.clear()
    monkeypatch.setattr(Heads, "step", lambda self, *words: taken.append(1) or real(self, *words))
    assert run(job) == straight
    assert len(taken) == 3  # the second epoch of 3 steps


@pytest.mark.slow
def test_heads_of_another_trunk_are_not_continued(
    tmp_path: Path, trunk_folder: Path, new_trunk_folder: Callable[[int], Path], imagenet: Path
) -> None:
    run(make_job(tmp_path / "a", trunk_folder, imagenet))
    job = make_job(tmp_path / "a", new_trunk_folder(5), imagenet)
    fresh = run(make_job(tmp_path / "b", job.inputs["convert"], imagenet))
    assert run(job) == fresh


def test_damaged_heads_are_named(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    job = make_job(tmp_path / "a", trunk_folder, imagenet)
    (job.folder / HEADS).write_bytes(b"no heads")
    with pytest.raises(BadInput, match=r"heads.safetensors is damaged; delete it"):
        run(job)


@pytest.mark.slow
def test_damaged_heads_fall_back_to_the_ones_before_and_end_the_same(
    tmp_path: Path,
    trunk_folder: Path,
    imagenet: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    straight = run(make_job(tmp_path / "straight", trunk_folder, imagenet))
    job = make_job(tmp_path / "a", trunk_folder, imagenet)
    with monkeypatch.context() as patch:
        interrupt_after(4, patch)
        with pytest.raises(Interrupted):
            run(job)
    files = [job.folder / name for name in (HEADS, "previous.safetensors")]
    newest, before = (bytearray(file.read_bytes()) for file in files)
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(newest[:8], "little")
    for bit in [*rng.integers(0, 8 * header, 150), *rng.integers(8 * header, 8 * len(newest), 50)]:
        changed = newest.copy()
        changed[bit // 8] ^= 1 << int(bit % 8)
        files[0].write_bytes(changed)
        with pytest.raises(Damaged):
            read(files[0])
    files[0].write_bytes(newest[:-1])
    assert run(job) == straight
    assert (
        "heads.safetensors is damaged: going on from previous.safetensors, the checkpoint before"
        in capfd.readouterr().out
    )
    for file in files:
        file.write_bytes(before[:-1])
    with pytest.raises(BadInput, match=r"and so is previous\.safetensors, the one before; remove both to start anew"):
        run(job)


def record_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Collects the features and learning rates of each step."""
    taken: list[tuple[Tensor, Tensor]] = []
    real = Heads.step

    def step(self: Heads, features: Tensor, labels: Tensor, rates: Tensor, *words: Any) -> Tensor:
        taken.append((features, rates))
        return real(self, features, labels, rates, *words)

    monkeypatch.setattr(Heads, "step", step)
    return taken


@pytest.mark.slow
def test_seeds_differ_in_start_and_data(
    tmp_path: Path, trunk_folder: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = record_steps(monkeypatch)
    for seed in (0, 1):
        run(make_job(tmp_path / str(seed), trunk_folder, imagenet, make_task(epochs=1), seed=seed))
    assert not torch.equal(taken[0][0], taken[3][0])
    assert not torch.equal(Heads(1, 3, 8, seed=0).weight, Heads(1, 3, 8, seed=1).weight)


@pytest.mark.slow
def test_the_schedule_is_mocos(
    tmp_path: Path, trunk_folder: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = record_steps(monkeypatch)
    run(make_job(tmp_path / "a", trunk_folder, imagenet, make_task(epochs=5, learning_rates=(30.0,))))
    # 3 steps an epoch; 30 x batch / 256, x 0.1 after 3 and again after 4 of 5 epochs.
    expected = [30 * 6 / 256 * factor for factor in [1.0] * 9 + [0.1] * 3 + [0.01] * 3]
    assert [float(rates[0]) for _, rates in taken] == pytest.approx(expected)


def test_divergence_is_a_failure_and_leaves_no_heads(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    task = make_task(learning_rates=(1e39,))  # infinite in float32
    with pytest.raises(StageFailed, match="diverged by step 3; give lower learning rates"):
        run(make_job(tmp_path / "a", trunk_folder, imagenet, task))
    assert list((tmp_path / "a").iterdir()) == []


# ------------------------------------------------------------------------------------- the frozen trunk


def test_a_trunk_that_changes_is_found(
    tmp_path: Path, trunk_folder: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FrozenTrunk.features

    def features(self: FrozenTrunk, images: Tensor) -> Tensor:
        if images.shape[-2:] == SIZES["imagenet"]:  # of the load proof, which comes before
            return real(self, images)
        self.encoder.train()  # so that running statistics move
        outputs = self.encoder(images).detach()
        self.encoder.eval()
        return outputs

    monkeypatch.setattr(FrozenTrunk, "features", features)
    with pytest.raises(StageFailed, match="The frozen trunk changed while it was evaluated"):
        run(make_job(tmp_path / "a", trunk_folder, imagenet))


@pytest.mark.slow
def test_a_single_altered_bit_and_train_mode_are_found(trunk_folder: Path) -> None:
    trunk = FrozenTrunk(trunk_folder, "float32")
    trunk.check()
    weight = trunk.encoder.layer4[1].conv2.weight
    with torch.no_grad():
        weight[3, 2, 1, 0] = torch.nextafter(weight[3, 2, 1, 0], torch.tensor(9.0))
    with pytest.raises(StageFailed, match="changed"):
        trunk.check()
    trunk = FrozenTrunk(trunk_folder, "float32")
    trunk.encoder.layer1[0].bn1.train()
    with pytest.raises(StageFailed, match=r"train mode \(layer1.0.bn1\)"):
        trunk.check()


@pytest.mark.slow
def test_features_are_the_encoders_and_carry_no_gradient(trunk_folder: Path) -> None:
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    full, half = FrozenTrunk(trunk_folder, "float32"), FrozenTrunk(trunk_folder, "bf16")
    features = full.features(images)
    with torch.no_grad():
        torch.testing.assert_close(features, full.encoder(images))
    assert features.dtype == half.features(images).dtype == torch.float32
    assert not features.requires_grad
    assert not features.is_inference()
    relative = (half.features(images) - features).norm() / features.norm()
    assert 1e-6 < relative < 0.05


def test_without_a_proof_there_is_no_evaluation(
    tmp_path: Path, new_trunk_folder: Callable[[int], Path], imagenet: Path
) -> None:
    folder = new_trunk_folder(0)
    (folder / "proof.json").unlink()
    with pytest.raises(BadInput, match="no load proof"):
        run(make_job(tmp_path / "a", folder, imagenet))


def test_missing_data_and_an_empty_selection_are_refused(tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    with pytest.raises(BadInput, match="No data root for imagenet; give --data-root"):
        run(make_job(tmp_path / "a", trunk_folder, imagenet, data_roots={}))
    task = make_task(learning_rates=(0.1, 1.0), selection_share=0.01)
    with pytest.raises(BadInput, match=r"selection_share 0\.01 of 18 training images leaves none"):
        run(make_job(tmp_path / "a", trunk_folder, imagenet, task))


@pytest.mark.slow
def test_an_unreadable_image_is_named_or_skipped_and_counted(
    tmp_path: Path, trunk_folder: Path, imagenet: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(imagenet, data)
    broken = [data / "train/n01440764/n01440764_2.JPEG", data / "val/n02102040/n02102040_1.JPEG"]
    for file in broken:
        file.write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"n01440764_2\.JPEG"):
        run(make_job(tmp_path / "a", trunk_folder, data))
    metrics = run(make_job(tmp_path / "b", trunk_folder, data, unreadable="skip"))
    assert metrics["validation_images"] == 8
    assert metrics["images_skipped"] == 2 + 1  # once an epoch, and once in val


# ----------------------------------------------------------------------------------------- the configs


@pytest.mark.parametrize("name", ["imagenet_linear", "imagenet_linear_sweep", "imagenet100_linear"])
def test_full_configs_are_mocos_protocol(name: str) -> None:
    task = load_task(name)
    assert isinstance(task, LinearTask)
    assert (task.epochs, task.batch_size, task.momentum, task.weight_decay) == (100, 256, 0.9, 0.0)
    assert (task.schedule, task.milestones, task.size, task.resize) == ("step", (0.6, 0.8), 224, 256)
    assert len(task.learning_rates) == (12 if name.endswith("sweep") else 1)
    assert 30.0 in task.learning_rates


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["imagenet_linear", "imagenet_linear_sweep", "imagenet_linear_cached", "imagenet100_linear"]
)
def test_shipped_configs_take_a_step(name: str, tmp_path: Path, trunk_folder: Path, imagenet: Path) -> None:
    task = load_task(name, "smoke", {"batch_size": 6, "workers": 0, "precision": "bf16"})
    assert isinstance(task, LinearTask)
    assert run(make_job(tmp_path / "a", trunk_folder, imagenet, task))["top5_percent"] == 100.0
