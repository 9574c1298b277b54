"""Fine-tuning through mmengine's Runner: the weights arrive, the scores are exact, a resumed run is the same run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import Forks
from mmseg.registry import MODELS
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from bench.config.tasks import SegmentationTask
from bench.convert.matching import match_contents
from bench.convert.proof import load_strictly, prove, write_proof
from bench.convert.trunk import TRUNK, read_trunk, save_trunk
from bench.errors import BadInput, Interrupted, StageFailed
from bench.nn.encoder import build_encoder
from bench.outcomes import OUTCOMES, AreaOutcomes, disagreement, names_digest, read
from bench.stages.curve import points_of
from bench.stages.job import Job
from bench.stages.segmentation import finetune as segmentation
from bench.stages.segmentation.evaluation import EvaluationLoop
from bench.stages.segmentation.metric import UnroundedIoU
from bench.stages.segmentation.mmseg_config import adapt
from bench.stages.segmentation.model import build_backbone, build_model
from bench.stages.segmentation.runner import CHECKPOINT, SaveCheckpoint, SeedIterations
from bench.stages.segmentation.samples import DrawSampler, _start_worker
from bench.timing_gaps import forget_gaps, noted_gaps
from bench.train import background
from bench.train.checkpoint import write

SMALL = "pspnet_r18-d8_4xb2-80k_cityscapes-512x1024"
SCORES = ("aacc_percent", "miou_percent", "macc_percent")
USUAL = "pspnet_r50-d8_4xb2-40k_cityscapes-512x1024"


def task(**changes: Any) -> SegmentationTask:
    settings: dict[str, Any] = {
        "name": "test", "summary": "", "source": "", "profile": "full", "kind": "segmentation", "config": SMALL,
        "iterations": 4, "batch_size": 2, "crop": (64, 64), "scale": (96, 64), "validate_every": 4, "workers": 0,
        "precision": "float32",
    }  # fmt: skip
    return SegmentationTask(**settings | changes)


# PSPNet on a ResNet-18 of a quarter of the width.
NARROW = {"model.backbone.base_channels": 16, "model.backbone.stem_channels": 16}
NARROW |= {"model.decode_head.in_channels": 128, "model.decode_head.channels": 32}
NARROW |= {"model.auxiliary_head.in_channels": 64, "model.auxiliary_head.channels": 16}


def narrow(**changes: Any) -> SegmentationTask:
    """The task on a narrow network."""
    return task(**changes | {"overrides": NARROW | changes.get("overrides", {})})


def proven(folder: Path, arch: str) -> Path:
    """A folder as the convert stage leaves it."""
    folder.mkdir(parents=True)
    encoder = build_encoder(arch, seed=1).eval()
    network = build_backbone(arch)
    save_trunk(folder / TRUNK, encoder.state_dict(), arch)
    load_strictly(network, read_trunk(folder / TRUNK).state)
    write_proof(folder, prove(encoder.state_dict(), arch, encoder.maps, network))
    return folder


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return proven(tmp_path_factory.mktemp("converted") / "resnet18w16", "resnet18w16")


def write_pair(root: Path, split: str, number: int, mask: np.ndarray) -> Path:
    """Write an image and its mask in Cityscapes' layout; returns the image's file."""
    places = [root / part / split / "town" for part in ("leftImg8bit", "gtFine")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 60, (*mask.shape, 3))
    image = places[0] / f"town_{number:06d}_000019_leftImg8bit.png"
    Image.fromarray((mask[..., None] * 9 % 190 + noise).astype(np.uint8)).save(image)
    Image.fromarray(mask).save(places[1] / f"town_{number:06d}_000019_gtFine_labelTrainIds.png")
    return image


def scene(number: int) -> np.ndarray:
    mask = np.full((64, 96), 10, np.uint8)  # sky
    mask[30 + number :] = 0  # road
    mask[20:40, 10 * number + 5 : 10 * number + 25] = 2  # building
    mask[:2] = 255
    return mask


def write_data(root: Path) -> Path:
    for number in range(5):
        write_pair(root, "train", number, scene(number))
    for number in (6, 7):
        write_pair(root, "val", number, scene(number - 5))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("cityscapes"))


@pytest.fixture
def run(converted: Path, data: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run the stage in the folder `name`; keywords change the task, `root` and `unreadable` the job."""

    def run_in(name: str, root: Path = data, unreadable: Any = "fail", **changes: Any) -> dict[str, Any]:
        (tmp_path / name).mkdir(exist_ok=True)
        inputs, roots = {"convert": converted}, {"cityscapes": root}
        return segmentation.run(Job(narrow(**changes), 3, tmp_path / name, inputs, roots, unreadable))

    return run_in


