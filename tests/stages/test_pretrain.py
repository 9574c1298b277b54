from __future__ import annotations

import copy
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from forked import Forks
from PIL import Image
from torch import Tensor

from bench.config.recipe import Recipe
from bench.convert.dialects import load_trunk
from bench.errors import BadInput, Interrupted
from bench.nn.encoder import build_encoder
from bench.objectives.byol import BYOL
from bench.stages.job import Job
from bench.stages.pretrain import run, start, starting_file
from bench.train.checkpoint import read

HEADS = {"hidden_dim": 32, "projection_dim": 16}


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ten images as COCO and as ImageNet with two classes. Tests must not write to them."""
    root, noise = tmp_path_factory.mktemp("roots"), np.random.default_rng(0)
    for number in range(10):
        image = Image.fromarray(noise.integers(0, 256, (48, 64, 3), dtype=np.uint8))
        wnid = ("n01440764", "n01443537")[number % 2]
        folders = ["coco/train2017", f"imagenet/train/{wnid}", f"imagenet/val/{wnid}"]
        for folder in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
            image.save(root / folder / f"{number:012d}.jpg")
    return {"coco": root / "coco", "imagenet": root / "imagenet"}


def recipe(objective: str = "byol", **values: Any) -> Recipe:
    """A narrow ResNet-18, 32 pixels, batches of 4: two steps an epoch, two epochs."""
    settings = {"name": objective} | ({} if objective in {"supervised", "random_init"} else HEADS)
    given: dict[str, Any] = {
        "name": objective,
        "summary": "",
        "source": "here",
        "profile": "smoke",
        "dataset": "imagenet" if objective == "supervised" else "coco",
        "objective": settings | values.pop("settings", {}),
        "arch": "resnet18w16",
        "view_size": 32,
        "epochs": 2,
        "batch_size": 4,
        "precision": "float32",
        "optimizer": {"name": "lars", "lr": 0.2, "weight_decay": 1e-6},
        "checkpoint": {"keep_every_epochs": 1},
        "log_every": 1,
    }
    if objective == "random_init":
        given |= {"dataset": "none", "epochs": 0, "optimizer": None}
    return Recipe.model_validate(given | values)


def job(config: Recipe, folder: Path, roots: dict[str, Path] | None = None, **values: Any) -> Job:
    folder.mkdir(exist_ok=True, parents=True)
    return Job(config=config, seed=values.pop("seed", 0), folder=folder, data_roots=roots or {}, **values)


@pytest.fixture(scope="session")
def parent(roots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished BYOL run."""
    folder = tmp_path_factory.mktemp("parent")
    run(job(recipe(), folder, roots))
    return folder


def objective_of(file: Path) -> dict[str, Tensor]:
    return read(file)["objective"]


def equal(a: dict[str, Tensor], b: dict[str, Tensor], prefix: str = "") -> bool:
    names = [name for name in a if name.startswith(prefix)]
    return bool(names) and all(torch.equal(a[name], b[name]) for name in names)


def lines(folder: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in e.items() if k not in {"images_per_second", "data_wait_share"}} for e in entries]


# ---------------------------------------------------------------------------------------------- running


