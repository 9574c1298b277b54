"""Batches, a pretraining's end and evaluations of images in shards are those of the same images in folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.config.recipe import Recipe
from bench.config.tasks import KnnTask, LinearTask
from bench.data.images import Backend, EvalDataset, ViewDataset, in_order, loader
from bench.data.sampler import DrawSampler
from bench.data.sets import index
from bench.data.shards.writing import write_shards
from bench.data.views import SIMCLR_VIEWS
from bench.data.views.resident import load_pixels
from bench.errors import BadInput, Interrupted
from bench.objectives.byol import BYOL
from bench.stages import knn, linear, pretrain
from bench.stages.job import Job
from bench.train.checkpoint import read


@pytest.fixture
def shards(imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The images of `imagenet` in small shards."""
    monkeypatch.setenv("BENCH_SHARD_INDEX", str(tmp_path / "index"))
    monkeypatch.setattr("bench.data.shards.writing.MB", 20_000)
    write_shards("imagenet", imagenet, tmp_path / "shards", size=1)
    assert len([*(tmp_path / "shards").glob("train-*.tar")]) > 2
    return tmp_path / "shards"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["reference", "fast", "device"])
def test_batches_are_the_same_bit_for_bit(imagenet: Path, shards: Path, backend: Backend) -> None:
    views = SIMCLR_VIEWS(24, 0.5)

    def batches(root: Path, workers: int) -> list[Any]:
        dataset = ViewDataset(index("imagenet", root, "train"), views, seed=3, backend=backend)
        sampler = DrawSampler(len(dataset), 4, seed=3, start_step=2)
        return [batch for batch, _ in zip(loader(dataset, sampler, workers), range(5), strict=False)]

    for expected, workers in zip(batches(imagenet, 0), batches(shards, 2), strict=True):
        assert torch.equal(expected.labels, workers.labels)
        assert torch.equal(expected.indices, workers.indices)
        assert all(map(torch.equal, expected.boxes, workers.boxes))
        if expected.pending is None:
            assert expected.views
            assert all(map(torch.equal, expected.views, workers.views))
        else:
            assert torch.equal(expected.pending.pixels, workers.pending.pixels)
            assert torch.equal(expected.pending.parameters, workers.pending.parameters)


@pytest.mark.parametrize("backend", ["reference", "fast"])
def test_evaluations_see_the_same(imagenet: Path, shards: Path, backend: Any) -> None:
    def shown(root: Path) -> list[Any]:
        dataset = EvalDataset(index("imagenet", root, "val"), 24, 28, backend=backend)
        return [*loader(dataset, in_order(len(dataset), 4))]

    for expected, found in zip(shown(imagenet), shown(shards), strict=True):
        assert torch.equal(expected.views[0], found.views[0])
        assert torch.equal(expected.labels, found.labels)
    plain, sharded = (load_pixels(index("imagenet", root, "train")) for root in (imagenet, shards))
    assert (plain == sharded).all()


def test_an_image_that_cannot_be_read_is_named_with_its_shard(imagenet: Path, tmp_path: Path) -> None:
    import shutil

    root = shutil.copytree(imagenet, tmp_path / "broken")
    bad = next((root / "train").glob("*/*.JPEG"))
    bad.write_bytes(b"no image")
    write_shards("imagenet", root, tmp_path / "shards")
    listed = index("imagenet", tmp_path / "shards", "train")
    place = listed.files.index(bad.relative_to(root).as_posix())
    name = rf"train-000000\.tar/train/{bad.parent.name}/{bad.name}"
    with pytest.raises(BadInput, match=rf"Cannot read .*/{name} \(not an image\)"):
        ViewDataset(listed, SIMCLR_VIEWS(24, 0.5), seed=0)[place, 0]
    with pytest.raises(BadInput, match=name):
        load_pixels(listed)
    assert ViewDataset(listed, SIMCLR_VIEWS(24, 0.5), seed=0, unreadable="skip")[place, 0].skipped == 1


@pytest.mark.slow
def test_a_pretraining_and_its_evaluations_end_the_same(
    imagenet: Path, shards: Path, trunk_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "byol",
            "summary": "",
            "source": "here",
            "profile": "smoke",
            "dataset": "imagenet",
            "objective": {"name": "byol", "hidden_dim": 32, "projection_dim": 16},
            "arch": "resnet18w16",
            "view_size": 32,
            "epochs": 1,
            "batch_size": 6,
            "precision": "float32",
            "optimizer": {"name": "lars", "lr": 0.2, "weight_decay": 1e-6},
            "log_every": 1,
        }
    )

    def pretrained(name: str, root: Path, workers: int) -> Any:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        config = recipe.model_copy(update={"workers": workers})
        return pretrain.run(Job(config=config, seed=0, folder=folder, data_roots={"imagenet": root}))

    assert pretrained("folder", imagenet, 0)["steps"] == 3
    after_step, steps = BYOL.after_step, [0]

    def interrupted(self: BYOL, progress: float) -> None:
        import os
        import signal

        after_step(self, progress)
        steps[0] += 1
        if steps[0] == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(BYOL, "after_step", interrupted)
        with pytest.raises(Interrupted, match="after step 2 of 3"):
            pretrained("shards", shards, 2)
        pretrained("shards", shards, 2)
    ends = [read(tmp_path / name / "last.ckpt")["objective"] for name in ("folder", "shards")]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])

    common = {"summary": "", "source": "", "profile": "smoke", "dataset": "imagenet", "size": 32, "resize": 36}
    common |= {"precision": "float32", "workers": 0, "batch_size": 6}
    heads = LinearTask.model_validate(
        common | {"name": "imagenet_linear", "kind": "linear", "epochs": 2, "learning_rates": (3.0,)}
    )
    neighbours = KnnTask.model_validate(common | {"name": "imagenet_knn", "kind": "knn", "k": 5})
    for stage, task in ((linear, heads), (knn, neighbours)):
        results = []
        for name, root in (("folder", imagenet), ("shards", shards)):
            folder = tmp_path / f"{task.kind}_{name}"
            folder.mkdir()
            results.append(stage.run(Job(task, 0, folder, {"convert": trunk_folder}, {"imagenet": root})))
        assert results[0] == results[1]
        assert any("top1" in key for key in results[0])