def state_of(folder: Path) -> dict[str, Any]:
    return torch.load(folder / CHECKPOINT, weights_only=True)


# --------------------------------------------------------------------------------------------- the scores


def scores(pairs: list[tuple[Tensor, Tensor]], classes: int) -> dict[str, Any]:
    metric = UnroundedIoU()
    metric.dataset_meta = {"classes": [f"c{i}" for i in range(classes)]}
    counts = [metric.intersect_and_union(guess, truth, classes, 255) for guess, truth in pairs]
    return metric.compute_metrics(counts)


def test_scores_by_hand() -> None:
    truth = [torch.tensor([[0, 0, 1, 1], [1, 255, 255, 1]]), torch.tensor([[0, 0, 0, 0]])]
    guess = [torch.tensor([[0, 1, 1, 1], [2, 0, 1, 1]]), torch.tensor([[0, 0, 0, 1]])]
    measured = scores(list(zip(guess, truth, strict=True)), classes=4)
    # Over both images: class 0 has I 4, L 6, U 6; class 1 has I 3, L 4, U 6; class 2 is guessed once; 3 never occurs.
    assert measured["aAcc"] == pytest.approx(100 * 7 / 10, rel=1e-12)
    assert measured["IoU"] == {"c0": pytest.approx(100 * 4 / 6), "c1": pytest.approx(50.0), "c2": 0.0, "c3": None}
    assert measured["mIoU"] == pytest.approx(100 * (4 / 6 + 3 / 6 + 0) / 3, rel=1e-12)
    assert measured["mAcc"] == pytest.approx(100 * (4 / 6 + 3 / 4) / 2, rel=1e-12)


def test_scores_equal_torchmetrics() -> None:
    torch.manual_seed(0)
    truth = torch.randint(0, 19, (3, 40, 50))
    guess = torch.where(torch.rand(3, 40, 50) < 0.6, truth, torch.randint(0, 19, (3, 40, 50)))
    truth[torch.rand(3, 40, 50) < 0.2] = 255
    measured = scores(list(zip(guess, truth, strict=True)), classes=19)
    theirs = {"num_classes": 19, "ignore_index": 255}
    assert measured["mIoU"] == pytest.approx(100 * multiclass_jaccard_index(guess, truth, **theirs).item(), abs=1e-4)
    assert measured["mAcc"] == pytest.approx(100 * multiclass_accuracy(guess, truth, **theirs).item(), abs=1e-4)
    per_class = multiclass_jaccard_index(guess, truth, average="none", **theirs)
    assert list(measured["IoU"].values()) == pytest.approx((100 * per_class).tolist(), abs=1e-4)


def test_many_pixels_are_counted_one_by_one() -> None:
    """Beyond 2²⁴ pixels of a class a sum in float32 stands still."""
    pixels = 2**24
    one = (torch.tensor([pixels, 0]), torch.tensor([pixels, 1]), torch.tensor([pixels, 1]), torch.tensor([pixels, 0]))
    more = tuple(torch.tensor([1, 0]) for _ in range(4))
    metric = UnroundedIoU()
    metric.dataset_meta = {"classes": ["a", "b"]}
    wrong = (torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([0, 1]), torch.tensor([1, 0]))
    metrics = metric.compute_metrics([one, more, more, wrong])
    assert metrics["IoU"]["a"] == 100 * (pixels + 2) / (pixels + 3)