@pytest.mark.slow
def test_a_run_leaves_what_other_stages_read(parent: Path, roots: dict[str, Path]) -> None:
    assert {f.name for f in parent.iterdir()} == {
        "last.ckpt",
        "epoch_0000.ckpt",
        "epoch_0001.ckpt",
        "metrics.jsonl",
        "previous.ckpt",
        "tensorboard",
    }
    trunk = load_trunk(parent / "last.ckpt", "resnet18w16")
    fresh = build_encoder("resnet18w16", 0).state_dict()
    assert not torch.equal(trunk["conv1.weight"], fresh["conv1.weight"])
    assert [line["step"] for line in lines(parent)] == [1, 2, 3, 4]
    metrics = run(job(recipe(), parent, roots))  # finished already: says the same again
    assert metrics == {
        "steps": 4,
        "epochs": 2,
        "images_skipped": 0,
        "loss": lines(parent)[-1]["loss"],
        "init": {"from": "the seed"},
    }
    json.dumps(metrics)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_depends_on_its_seed_and_not_on_workers_or_interruptions(
    parent: Path, roots: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    after_step, steps = BYOL.after_step, []

    def stop_in_step_3(self: BYOL, progress: float) -> None:
        after_step(self, progress)
        steps.append(progress)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(BYOL, "after_step", stop_in_step_3)
    config = recipe(workers=workers)
    with pytest.raises(Interrupted, match="after step 3 of 4"):
        run(job(config, tmp_path, roots))
    run(job(config, tmp_path, roots))
    assert equal(objective_of(parent / "last.ckpt"), objective_of(tmp_path / "last.ckpt"))
    assert lines(parent) == lines(tmp_path)


@pytest.mark.slow
def test_a_run_with_resident_images_is_the_same_after_an_interruption(
    roots: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the middle of an epoch, with two parts to a step."""
    config = recipe(view_backend="resident", accumulate=2)
    metrics = run(job(config, tmp_path / "whole", roots))
    assert (metrics["steps"], metrics["images_skipped"]) == (4, 0)
    after_step, steps = BYOL.after_step, []

    def stop_in_step_3(self: BYOL, progress: float) -> None:
        after_step(self, progress)
        steps.append(progress)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(BYOL, "after_step", stop_in_step_3)
    with pytest.raises(Interrupted, match="after step 3 of 4"):
        run(job(config, tmp_path / "parts", roots))
    assert "weights from the seed" in capfd.readouterr().out
    run(job(config, tmp_path / "parts", roots))
    said = capfd.readouterr().out
    assert "weights from the seed" not in said
    assert "going on after step 3 of 4, with the weights of last.ckpt" in said
    assert equal(*(objective_of(tmp_path / name / "last.ckpt") for name in ("whole", "parts")))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert any(key.startswith("diagnostics/") for key in lines(tmp_path / "whole")[-1])


@pytest.mark.slow
def test_images_that_only_workers_can_prepare_are_refused_for_resident(roots: dict[str, Path], tmp_path: Path) -> None:
    for number, folder in enumerate(sorted((roots["imagenet"] / "train").iterdir())):
        shutil.copytree(folder, tmp_path / "clips" / "train" / f"clip{number}")
    for config in (
        recipe("cast", view_backend="resident", view_size=64, settings={"queue_size": 8}),
        recipe(view_backend="resident", dataset="clips"),
    ):
        with pytest.raises(BadInput, match="set view_backend='fast'"):
            run(job(config, tmp_path / config.objective["name"], roots | {"clips": tmp_path / "clips"}))


@pytest.mark.slow
def test_clips_have_diagnostics_and_the_guard_and_one_that_is_too_short_is_skipped(tmp_path: Path) -> None:
    """Two folders of frames, one of them too short, and two MP4 files."""
    import av

    noise, train = np.random.default_rng(0), tmp_path / "clips" / "train"
    for number, count in enumerate((8, 3)):
        (train / f"folder{number}").mkdir(parents=True)
        for shown in range(count):
            pixels = noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(train / f"folder{number}" / f"{shown}.png")
    for number in range(2):
        with av.open(str(train / f"film{number}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            for _ in range(8):
                pixels = noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
    config = recipe(
        "taco",
        dataset="clips",
        settings={"frames": 3, "stride": 1},
        diagnostics={"every_steps": 1, "guard": "stop", "min_std": 0.0, "min_rank": 0.0},
    )
    roots = {"clips": tmp_path / "clips"}
    with pytest.raises(BadInput, match=r"folder1 has 3 frames, but 6 that are 1 apart take 6; remove it, give"):
        run(job(config, tmp_path / "fail", roots))
    assert run(job(config, tmp_path / "skip", roots, unreadable="skip"))["images_skipped"] == 2  # once an epoch
    assert lines(tmp_path / "skip")[-1]["diagnostics/backbone/rankme"] > 1


@pytest.mark.slow
def test_another_seed_is_another_run(parent: Path, roots: dict[str, Path], tmp_path: Path) -> None:
    run(job(recipe(), tmp_path, roots, seed=1))
    assert lines(parent)[0]["loss"] != lines(tmp_path)[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        recipe("supervised"),
        recipe("two_loss", accumulate=2),
        recipe("patch_byol", settings={"sampling": "random", "patch_size": 32, "patches": 2}),
        recipe(subset=4, channels_last=False, precision="float32", optimizer={"name": "adamw", "lr": 1e-3}),
    ],
    ids=["supervised", "two_loss", "patch_byol", "subset"],
)
def test_each_objective_takes_its_steps(config: Recipe, roots: dict[str, Path], tmp_path: Path) -> None:
    metrics = run(job(config, tmp_path, roots))
    assert metrics["steps"] == (2 if config.subset else 4)
    assert np.isfinite(metrics["loss"])


def test_random_init_is_the_seeds_encoder(tmp_path: Path) -> None:
    metrics = run(job(recipe("random_init"), tmp_path, seed=3))
    assert metrics == {"steps": 0, "epochs": 0, "init": {"from": "the seed"}}
    expected = build_encoder("resnet18w16", 3).state_dict()
    assert equal(expected, load_trunk(tmp_path / "last.ckpt", "resnet18w16"))
    run(job(recipe("random_init"), tmp_path / "other", seed=4))
    assert not equal(expected, load_trunk(tmp_path / "other" / "last.ckpt", "resnet18w16"))


def measured(**values: Any) -> Recipe:
    """Random weights whose norms are measured on images of COCO."""
    given = {"dataset": "coco", "epochs": 0, "optimizer": None, "norm_statistics": "data", "stem": "stl"}
    return recipe("random_init", **(given | values))


def test_norms_are_measured_on_training_images_and_weights_stay(tmp_path: Path, roots: dict[str, Path]) -> None:
    metrics = run(job(measured(), tmp_path, roots, seed=3))
    assert metrics == {"steps": 0, "epochs": 0, "norm_images": 10, "images_skipped": 0, "init": {"from": "the seed"}}
    trunk, weights = load_trunk(tmp_path / "last.ckpt", "resnet18w16", "stl"), build_encoder("resnet18w16", 3, "stl")
    changed = {name for name, tensor in weights.state_dict().items() if not torch.equal(tensor, trunk[name])}
    assert {name.rpartition(".")[2] for name in changed} == {"running_mean", "running_var", "num_batches_tracked"}
    # The first norm's input by hand: the whole images, their short side at 37 pixels, the middle 32×32 cut out.
    pixels = [
        np.asarray(Image.open(file).resize((49, 37), Image.Resampling.BILINEAR).crop((8, 2, 40, 34)))
        for file in sorted((roots["coco"] / "train2017").iterdir())
    ]
    x = torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    maps = torch.nn.functional.conv2d(x, weights.conv1.weight.detach(), padding=1)
    torch.testing.assert_close(trunk["bn1.running_mean"], maps.mean((0, 2, 3)), rtol=1e-3, atol=0.02)
    torch.testing.assert_close(trunk["bn1.running_var"], maps.var((0, 2, 3)), rtol=0.02, atol=1e-3)


def test_a_subset_of_the_norms_images_is_drawn_by_the_seed(tmp_path: Path, roots: dict[str, Path]) -> None:
    norms = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        metrics = run(job(measured(subset=4), tmp_path / name, roots, seed=seed))
        assert metrics["norm_images"] == 4
        norms.append(load_trunk(tmp_path / name / "last.ckpt", "resnet18w16", "stl")["bn1.running_mean"])
    assert torch.equal(norms[0], norms[1])
    assert not torch.equal(norms[0], norms[2])


def test_an_unreadable_image_among_the_norms_is_left_out_or_named(tmp_path: Path, roots: dict[str, Path]) -> None:
    shutil.copytree(roots["coco"], tmp_path / "coco")
    (tmp_path / "coco" / "train2017" / "000000000003.jpg").write_bytes(b"no image")
    broken = {"coco": tmp_path / "coco"}
    with pytest.raises(BadInput, match=r"Cannot read .*000000000003.jpg"):
        run(job(measured(), tmp_path / "fail", broken))
    metrics = run(job(measured(), tmp_path / "skip", broken, unreadable="skip"))
    assert (metrics["norm_images"], metrics["images_skipped"]) == (9, 1)
    for file in (tmp_path / "coco" / "train2017").iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"No image below .* can be read; bench data check says why"):
        run(job(measured(), tmp_path / "none", broken, unreadable="skip"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 1}, "norm_statistics 'data' is for a recipe that trains nothing"),
        ({"dataset": "none"}, "norm_statistics 'data' is for a recipe that trains nothing"),
        ({"export": "target"}, "norm_statistics 'data' are the encoder's and not its copy's; set export='online'"),
        ({"norm_statistics": "start"}, "dataset 'none' and epochs 0 go together"),
    ],
)
def test_norm_statistics_fit_the_rest_of_a_recipe(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measured(**values)


def test_zeroed_last_norms_are_in_a_recipe_and_in_the_targets_copy() -> None:
    zeroed, usual = (start(recipe(zero_init_residual=zero), 5, None)[0].state_dict() for zero in (True, False))
    last = {
        f"{network}.layer{i}.{j}.bn2.weight"
        for network in ("encoder", "target_encoder")
        for i in (1, 2, 3, 4)
        for j in (0, 1)
    }
    assert {name for name, value in zeroed.items() if not torch.equal(value, usual[name])} == last
    assert not any(zeroed[name].any() for name in last)


def test_the_export_of_a_copy_that_an_objective_lacks_is_refused_before_anything_is_trained() -> None:
    asking = recipe(export="target")
    for name in ("byol", "moco"):
        start(asking.model_copy(update={"objective": {"name": name}}), 5, None)
    with pytest.raises(BadInput, match="byol has export='target', but its objective keeps no copy of the encoder; set"):
        start(asking.model_copy(update={"objective": {"name": "simsiam"}}), 5, None)


def test_heads_come_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    a, _ = start(recipe(), 5, None)
    torch.manual_seed(2)
    b, _ = start(recipe(), 5, None)
    c, _ = start(recipe(), 6, None)
    assert equal(a.state_dict(), b.state_dict())
    assert not equal(a.state_dict(), c.state_dict(), "projector.0.weight")


@pytest.mark.slow
def test_two_ranks_compute_what_one_does(roots: dict[str, Path], tmp_path: Path, forks: Forks) -> None:
    """Views, permutation, synchronised norms, gradients: all of the stage, over two gloo processes."""
    config = recipe("two_loss", precision="float32", epochs=1, optimizer={"name": "sgd", "lr": 0.2})
    run(job(config, tmp_path / "one", roots))
    (tmp_path / "two").mkdir()
    program = (
        "import sys\nfrom pathlib import Path\nfrom bench.config.recipe import Recipe\n"
        "from bench.stages.job import Job\n"
        "from bench.stages.pretrain import run\n"
        "config, folder, root = sys.argv[1:]\n"
        "run(Job(Recipe.model_validate_json(config), 0, Path(folder), data_roots={'coco': Path(root)}))\n"
    )
    words = ["-c", program, config.model_dump_json(), tmp_path / "two", roots["coco"]]
    for done in forks.run_ranks(words, words):
        assert done.returncode == 0, done.stderr
    for ours, theirs in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert ours.keys() == theirs.keys()
        # What held-out images show of two steps, through running statistics that have hardly begun, magnifies rounding.
        trained = {key for key in ours if not key.startswith("diagnostics/")}
        assert {k: ours[k] for k in trained} == pytest.approx({k: theirs[k] for k in trained}, rel=1e-3, abs=1e-4)


# ----------------------------------------------------------------------------------------- continuation


def child(objective: str = "patch_byol", epoch: int = 0, **values: Any) -> Recipe:
    return recipe(objective, init={"recipe": "byol", "epoch": epoch}, **values)


@pytest.mark.slow
def test_continuation_takes_all_modules_of_the_parents_epoch(parent: Path, tmp_path: Path) -> None:
    config = child(epoch=0)
    file = starting_file(job(config, tmp_path, inputs={"init": parent}))
    assert file == parent / "epoch_0000.ckpt"
    objective, report = start(config, 9, file)
    assert equal(objective_of(file), objective.state_dict())
    assert not equal(objective_of(parent / "last.ckpt"), objective.state_dict())
    assert report == {
        "from": "epoch_0000.ckpt",
        "tensors": "120 of 120",
        "loaded": ["encoder", "projector", "predictor", "target_encoder", "target_projector"],
        "fresh": [],
    }


@pytest.mark.slow
def test_continuation_is_reported(parent: Path, roots: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    metrics = run(job(child("supervised", epoch=1), tmp_path, roots, inputs={"init": parent}))
    assert metrics["init"] == {
        "from": "epoch_0001.ckpt",
        "tensors": "120 of 120",
        "loaded": ["encoder"],
        "fresh": ["fc"],
    }
    printed = capsys.readouterr().out
    assert "epoch_0001.ckpt (120 of 120 tensors of the encoder matched); loaded: encoder; fresh: fc" in printed
    assert metrics["steps"] == 4


def test_a_module_is_loaded_whole_or_not_at_all(parent: Path) -> None:
    """Another hidden width: the projectors' and predictor's last layers would fit in part."""
    config = child(settings={"hidden_dim": 48})
    objective, report = start(config, 9, parent / "epoch_0001.ckpt")
    assert report["loaded"] == ["encoder", "target_encoder"]
    assert report["fresh"] == ["projector", "predictor", "target_projector"]
    fresh, _ = start(config, 9, None)
    for module in ("projector.", "predictor.", "target_projector."):
        assert equal(fresh.state_dict(), objective.state_dict(), module)


def test_a_target_that_the_checkpoint_lacks_copies_the_loaded_encoder(parent: Path, tmp_path: Path) -> None:
    file = tmp_path / "trunk.safetensors"
    trunk = load_trunk(parent / "last.ckpt", "resnet18w16")
    safetensors.torch.save_file(trunk, file)
    objective, report = start(recipe(init={"checkpoint": str(file)}), 9, file)
    assert report["fresh"] == ["projector", "predictor", "target_encoder", "target_projector"]
    for network in (objective.encoder, objective.target_encoder):
        assert equal(trunk, network.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "module.encoder_q.", "backbone.", "encoder.", "somebody.elses."])
def test_any_prefix_of_a_whole_trunk_is_found(tmp_path: Path, prefix: str) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    file = tmp_path / "foreign.pth"
    torch.save({"state_dict": {f"{prefix}{name}": tensor for name, tensor in state.items()}}, file)
    config = recipe(init={"checkpoint": str(file)}, arch="resnet18")
    assert starting_file(job(config, tmp_path)) == file
    objective, report = start(config, 0, file)
    assert report["tensors"] == "120 of 120"
    state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    assert equal(state, objective.encoder.state_dict())


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_refused_with_counts(parent: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\d+ of 318 tensors matched.*; set arch='resnet18w16'"):
        start(child(arch="resnet50"), 0, parent / "last.ckpt")
    state = copy.copy(build_encoder("resnet18w16", 0).state_dict())
    del state["layer4.1.conv2.weight"]
    torch.save(state, tmp_path / "partial.pth")
    with pytest.raises(BadInput, match=r"119 of 120 tensors matched"):
        start(recipe(), 0, tmp_path / "partial.pth")
    torch.save({f"w{i}": tensor for i, tensor in enumerate(state.values())}, tmp_path / "renamed.pth")
    with pytest.raises(BadInput, match=r"holds no ResNet under any prefix: 0 of 120 tensors matched"):
        start(recipe(), 0, tmp_path / "renamed.pth")


class Trap:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def test_code_in_a_starting_checkpoint_is_never_run(roots: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "trap.pth"
    torch.save({"state_dict": build_encoder("resnet18w16", 0).state_dict(), "extra": Trap(tmp_path / "sprung")}, file)
    with pytest.raises(BadInput, match="carries code"):
        run(job(recipe(init={"checkpoint": str(file)}), tmp_path / "run", roots))
    assert not (tmp_path / "sprung").exists()


def test_an_epoch_that_the_parent_did_not_keep_is_named(parent: Path, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"epoch_0007\.ckpt is missing; remove that folder and run the same again: byol "
    ):
        starting_file(job(child(epoch=7), tmp_path, inputs={"init": parent}))


# ------------------------------------------------------------------------------------------ diagnostics


@pytest.mark.slow
def test_a_run_is_looked_at_on_held_out_images_and_is_the_same_without(roots: dict[str, Path], tmp_path: Path) -> None:
    for name, settings in (("seen", {"every_steps": 1, "images": 4}), ("plain", {"images": 0})):
        run(job(recipe(dataset="imagenet", diagnostics=settings), tmp_path / name, roots))
    seen, plain = (objective_of(tmp_path / name / "last.ckpt") for name in ("seen", "plain"))
    assert equal(seen, plain)
    looked = [line for line in lines(tmp_path / "seen") if "diagnostics/projector/rankme" in line]
    assert [line["step"] for line in looked] == [1, 2, 3, 4]
    assert 1 <= looked[0]["diagnostics/projector/rankme"] <= 4.01
    assert 0 <= looked[0]["diagnostics/backbone/knn_percent"] <= 100
    assert not any("diagnostics" in key for line in lines(tmp_path / "plain") for key in line)
    coco = tmp_path / "coco"
    run(job(recipe(diagnostics={"every_steps": 4, "images": 4}), coco, roots))
    assert "diagnostics/projector/alignment" in lines(coco)[-1]
    assert "diagnostics/projector/knn_percent" not in lines(coco)[-1]


# --------------------------------------------------------------------------------------------- bad data


def test_bad_input_is_said_before_anything_is_written(roots: dict[str, Path], tmp_path: Path) -> None:
    for config, words in [
        (recipe(batch_size=11), "batch_size 11 is larger than the data set of 10 images"),
        (recipe("supervised", dataset="coco"), "supervised objective needs a data set with classes"),
    ]:
        with pytest.raises(BadInput, match=words):
            run(job(config, tmp_path, roots))
    with pytest.raises(BadInput, match="No data root for coco; give --data-root coco=DIR"):
        run(job(recipe(), tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_fails_by_name_or_is_counted(roots: dict[str, Path], tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "coco" / "train2017"
    folder.mkdir(parents=True)
    for file in sorted((roots["coco"] / "train2017").iterdir())[:4]:
        (folder / file.name).write_bytes(file.read_bytes())
    bad = sorted(folder.iterdir())[1]
    bad.write_bytes(b"no image")
    config, four_images = recipe(workers=workers), {"coco": tmp_path / "coco"}
    with pytest.raises(BadInput, match=rf"{bad.name}.*--unreadable skip"):
        run(job(config, tmp_path / "fail", four_images))
    metrics = run(job(config, tmp_path / "skip", four_images, unreadable="skip"))
    assert metrics["images_skipped"] == 2  # once in each epoch
