"""What stages leave of each image: the metrics that they return follow from it, and each image has its own place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.config.tasks import KnnTask, LinearTask
from bench.data.sets import index
from bench.outcomes import OUTCOMES, TopOutcomes, disagreement, names_digest, read
from bench.stages import knn, linear
from bench.stages.feature_cache import ABOUT, POSITIONS
from bench.stages.frozen_trunk import FrozenTrunk
from bench.stages.image_outcomes import keep_top
from bench.stages.job import Job
from bench.stages.linear import HEADS
from bench.stages.linear_state import read as read_heads

pytestmark = pytest.mark.slow

COMMON: dict[str, Any] = {"name": "t", "summary": "", "source": "", "profile": "smoke", "dataset": "imagenet"}
COMMON |= {"batch_size": 4, "size": 32, "resize": 36, "precision": "float32", "workers": 0}
BROKEN = "val/n02102040/n02102040_1.JPEG"


@pytest.fixture
def broken(imagenet: Path, tmp_path: Path) -> Path:
    """The images, of which one cannot be read."""
    shutil.copytree(imagenet, tmp_path / "data")
    (tmp_path / "data" / BROKEN).write_bytes(b"no image")
    return tmp_path / "data"


def evaluated(folder: Path, task: Any, trunk: Path, data: Path) -> tuple[dict[str, Any], TopOutcomes]:
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"inputs": {"convert": trunk}, "data_roots": {"imagenet": data}, "unreadable": "skip"}
    values |= {"data": {"imagenet": "0123"}, "features": folder.parent / "features"}
    metrics = (knn if isinstance(task, KnnTask) else linear).run(Job(config=task, seed=0, folder=folder, **values))
    found = read(folder / OUTCOMES)
    assert isinstance(found, TopOutcomes)
    return metrics, found


def test_neighbours_say_of_each_image_what_they_say_of_it_alone(
    broken: Path, trunk_folder: Path, tmp_path: Path
) -> None:
    """With features that are computed, read from the cache, or kept by a version that did not say which they are of."""
    task, images = KnnTask(**(COMMON | {"kind": "knn", "k": 1})), index("imagenet", broken, "val")
    lost = images.files.index(BROKEN)
    assert 0 < lost < len(images.files) - 1
    metrics, first = evaluated(tmp_path / "a", task, trunk_folder, broken)
    assert first.names == names_digest(images.files)
    assert first.valid.tolist() == [position != lost for position in range(9)]
    assert metrics["validation_images"] == 8
    assert disagreement(first, metrics) is None
    # One query at a time, by a plain search.
    trunk = FrozenTrunk(trunk_folder, "float32", torch.device("cpu"))
    job = Job(task, 0, tmp_path, {"convert": trunk_folder}, {"imagenet": broken}, unreadable="skip")
    bank, labels, _ = knn.extract(job, task, trunk, index("imagenet", broken, "train"), "x")
    asked = knn.extract(job, task, trunk, images, "x")
    queries, truth, _ = asked
    right = dict(zip(asked.positions.tolist(), (labels[(queries @ bank.t()).argmax(1)] == truth).tolist(), strict=True))
    assert {place: bool(first.top1[place]) for place in right} == right

    kept = [place for place in (tmp_path / "features").iterdir() if (place / POSITIONS).is_file()]
    assert len(kept) == 1
    _, again = evaluated(tmp_path / "b", task, trunk_folder, broken)
    assert (tmp_path / "b" / OUTCOMES).read_bytes() == (tmp_path / "a" / OUTCOMES).read_bytes()
    about = json.loads((kept[0] / ABOUT).read_text())
    del about["positions"]
    (kept[0] / ABOUT).write_text(json.dumps(about))
    _, again = evaluated(tmp_path / "c", task, trunk_folder, broken)
    assert again.valid.tolist() == first.valid.tolist()
    assert "positions" in json.loads((kept[0] / ABOUT).read_text())  # computed anew, and kept as today


def test_the_chosen_head_is_the_one_whose_images_are_kept(broken: Path, trunk_folder: Path, tmp_path: Path) -> None:
    rates = (1e-9, 3.0)  # the first one learns nothing
    own = {"kind": "linear", "epochs": 4, "learning_rates": rates, "selection_share": 0.34}
    metrics, found = evaluated(tmp_path / "a", LinearTask(**(COMMON | own)), trunk_folder, broken)
    assert metrics["learning_rate"] == 3.0
    by_rate = metrics["top1_percent_by_learning_rate"]
    assert by_rate["3"] != by_rate["1e-09"]
    assert disagreement(found, metrics) is None
    assert int(found.valid.sum()) == metrics["validation_images"] == 8
    assert not found.valid[index("imagenet", broken, "val").files.index(BROKEN)]
    assert read_heads(tmp_path / "a" / HEADS)


def test_places_are_those_of_the_positions(imagenet: Path, tmp_path: Path) -> None:
    images = index("imagenet", imagenet, "val")
    positions, bits = torch.tensor([7, 0, 3]), torch.tensor([True, False, False])
    keep_top(tmp_path, images, positions, bits, torch.tensor([True, True, False]))
    found = read(tmp_path / OUTCOMES)
    assert isinstance(found, TopOutcomes)
    assert found.top5 is not None
    each = (np.flatnonzero(bits).tolist() for bits in (found.valid, found.top1, found.top5))
    assert tuple(each) == ([0, 3, 7], [7], [0, 7])