def test_labels_outside_of_the_classes_are_refused() -> None:
    with pytest.raises(BadInput, match=r"label 26, but there are 19 classes; .*labelTrainIds\.png"):
        UnroundedIoU.intersect_and_union(torch.tensor([[1]]), torch.tensor([[26]]), 19, 255)


# --------------------------------------------------------------------------------------------- the config


def plan(**changes: Any) -> Any:
    arch, world = changes.pop("arch", "resnet50"), changes.pop("world", 1)
    shipped = {"iterations": None, "batch_size": None, "crop": None, "scale": None, "validate_every": None}
    chosen = task(**{"config": USUAL} | shipped | changes)
    return adapt(chosen, arch, Path("/data"), world=world, synchronise=world > 1)


def test_what_the_task_leaves_open_stays_as_shipped() -> None:
    shipped = plan()
    config = shipped.config
    assert (shipped.iterations, shipped.batch_size, shipped.validate_every) == (40_000, 8, 4_000)
    assert (config.optim_wrapper.optimizer.lr, config.optim_wrapper.optimizer.weight_decay) == (0.01, 5e-4)
    assert config.param_scheduler[0].end == 40_000
    assert config.param_scheduler[0].eta_min == 1e-4
    assert config.model.data_preprocessor.size == (512, 1024)
    assert config.model.backbone.dilations == (1, 1, 2, 4)
    steps = [step.type for step in config.train_dataloader.dataset.pipeline]
    assert steps[1:5] == ["LoadAnnotations", "CheckLabelMap", "RandomResize", "RandomCrop"]  # the check changes nothing
    assert config.train_dataloader.dataset.data_root == config.val_dataloader.dataset.data_root == "/data"


def test_the_stem_is_the_plain_one_and_no_other_weights_come_in() -> None:
    model = plan().config.model
    assert model.backbone.type == "ResNet"
    assert "pretrained" not in model
    assert "init_cfg" not in model.backbone


def test_the_task_changes_what_it_says() -> None:
    small = plan(iterations=400, batch_size=4, crop=(64, 128), scale=(256, 128), lr=0.002, validate_every=100)
    config = small.config
    assert (small.iterations, small.batch_size, small.validate_every) == (400, 4, 100)
    assert config.train_cfg.max_iters == config.param_scheduler[0].end == 400
    assert config.optim_wrapper.optimizer.lr == 0.002
    assert config.param_scheduler[0].eta_min == pytest.approx(2e-5)
    assert config.model.data_preprocessor.size == (64, 128)
    steps = config.train_dataloader.dataset.pipeline
    assert (steps[3].scale, steps[3].ratio_range, steps[4].crop_size) == ((256, 128), (0.5, 2.0), (64, 128))
    assert config.val_dataloader.dataset.pipeline[1].scale == (256, 128)


def test_overrides_and_sliding_windows() -> None:
    slide = plan(
        config="pspnet_r50-d8_4xb2-40k_cityscapes-769x769",
        crop=(60, 90),
        overrides={"model.decode_head.dropout_ratio": 0.25},
    )
    assert slide.config.model.test_cfg.crop_size == (60, 90)
    assert slide.config.model.test_cfg.stride == (40, 60)
    assert slide.config.model.decode_head.dropout_ratio == 0.25


def test_layers_are_synchronised_over_gpus_only() -> None:
    def kinds(config: Any) -> set[str]:
        return {config.model.backbone.norm_cfg.type, config.model.decode_head.norm_cfg.type}

    assert kinds(plan(world=4).config) == {"SyncBN"}
    assert kinds(plan().config) == {"BN"}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "deeper": (
        {"config": "pspnet_r101-d8_4xb2-40k_cityscapes-512x1024"},
        r"ResNet of depth 101, but the trunk is a resnet50; choose pspnet_r50-d8_4xb2-40k_city",
    ),
    "shallower": ({"config": SMALL}, "ResNet of depth 18, but the trunk is a resnet50"),
    "other": ({"config": "segformer_mit-b0_8xb1-160k_cityscapes-1024x1024"}, "has the backbone MixVisionTransformer"),
    "strides": ({"overrides": {"model.backbone.style": "caffe"}}, "strides in other layers"),
    "epochs": ({"overrides": {"train_cfg.type": "EpochBasedTrainLoop"}}, "trains by epochs"),
    "override": ({"overrides": {"train_cfg": 3, "train_cfg.x": 1}}, "not a readable mmseg config .*; correct it"),
    "nothing": ({"config": "no_such_config"}, "No mmseg config 'no_such_config'; give a path"),
    "uneven": ({"world": 3}, "batch_size 8 does not divide among 3 processes; choose a multiple"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_config_that_cannot_take_the_trunk_is_refused(name: str) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(BadInput, match=message):
        plan(**changes)


# ------------------------------------------------------------------------------------------------ the draws


def take(sampler: Iterator[tuple[int, int]], n: int) -> list[tuple[int, int]]:
    return [next(sampler) for _ in range(n)]


def test_the_sampler_starts_anywhere_and_shares_out_by_process() -> None:
    indices = np.array([3, 5, 8, 11, 12])
    alone = take(iter(DrawSampler(indices, seed=1)), 40)
    assert [draw for _, draw in alone] == list(range(40))
    epochs = [[index for index, _ in alone[i : i + 5]] for i in range(0, 40, 5)]
    assert all(sorted(epoch) == indices.tolist() for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 3
    later = DrawSampler(indices, seed=1)
    later.skip(13)
    assert take(iter(later), 20) == alone[13:33]
    ranks = [take(iter(DrawSampler(indices, 1, rank, 2)), 20) for rank in (0, 1)]
    assert [pair for both in zip(*ranks, strict=True) for pair in both] == alone
    assert take(iter(DrawSampler(indices, seed=2)), 40) != alone


def test_a_loader_process_ignores_signals_and_ends_with_its_parent() -> None:
    batches = iter(DataLoader(range(100), num_workers=1, worker_init_fn=_start_worker))  # type: ignore[arg-type]
    assert next(batches).item() == 0
    worker = batches._workers[0]
    try:
        for name in ("INT", "TERM"):  # as a terminal or a cluster sends them to everybody
            subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
        assert [next(batches).item() for _ in range(50)] == list(range(1, 51))
        worker.join(0.3)
        assert worker.is_alive()
        worker.terminate()  # as a parent does that ends without having closed the loader, and then it waits
        worker.join(20)
        assert not worker.is_alive()
    finally:
        worker.kill()


# ------------------------------------------------------------------------------------------------- the run


@pytest.mark.slow
def test_a_resnet50_is_trained_from_the_trunk(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = proven(tmp_path / "convert", "resnet50")
    (tmp_path / "run").mkdir()
    at_first_step: list[Any] = []

    class Look(SeedIterations):
        def before_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            if batch_idx == 0:
                at_first_step.append(
                    match_contents(read_trunk(folder / TRUNK).state, runner.model.backbone.state_dict())
                )
            super().before_train_iter(runner, batch_idx)

    monkeypatch.setattr(segmentation, "SeedIterations", Look)
    chosen = task(config=USUAL, iterations=2, precision="bf16", channels_last=True)
    metrics = segmentation.run(Job(chosen, 0, tmp_path / "run", {"convert": folder}, {"cityscapes": data}))
    assert at_first_step[0].complete
    assert (at_first_step[0].matched, metrics["tensors_matched"], metrics["iterations"]) == (318, 318, 2)
    assert 0 <= metrics["miou_percent"] <= metrics["aacc_percent"] <= 100
    assert set(metrics["iou_percent"]) >= {"road", "sky", "bicycle"}
    assert metrics["iou_percent"]["road"] is not None
    assert match_contents(read_trunk(folder / TRUNK).state, backbone(tmp_path / "run")).matched < 10, "all layers train"


def backbone(folder: Path) -> dict[str, Tensor]:
    state = state_of(folder)["model"]
    return {name.removeprefix("backbone."): t for name, t in state.items() if name.startswith("backbone.")}


@pytest.mark.slow
def test_a_resumed_run_equals_an_undisturbed_one_bit_by_bit(
    run: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    straight = run("straight")

    class Kill(SeedIterations):
        def before_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            super().before_train_iter(runner, batch_idx)
            if batch_idx == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(segmentation, "SeedIterations", Kill)
        with pytest.raises(Interrupted, match=r"Stopped after iteration 2 of 4\. The last checkpoint is .*last\.ckpt"):
            run("broken")
    assert "Stopping after this iteration, in at most about " in capfd.readouterr().out
    assert state_of(tmp_path / "broken")["iteration"] == 2
    (tmp_path / "broken").rename(tmp_path / "moved")  # nothing in it may say where it lay
    forget_gaps()
    resumed = run("moved", workers=1)  # and results do not depend on the number of workers
    assert noted_gaps() == ["2 of 4 iterations"]

    assert resumed == straight
    assert points_of(tmp_path / "moved") == points_of(tmp_path / "straight")
    ours, theirs = state_of(tmp_path / "moved"), state_of(tmp_path / "straight")
    assert ours["iteration"] == theirs["iteration"] == 4
    assert match_contents(theirs["model"], ours["model"]).complete
    momenta = [{str(i): s["momentum_buffer"] for i, s in c["optimizer"]["state"].items()} for c in (ours, theirs)]
    assert match_contents(*momenta).complete
    assert ours["schedulers"] == theirs["schedulers"]


@pytest.mark.slow
def test_how_often_is_validated_changes_no_bit(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """Hence `validate_every` is in no fingerprint: weights, momenta and scores at the end are the same."""
    straight, often, unevenly = (run(f"every-{each}", validate_every=each) for each in (4, 1, 3))
    assert often == straight == unevenly
    curves = {each: points_of(tmp_path / f"every-{each}") for each in (4, 1, 3)}
    steps = {each: [point["step"] for point in curve] for each, curve in curves.items()}
    assert steps == {4: [4], 1: [1, 2, 3, 4], 3: [3, 4]}
    assert curves[1][2:] == curves[3]
    assert all(curve[-1] == {"step": 4} | {name: straight[name] for name in SCORES} for curve in curves.values())
    theirs = state_of(tmp_path / "every-4")
    for name in ("every-1", "every-3"):
        ours = state_of(tmp_path / name)
        assert match_contents(theirs["model"], ours["model"]).complete
        momenta = [{str(i): s["momentum_buffer"] for i, s in c["optimizer"]["state"].items()} for c in (ours, theirs)]
        assert match_contents(*momenta).complete


@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_ends_the_same(
    run: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    straight = run("straight")

    class Die(SeedIterations):
        def before_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            super().before_train_iter(runner, batch_idx)
            if batch_idx == 3:
                raise RuntimeError("died in iteration 4")

    with monkeypatch.context() as patch:
        patch.setattr(segmentation, "SeedIterations", Die)
        patch.setattr(EvaluationLoop, "run", lambda _: {})
        with pytest.raises(RuntimeError, match="died in iteration 4"):
            run("broken", validate_every=1)
    newest, before = (tmp_path / "broken" / name for name in (CHECKPOINT, "previous.ckpt"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 3] ^= 1
    newest.write_bytes(data)
    capfd.readouterr()
    assert run("broken", validate_every=4) == straight
    said = capfd.readouterr().out
    assert "last.ckpt is damaged: its checksum is not that of its content: going on from previous.ckpt, the" in said
    assert match_contents(state_of(tmp_path / "straight")["model"], state_of(tmp_path / "broken")["model"]).complete
    for file in (newest, before):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"and so is previous\.ckpt, the one before; remove both to start anew"):
        run("broken")


@pytest.mark.slow
def test_a_run_that_dies_while_a_slow_disk_takes_its_checkpoint_goes_on_from_there(
    run: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run("straight")
    written: list[int] = []

    def slow(file: Path, content: Mapping[str, Any]) -> None:
        time.sleep(0.3)  # iteration 3 changes the weights meanwhile
        write(file, content)
        written.append(content["iteration"])

    class Die(SeedIterations):
        def before_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            super().before_train_iter(runner, batch_idx)
            if batch_idx == 3:
                raise RuntimeError("died in iteration 4")

    def validate(self: EvaluationLoop) -> dict[str, float]:
        del self
        assert not written, "validation waited for the checkpoint"
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(background, "write", slow)
        patch.setattr(segmentation, "SeedIterations", Die)
        patch.setattr(EvaluationLoop, "run", validate)
        with pytest.raises(RuntimeError, match="died in iteration 4"):
            run("broken", validate_every=2)
    assert written == [2]
    assert state_of(tmp_path / "broken")["iteration"] == 2
    assert run("broken") == straight
    ours, theirs = state_of(tmp_path / "broken"), state_of(tmp_path / "straight")
    assert match_contents(theirs["model"], ours["model"]).complete
    assert ours["optimizer"]["param_groups"] == theirs["optimizer"]["param_groups"]


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_fails_the_stage(
    run: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, _content: Mapping[str, Any]) -> None:
        raise StageFailed(f"Cannot write {file} (No space left on device)")

    monkeypatch.setattr(background, "write", full)
    with pytest.raises(
        StageFailed, match=r"last\.ckpt \(No space left on device\)\. No checkpoint was written yet\. Free"
    ):
        run("x", iterations=1)
    assert not (tmp_path / "x" / CHECKPOINT).exists()


@pytest.mark.slow
def test_a_finished_run_is_only_evaluated_again(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    first = run("x", iterations=2)
    found = read(tmp_path / "x" / OUTCOMES)
    assert disagreement(found, first) is None
    assert set(found.metrics()) == {"aacc_percent", "miou_percent", "macc_percent"}
    before = (tmp_path / "x" / CHECKPOINT).stat().st_mtime_ns
    assert run("x", iterations=2) == first
    assert (tmp_path / "x" / CHECKPOINT).stat().st_mtime_ns == before


@pytest.mark.slow
def test_only_a_finished_run_is_evaluated_without_training(converted: Path, data: Path, tmp_path: Path) -> None:
    """To the digit, in another folder; a checkpoint that is not the last one is refused before anything is built."""
    job = Job(narrow(), 3, tmp_path / "own", {"convert": converted}, {"cityscapes": data})
    again = replace(job, folder=tmp_path / "scratch", evaluation_only=True)
    for each in (job, again):
        each.folder.mkdir()
    with pytest.raises(BadInput):
        segmentation.run(again)
    expected = segmentation.run(job)
    before = (job.folder / CHECKPOINT).read_bytes()
    (again.folder / CHECKPOINT).symlink_to(job.folder / CHECKPOINT)
    assert segmentation.run(again) == expected
    assert (job.folder / CHECKPOINT).read_bytes() == before
    state = state_of(job.folder)
    state["model"]["decode_head.conv_seg.bias"][10] += 1e4  # all is sky
    (again.folder / CHECKPOINT).unlink()
    write(again.folder / CHECKPOINT, state)
    assert segmentation.run(again)["iou_percent"]["road"] == 0.0
    write(again.folder / CHECKPOINT, state | {"iteration": 2})
    with pytest.raises(BadInput, match=r"last.ckpt does not hold the model of this stage after iteration 4"):
        segmentation.run(again)


def test_the_seed_decides_the_heads_and_the_trunk_does_not(converted: Path, data: Path) -> None:
    def head(seed: int) -> Tensor:
        settings = adapt(task(), "resnet18", data, world=1, synchronise=False).config.model
        model = build_model(settings, seed, synchronise=False, device_type="cpu", channels_last=False)
        return model.decode_head.bottleneck.conv.weight

    torch.manual_seed(9)
    one = head(1)
    torch.manual_seed(8)
    assert torch.equal(one, head(1))
    assert not torch.equal(one, head(2))


def test_scores_leave_the_network_in_float32(data: Path) -> None:
    settings = adapt(task(), "resnet18", data, world=1, synchronise=False).config.model
    model = build_model(settings, 0, synchronise=False, device_type="cpu", channels_last=True).eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        features = model.backbone(torch.randn(1, 3, 64, 64))
        assert features[-1].dtype == torch.bfloat16
        assert model.decode_head(features).dtype == torch.float32
    assert model.backbone.layer3[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_what_the_stage_writes_lies_in_its_folder_and_the_screen_stays_quiet(
    run: Callable[..., dict[str, Any]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run("x", iterations=1)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert {path.name for path in (tmp_path / "x").iterdir()} == {CHECKPOINT, "mmengine", OUTCOMES, "curve.json"}
    shown = capfd.readouterr()
    assert len(shown.out.splitlines()) < 10
    assert "test: 1/1 iterations" in shown.out
    assert "mmengine" not in shown.out + shown.err
    assert "118 of" not in (tmp_path / "x/mmengine/mmengine.log").read_text(encoding="utf-8")
    assert "120 of 120 tensors matched" in (tmp_path / "x/mmengine/mmengine.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_subset_is_drawn_by_the_seed(run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()

    class Look(SaveCheckpoint):
        def after_train_iter(self, runner: Any, batch_idx: int, outputs: Any, **kwargs: Any) -> None:
            seen.update(Path(s.metainfo["img_path"]).name[5:11] for s in kwargs["data_batch"]["data_samples"])
            super().after_train_iter(runner, batch_idx, outputs)

    monkeypatch.setattr(segmentation, "SaveCheckpoint", Look)
    run("x", subset=2)
    assert len(seen) == 2
    first = set(seen)
    run("y", subset=2)
    assert seen == first
    with pytest.raises(BadInput, match="subset 6 is larger than the 5 training images; lower it"):
        run("z", subset=6)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_leaves_no_checkpoint(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"The loss became (nan|inf) at iteration \d; lower lr\. No checkpoint"):
        run("x", lr=1e18)
    assert not (tmp_path / "x" / CHECKPOINT).exists()


# ---------------------------------------------------------------------------------------------- bad input


def test_without_a_proof_there_is_no_run(converted: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / TRUNK).symlink_to(converted / TRUNK)
    content = json.loads((converted / "proof.json").read_text(encoding="utf-8"))
    content["tensors"]["bn1.weight"]["sha256"] = "0" * 64
    del content["checksum"]  # as in a proof of an older version
    inputs, roots = {"convert": tmp_path}, {"cityscapes": data}
    with pytest.raises(BadInput, match="has no load proof; run the convert stage again"):
        segmentation.run(Job(narrow(), 0, tmp_path, inputs, roots))
    (tmp_path / "proof.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadInput, match=r"119 of 120 tensors matched the load proof \(bn1\.weight differs\)"):
        segmentation.run(Job(narrow(), 0, tmp_path, inputs, roots))


def test_a_checkpoint_of_another_trunk_is_not_continued(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    torch.save({"iteration": 2, "trunk_hash": "another"}, tmp_path / "x" / CHECKPOINT)
    with pytest.raises(BadInput, match="was fine-tuned from another trunk; delete it"):
        run("x")


def test_a_backbone_with_a_deep_stem_takes_nothing(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deep(settings: Any) -> Any:
        return honest(settings | {"backbone": settings["backbone"] | {"type": "ResNetV1c"}})

    honest = MODELS.build
    monkeypatch.setattr(
        MODELS, "build", lambda s, *a, **k: deep(s) if s["type"] == "EncoderDecoder" else honest(s, *a, **k)
    )
    with pytest.raises(BadInput, match=r"refused by the segmentation backbone: 114 of 132 tensors matched"):
        run("x")


def test_data_that_is_not_there(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"No such folder .*leftImg8bit/train.*--data-root"):
        run("x", root=tmp_path / "nowhere")
    (tmp_path / "empty/leftImg8bit/train").mkdir(parents=True)
    with pytest.raises(
        BadInput, match=r"No images of CityscapesDataset in .*empty/leftImg8bit/train; check the layout"
    ):
        run("x", root=tmp_path / "empty")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_fails_by_name(workers: int, run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    root = write_data(tmp_path / "data")
    for image in (root / "leftImg8bit/train/town").iterdir():
        image.write_bytes(b"no image")
    with pytest.raises(
        BadInput, match=r"^Cannot read \S+_leftImg8bit\.png; repair or remove it .*--unreadable skip\.$"
    ):
        run("x", root=root, workers=workers)


@pytest.mark.slow
def test_an_unreadable_image_or_mask_is_skipped_and_counted(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    root = write_data(tmp_path / "data")
    (root / "leftImg8bit/train/town/town_000001_000019_leftImg8bit.png").write_bytes(b"no image")
    (root / "gtFine/train/town/town_000003_000019_gtFine_labelTrainIds.png").unlink()
    assert run("x", root=root, unreadable="skip")["images_skipped"] == 2
    (root / "leftImg8bit/val/town/town_000006_000019_leftImg8bit.png").write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"Cannot read .*town_000006"):
        run("y", root=root, unreadable="skip")


@pytest.mark.slow
def test_two_processes_share_the_batch_and_its_statistics(
    converted: Path, data: Path, run: Callable[..., dict[str, Any]], tmp_path: Path, forks: Forks
) -> None:
    (tmp_path / "two").mkdir()
    settings = {"iterations": 1, "batch_size": 4, "overrides": {"model.decode_head.dropout_ratio": 0.0}}
    script = tmp_path / "rank.py"
    script.write_text(
        "from pathlib import Path\n"
        "import torch\n"
        "from bench.config.tasks import SegmentationTask\n"
        "from bench.stages.segmentation import finetune\n"
        "from bench.stages.job import Job\n"
        "torch.set_num_threads(1)\n"
        f"task = SegmentationTask.model_validate_json({narrow(**settings).model_dump_json()!r})\n"
        f"roots = {{'cityscapes': Path({str(data)!r})}}\n"
        f"inputs = {{'convert': Path({str(converted)!r})}}\n"
        f"finetune.run(Job(task, 3, Path({str(tmp_path / 'two')!r}), inputs, roots))\n",
        encoding="utf-8",
    )
    for done in forks.run_ranks([script], [script]):
        assert done.returncode == 0, done.stderr[-2000:]
    run("one", **settings)
    one, two = state_of(tmp_path / "one")["model"], state_of(tmp_path / "two")["model"]
    for name in (
        "backbone.bn1.running_mean",
        "backbone.layer1.0.bn1.running_var",
        "backbone.layer4.1.bn2.running_mean",
    ):
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5)
    assert one.keys() == two.keys()
    said = [read(tmp_path / name / OUTCOMES) for name in ("one", "two")]
    assert all(isinstance(each, AreaOutcomes) for each in said)
    assert said[0].names == said[1].names  # in the order of the data set, each once
    assert (said[0].true == said[1].true).all()  # type: ignore[attr-defined]
    names = sorted(file.relative_to(data).as_posix() for file in (data / "leftImg8bit" / "val").rglob("*.png"))
    assert said[0].names == names_digest(names)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "rank.py"}
